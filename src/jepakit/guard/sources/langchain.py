"""LangChain and LangGraph: messages as dictionaries.

Both spellings are read: ``messages_to_dict`` (``{"type", "data"}``), ``model_dump`` (flat), and the one of
``langchain_core.load`` (``{"lc", "id", "kwargs"}``).
"""

from __future__ import annotations

from collections.abc import Mapping

from jepakit.errors import DataError
from jepakit.guard.data import Context, Trace
from jepakit.guard.sources.calls import Calls, Reading, tools_of
from jepakit.guard.sources.fields import Fields, build, content_text, elements, joined

#: Names of message types, of classes and chunks too.
_KINDS = {"human": "user", "user": "user", "system": "system", "developer": "system", "ai": "ai", "tool": "tool"}
_OTHERS = ("function", "chat", "remove")


def is_part(value: object) -> bool:
    """Whether a value is a message."""
    if not isinstance(value, Mapping):
        return False
    constructed = "lc" in value and isinstance(value.get("kwargs"), Mapping)
    plain = "data" in value or ("content" in value and ("role" not in value or value.get("type") == "chat"))
    return constructed or (plain and _kind(value.get("type")) in (*_KINDS, *_OTHERS))


def is_record(value: object) -> bool:
    """Whether a value is a state of LangGraph, with its messages in ``messages``."""
    messages = value.get("messages") if isinstance(value, Mapping) else None
    return isinstance(messages, list) and bool(messages) and is_part(messages[0])


def read(value: object, reading: Reading) -> list[Trace]:
    """The trace of a state, of a list of messages, or of one message.

    All human messages are the task. Calls that LangChain found invalid are calls.

    Raises:
        DataError: names the field.
    """
    if isinstance(value, Mapping) and not is_part(value):
        record = Fields.of(value)
        record.require("messages")
        messages, tools = record.items("messages"), tools_of(record.objects("tools"))
    else:
        messages, tools = [(value, "")] if isinstance(value, Mapping) else elements(value, ""), ()
    calls, words = Calls(reading), dict[str, list[str]](user=[], system=[])
    for one, where in messages:
        message, kind = _message(Fields.of(one, where))
        content = message.get("content")
        if kind in words:
            words[kind].append(content_text(content, message.place("content"), texts_only=True))
        elif kind == "ai":
            for call in [*message.objects("tool_calls"), *message.objects("invalid_tool_calls")]:
                calls.add(call.required("name"), call.get("args"), call.place("args"), given=call.text("id"))
        elif kind in ("tool", "function"):
            output = content_text(content, message.place("content"))
            error = output if message.get("status") == "error" else None
            calls.result(message.text("tool_call_id"), output, message.place("tool_call_id"), error=error)
    context = Context(task=joined(words["user"]), system=joined(words["system"]), tools=tools)
    return [build(Trace, "", context=context, calls=calls.done())]


def _message(message: Fields) -> tuple[Fields, str]:
    """The fields of a message and its kind, of `_KINDS` or `_OTHERS`."""
    inner = next((message.fields(key) for key in ("data", "kwargs") if message.get(key) is not None), message)
    name = inner.text("type") or message.text("type") or ""
    if message.get("kwargs") is not None and _kind(name) not in (*_KINDS, *_OTHERS):
        path = message.items("id")
        name = str(path[-1][0]) if path else ""
    kind = _kind(name)
    if kind == "chat":
        kind = _kind(inner.text("role"))
        return inner, _KINDS.get(kind, "ai")
    if kind not in (*_KINDS, *_OTHERS):
        raise DataError(
            "not a kind of message", field=message.place("type"), value=name, expected=", ".join((*_KINDS, *_OTHERS))
        )
    return inner, _KINDS.get(kind, kind)


def _kind(name: object) -> str:
    """``ai`` for ``ai``, ``AIMessage`` and ``AIMessageChunk``."""
    return name.removesuffix("Chunk").removesuffix("Message").lower() if isinstance(name, str) else ""
