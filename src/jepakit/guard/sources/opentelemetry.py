"""OpenTelemetry: spans of generative AI (``execute_tool``, ``chat``, ``invoke_agent``).

Source: the semantic conventions for generative AI, in which arguments, results and messages are recorded only where
the user asked for it. A tool that was run without its arguments being recorded has none here, and is never allowed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from operator import attrgetter
from typing import Any

from jepakit.errors import DataError
from jepakit.guard.data import Context, Tool, Trace
from jepakit.guard.sources.calls import Calls, Reading, tools_of
from jepakit.guard.sources.fields import Fields, as_text, build, content_text, elements, joined, json_of, text_of
from jepakit.guard.sources.spans import Span, is_batch, is_span, spans_of

_OPERATION, _TOOL = "gen_ai.operation.name", "gen_ai.tool.name"
_INPUT, _OUTPUT, _INSTRUCTIONS = "gen_ai.input.messages", "gen_ai.output.messages", "gen_ai.system_instructions"
_ARGUMENTS, _RESULT, _DEFINITIONS = (
    "gen_ai.tool.call.arguments",
    "gen_ai.tool.call.result",
    "gen_ai.tool.definitions",
)
_ABOUT = {"conversation": "gen_ai.conversation.id", "agent": "gen_ai.agent.name", "model": "gen_ai.request.model"}


def is_part(value: object) -> bool:
    """Whether a value is a span, or an export of OTLP, which holds spans of many traces or parts of them."""
    return is_batch(value) or is_span(value)


def is_record(value: object) -> bool:
    """Whether a value is an object with a list ``spans``."""
    spans = value.get("spans") if isinstance(value, Mapping) else None
    return isinstance(spans, list) and bool(spans) and is_span(spans[0])


def read(value: object, reading: Reading) -> list[Trace]:
    """The traces that spans belong to, in the order of their first spans; those without generative AI are left out.

    A call is an ``execute_tool`` span, or a call in the messages of a model that no such span carries out. Messages
    give a call what its span does not say.

    Raises:
        DataError: names the field.
    """
    if isinstance(value, Mapping) and not is_part(value):
        parts = Fields.of(value).items("spans")
    else:
        parts = [(value, "")] if isinstance(value, Mapping) else elements(value, "")
    by_trace: dict[str, list[Span]] = {}
    for part, where in parts:
        for span in spans_of(part, where):
            if any(name.startswith("gen_ai.") for name in span.attributes):
                by_trace.setdefault(span.trace, []).append(span)
    if not by_trace:
        raise DataError("no span of generative AI", expected=f"spans with {_OPERATION}")
    return [_Run(reading, spans).trace() for spans in by_trace.values()]


class _Run:
    def __init__(self, reading: Reading, spans: list[Span]) -> None:
        timed = all(span.start is not None for span in spans)
        self.spans = sorted(spans, key=attrgetter("start")) if timed else spans
        self.calls = Calls(reading)
        self.reading = reading
        self.user: list[str] = []
        self.system: list[str] = []
        self.tools: dict[str, Tool] = {}
        self.about: dict[str, str] = {}
        # Calls that messages ask for, by tool, of which some may be carried out.
        self.waiting: dict[str, deque[int]] = {}
        # Number of the call that each span carries out, and of those calls.
        self.of_span: dict[str, int] = {}
        self.executed: set[int] = set()

    def trace(self) -> Trace:
        for span in self.spans:
            for key, name in _ABOUT.items():
                if (text := span.text(name)) is not None:
                    self.about.setdefault(key, text)
            self._context(span)
            counts = {"tool_call": 0, "tool_call_response": 0}
            self._messages(span, _INPUT, counts)
            if span.value(_OPERATION) == "execute_tool":
                self._execute(span)
            self._messages(span, _OUTPUT, counts)
        context = Context(task=joined(self.user), system=joined(self.system), tools=tuple(self.tools.values()))
        identity = self.spans[0].trace
        return build(Trace, "", id=identity, context=context, calls=self.calls.done(), about=self.about)

    def _context(self, span: Span) -> None:
        where = span.place(_INSTRUCTIONS)
        instructions = span.value(_INSTRUCTIONS)
        if isinstance(instructions, str) and not instructions.lstrip().startswith("["):
            self.system.append(text_of(instructions, where))
        else:
            self.system.append(content_text(json_of(instructions, where), where, texts_only=True))
        where = span.place(_DEFINITIONS)
        definitions = elements(json_of(span.value(_DEFINITIONS), where), where)
        self.tools |= {tool.name: tool for tool in tools_of([Fields.of(one, at) for one, at in definitions])}

    def _messages(self, span: Span, name: str, counts: dict[str, int]) -> None:
        """Messages; a call or a result without an id is the call of its place in the history."""
        where = span.place(name)
        for one, at in elements(json_of(span.value(name), where), where):
            message = Fields.of(one, at)
            parts, role = message.objects("parts"), message.text("role")
            if role in ("user", "system", "developer"):
                texts = [part.content for part in parts if part.get("type") == "text"]
                (self.user if role == "user" else self.system).append(content_text(texts, at, texts_only=True))
            for part in parts:
                kind = (part.text("type") or "").removeprefix("server_")
                if kind not in counts:
                    continue
                given = part.text("id") or f"call-{counts[kind]}"
                counts[kind] += 1
                if kind == "tool_call":
                    self._requested(part, given)
                else:
                    self._answered(part, given)

    def _requested(self, part: Fields, given: str) -> None:
        # Each request to a model repeats the history.
        if self.calls.first(given) is not None:
            return
        tool, key, arguments = part.required("name"), "arguments", part.get("arguments")
        if part.get("type") == "server_tool_call":
            # Carried out by the model's provider; beside its arguments stands its kind.
            key, details = "server_tool_call", part.fields("server_tool_call").content
            arguments = {name: value for name, value in details.items() if name != "type"} if details else None
        number = self.calls.add(tool, arguments, part.place(key), given=given)
        self.waiting.setdefault(tool, deque()).append(number)

    def _answered(self, part: Fields, given: str) -> None:
        number = self.calls.first(given)
        if number is None:
            raise DataError("a result of a call that does not stand before it", field=part.place("id"), value=given)
        if self.calls[number].get("output") is None:
            output = part.get("response", "result", "server_tool_call_response")
            self.calls[number].update(output=as_text("" if output is None else output, part.place("response")))

    def _execute(self, span: Span) -> None:
        tool, given = span.text(_TOOL), span.text("gen_ai.tool.call.id")
        if not tool:
            raise DataError("is missing", field=span.place(_TOOL), expected="the name of a tool")
        number = self._call_of(span, tool, given)
        if number is None:
            number = self.calls.add(tool, None, span.place(_ARGUMENTS), given=given)
        self.executed.add(number)
        self.of_span[span.id] = number
        if span.attributes.get(_ARGUMENTS) is not None:
            self.calls[number].update({"arguments_error": None, **self._arguments(span)})
        result = span.value(_RESULT)
        if result is not None:
            self.calls[number].update(output=as_text(result, span.place(_RESULT)))
        failure = span.failure or span.text("error.type")
        if failure is not None:
            self.calls[number].update(error=failure)

    def _call_of(self, span: Span, tool: str, given: str | None) -> int | None:
        """The call that a span carries out, where it is there already."""
        around = self.of_span.get(span.parent)
        if around is not None and span.parent and self.calls[around]["tool"] == tool:
            # The span of the client of a server within the span of the agent.
            return around
        if given:
            number = self.calls.first(given)
            return None if number in self.executed else number
        waiting = self.waiting.get(tool, deque())
        while waiting and waiting[0] in self.executed:
            waiting.popleft()
        return waiting[0] if waiting else None

    def _arguments(self, span: Span) -> dict[str, Any]:
        try:
            value = span.value(_ARGUMENTS)
        except DataError as fault:
            return self.reading.unreadable(fault)
        return self.reading.arguments(value, span.place(_ARGUMENTS))
