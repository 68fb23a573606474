"""OpenAI: messages of the Chat Completions API and items of the Responses API.

Sources: the API reference of OpenAI. The blocks ``tool_use`` and ``tool_result`` of Anthropic's Messages API are read
too: its messages have the same roles.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jepakit.errors import DataError
from jepakit.guard.data import Context, Tool, Trace
from jepakit.guard.sources.calls import Calls, Reading, tools_of
from jepakit.guard.sources.fields import Fields, as_text, build, content_text, elements, joined

#: Fields of a record with messages or items, in the order in which they follow each other.
_LISTS = ("messages", "input", "output", "choices")
_CALL, _OUTPUT = "_call", "_call_output"
#: Items of the Responses API without a role that are no calls.
_ITEMS = (
    "reasoning",
    "item_reference",
    "compaction",
    "mcp_list_tools",
    "mcp_approval_request",
    "mcp_approval_response",
)
#: Fields of a call of a hosted tool that are not its arguments.
_NO_ARGUMENTS = ("type", "id", "call_id", "status", "output", "outputs", "result", "results", "error")


def is_part(value: object) -> bool:
    """Whether a value is a message or an item."""
    if not isinstance(value, Mapping) or "jsonrpc" in value or "parts" in value:
        return False
    kind = value.get("type")
    return isinstance(value.get("role"), str) or (
        isinstance(kind, str) and (kind.endswith((_CALL, _OUTPUT)) or kind in _ITEMS)
    )


def is_record(value: object) -> bool:
    """Whether a value is a conversation: a request, a response, both in one, or a line of a file for fine-tuning."""
    if not isinstance(value, Mapping):
        return False
    listed = next((value[key] for key in _LISTS if isinstance(value.get(key), list)), None)
    return bool(listed) and (is_part(listed[0]) or "choices" in value)


def read(value: object, reading: Reading) -> list[Trace]:
    """The trace of a conversation, of a list of messages, or of one message.

    All messages of the user are the task, system and developer messages are the system's words.

    Raises:
        DataError: names the field.
    """
    return [_Conversation(reading).trace(value)]


class _Conversation:
    def __init__(self, reading: Reading) -> None:
        self.calls = Calls(reading)
        self.user: list[str] = []
        self.system: list[str] = []
        self.tools: list[Tool] = []
        self.id = ""

    def trace(self, value: object) -> Trace:
        if isinstance(value, Mapping) and not is_part(value):
            self._record(Fields.of(value))
        else:
            for message, where in [(value, "")] if isinstance(value, Mapping) else elements(value, ""):
                self._part(Fields.of(message, where))
        context = Context(task=joined(self.user), system=joined(self.system), tools=tuple(self.tools))
        return build(Trace, "", id=self.id, context=context, calls=self.calls.done())

    def _record(self, record: Fields) -> None:
        record.require(*_LISTS)
        self.id = record.text("id") or ""
        self.system.append(content_text(record.get("instructions", "system"), record.place("instructions")))
        self.tools += tools_of([tool for tool in record.objects("tools", "functions") if tool.get("type") != "mcp"])
        if isinstance(record.get("input"), str):
            self.user.append(record.required("input"))
            messages = record.items("messages")
        else:
            messages = [*record.items("messages"), *record.items("input")]
        for message, where in [*messages, *record.items("output")]:
            self._part(Fields.of(message, where))
        for choice in record.objects("choices"):
            self._part(choice.fields("message"))

    def _part(self, part: Fields) -> None:
        kind, role = part.text("type") or "message", part.text("role")
        if role is not None:
            self._message(part, role)
        elif kind.endswith(_OUTPUT):
            output = content_text(part.get("output"), part.place("output"))
            self.calls.result(part.text("call_id"), output, part.place("call_id"))
        elif kind.endswith(_CALL):
            self._item(part, kind)
        elif kind == "mcp_list_tools":
            self.tools += tools_of(part.objects("tools"), part.text("server_label") or "")
        elif kind == "message":
            raise DataError("is missing", field=part.place("role"), expected="user, assistant, system or tool")

    def _item(self, part: Fields, kind: str) -> None:
        """A call among the items of the Responses API."""
        given, server = part.text("call_id", "id"), part.text("server_label") or ""
        if kind in ("function_call", "mcp_call"):
            where = part.place("arguments")
            number = self.calls.add(part.required("name"), part.get("arguments"), where, given=given, server=server)
        elif kind == "custom_tool_call":
            number = self.calls.add(part.required("name"), {"input": part.text("input") or ""}, part.where, given=given)
        else:
            arguments = {key: value for key, value in part.content.items() if key not in _NO_ARGUMENTS}
            number = self.calls.add(kind.removesuffix(_CALL), arguments, part.where, given=given)
        # Tools that OpenAI runs have call and result in one item.
        output, error = part.get("output", "outputs", "results", "result"), part.get("error")
        if output is not None or error is not None:
            failure = None if error is None else as_text(error, part.place("error"))
            text = failure or "" if output is None else as_text(output, part.place("output"))
            self.calls[number].update(output=text, error=failure)

    def _message(self, message: Fields, role: str) -> None:
        content, where = message.get("content"), message.place("content")
        if role in ("tool", "function"):
            self.calls.result(message.text("tool_call_id"), content_text(content, where), message.place("tool_call_id"))
            return
        if role == "user":
            self.user.append(content_text(_words(content), where, texts_only=True))
        elif role in ("system", "developer"):
            self.system.append(content_text(content, where, texts_only=True))
        for block, at in elements(content, where) if isinstance(content, list | tuple) else ():
            if isinstance(block, Mapping):
                self._block(Fields.of(block, at))
        for call in message.objects("tool_calls"):
            self._tool_call(call)
        if message.get("function_call") is not None:
            call = message.fields("function_call")
            self.calls.add(call.required("name"), call.get("arguments"), call.place("arguments"))

    def _tool_call(self, call: Fields) -> None:
        given = call.text("id")
        if call.get("custom") is not None:
            custom = call.fields("custom")
            arguments: Any = {"input": custom.text("input") or ""}
            self.calls.add(custom.required("name"), arguments, custom.place("input"), given=given)
        else:
            function = call.fields("function")
            where = function.place("arguments")
            self.calls.add(function.required("name"), function.get("arguments"), where, given=given)

    def _block(self, block: Fields) -> None:
        """A block of the content of a message of Anthropic."""
        kind = block.text("type") or ""
        if kind.endswith("tool_use"):
            where = block.place("input")
            server = block.text("server_name") or ""
            self.calls.add(block.required("name"), block.get("input"), where, given=block.text("id"), server=server)
        elif _is_result(kind):
            output = content_text(block.get("content"), block.place("content"))
            error = output if block.boolean("is_error") else None
            self.calls.result(block.text("tool_use_id"), output, block.place("tool_use_id"), error=error)


def _words(content: object) -> object:
    """The content of a user's message without results of tools."""
    if not isinstance(content, list | tuple):
        return content
    return [part for part in content if not (isinstance(part, Mapping) and _is_result(part.get("type")))]


def _is_result(kind: object) -> bool:
    return isinstance(kind, str) and kind.endswith("tool_result")
