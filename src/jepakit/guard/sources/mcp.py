"""MCP: a recorded list of JSON-RPC messages, with ``tools/list`` and ``tools/call`` and their results.

Source: the specification of the Model Context Protocol, 2024-11-05 to 2026-07-28. What a server says of its tools
(descriptions, annotations such as ``readOnlyHint``) and of itself is kept, and nowhere trusted.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

from jepakit.errors import DataError
from jepakit.guard.data import Context, Tool, Trace
from jepakit.guard.sources.calls import Calls, Reading, tools_of
from jepakit.guard.sources.fields import Fields, as_text, build, content_text, elements, text_of
from jepakit.guard.traces.strict_json import parse

#: Requests that servers make, with a field that only their answers have.
_OF_SERVER = {"sampling/createMessage": "model", "elicitation/create": "action", "roots/list": "roots"}


def is_part(value: object) -> bool:
    """Whether a value is a message of JSON-RPC."""
    return isinstance(value, Mapping) and "jsonrpc" in value


def is_record(value: object) -> bool:
    """Whether a value is an object with such messages in ``messages``, and the server's name in ``server``."""
    messages = value.get("messages") if isinstance(value, Mapping) else None
    return isinstance(messages, list) and bool(messages) and is_part(messages[0])


def read(value: object, reading: Reading) -> list[Trace]:
    """The trace of a recorded session.

    ``arguments`` may be left out of a request, and are then empty. A server is called as the record says, else by its
    own name.

    Raises:
        DataError: names the field.
    """
    server = ""
    if isinstance(value, Mapping) and not is_part(value):
        record = Fields.of(value)
        record.require("messages")
        messages, server = record.items("messages"), record.text("server") or ""
    else:
        messages = [(value, "")] if isinstance(value, Mapping) else elements(value, "")
    session = _Session(reading, server)
    for message, where in messages:
        session.take(Fields.of(message, where))
    calls = session.calls.done()
    return [build(Trace, "", context=Context(tools=tuple(session.tools.values())), calls=calls)]


class _Session:
    def __init__(self, reading: Reading, server: str) -> None:
        self.calls = Calls(reading)
        self.server = server
        self.tools: dict[str, Tool] = {}
        # Method and parameters of each request without an answer. Client and server number theirs apart, so that two
        # may have one id.
        self.of_client: dict[str, deque[tuple[str, Fields]]] = {}
        self.of_server: dict[str, deque[tuple[str, Fields]]] = {}

    def take(self, message: Fields) -> None:
        method = message.text("method")
        if method is None:
            self._answer(message)
        elif message.get("id") is not None:
            self._request(message, method)

    def _request(self, message: Fields, method: str) -> None:
        given, params = _id(message), message.fields("params")
        requests = self.of_server if method in _OF_SERVER else self.of_client
        requests.setdefault(given, deque()).append((method, params))
        if method == "tools/call":
            arguments = params.content.get("arguments", {})
            where = params.place("arguments")
            self.calls.add(params.required("name"), arguments, where, given=given, server=self.server)

    def _answer(self, message: Fields) -> None:
        if message.get("id") is None:
            # To a message that the other side could not read.
            return
        given = _id(message)
        result = message.fields("result")
        of_client, of_server = self.of_client.get(given), self.of_server.get(given)
        waiting = of_server if of_server and _OF_SERVER[of_server[0][0]] in result.content else of_client or of_server
        if not waiting:
            problem = "an answer to a request that does not stand before it"
            raise DataError(problem, field=message.place("id"), value=given)
        method, params = waiting.popleft()
        if not self.server:
            self.server = result.fields("serverInfo").text("name") or ""
        if method == "tools/list":
            if params.get("cursor") is None:
                self.tools = {}
            self.tools |= {tool.name: tool for tool in tools_of(result.objects("tools"), self.server)}
        elif method == "tools/call":
            self._result(message, given, result)

    def _result(self, message: Fields, given: str, result: Fields) -> None:
        if message.get("error") is not None:
            error = message.fields("error").text("message") or "error"
            self.calls.result(given, error, message.place("id"), error=error)
        elif result.get("resultType") == "input_required":
            # The client asks again, with another id.
            return
        else:
            output = output_text(result)
            self.calls.result(given, output, message.place("id"), error=output if result.boolean("isError") else None)


def output_text(result: Fields) -> str:
    """What an agent reads of a result: the texts of its blocks, and structured content that no block repeats."""
    texts = [_block(block) for block in result.objects("content")]
    structured = result.get("structuredContent")
    if structured is not None and not any(_says(text, structured) for text in texts):
        texts.append(as_text(structured, result.place("structuredContent")))
    return "\n".join(texts)


def _block(block: Fields) -> str:
    resource = block.get("resource")
    if isinstance(resource, Mapping):
        return content_text([resource], block.place("resource"))
    return content_text([block.content], block.where)


def _says(text: str, structured: Any) -> bool:
    try:
        return parse(text) == structured
    except DataError:
        return False


def _id(message: Fields) -> str:
    """The id of a request or its answer; a number and a text of digits are two ids."""
    given = message.get("id")
    if isinstance(given, str):
        return text_of(given, message.place("id"))
    if isinstance(given, int) and not isinstance(given, bool):
        return f"#{given}"
    raise DataError("not an id", field=message.place("id"), value=given, expected="a text or a whole number")
