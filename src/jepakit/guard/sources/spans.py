"""Spans of OpenTelemetry, as OTLP JSON and as flat lists."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from jepakit.errors import DataError
from jepakit.guard.sources.fields import WHOLE, Fields, elements, text_of
from jepakit.guard.traces.strict_json import TooLargeError

_RESOURCES, _SCOPES = ("resourceSpans", "resource_spans"), ("scopeSpans", "scope_spans")
_IDS = ("traceId", "trace_id", "spanId", "span_id")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
#: Whole numbers of so many bits are exact as doubles.
_EXACT_BITS = 53
_WHOLE = re.compile(r"-?\d{1,20}", re.ASCII)
_DOUBLE = re.compile(r"-?(\d{1,400}(\.\d{1,400})?([eE][+-]?\d{1,3})?|Infinity)|NaN", re.ASCII)


@dataclass(frozen=True)
class Span:
    """A span.

    Args:
        trace: id of its trace, in hexadecimal digits; empty where it has none.
        id: its own; empty where it has none.
        parent: id of the span around it; empty where it has none.
        start: nanoseconds since 1970, or None.
        attributes: their values, which `value` reads, by name.
        failure: what its status says where that is an error.
        where: its place.
    """

    trace: str
    id: str
    parent: str
    start: int | None
    attributes: Mapping[str, Any]
    failure: str | None
    where: str

    def place(self, name: str) -> str:
        """The place of an attribute."""
        return f"{self.where}.attributes.{name}".removeprefix(".")

    def value(self, name: str) -> Any:
        """The value of an attribute; None where it is missing.

        Raises:
            DataError: it is no value of an attribute.
        """
        value = self.attributes.get(name)
        return _any_value(value.value, self.place(name), WHOLE.depth) if isinstance(value, _Encoded) else value

    def text(self, name: str) -> str | None:
        """The text of an attribute; None where it is missing.

        Raises:
            DataError: it is no text.
        """
        value = self.value(name)
        return None if value is None else text_of(value, self.place(name))


def is_batch(value: object) -> bool:
    """Whether a value is an export of OTLP."""
    return isinstance(value, Mapping) and any(key in value for key in _RESOURCES)


def is_span(value: object) -> bool:
    """Whether a value is a span."""
    if not isinstance(value, Mapping):
        return False
    context = value.get("context")
    return any(key in value or (isinstance(context, Mapping) and key in context) for key in _IDS)


def spans_of(value: object, where: str) -> Iterator[Span]:
    """The spans of an export of OTLP, or a span.

    Raises:
        DataError: names the field.
    """
    batch = Fields.of(value, where)
    if not is_batch(value):
        yield _span(batch)
        return
    for resource in batch.objects(*_RESOURCES):
        for scope in resource.objects(*_SCOPES):
            for span in scope.objects("spans"):
                yield _span(span)


def _span(span: Fields) -> Span:
    context, status = span.fields("context"), span.fields("status")
    code = status.get("code", "status_code")
    failed = code == 2 or (isinstance(code, str) and code.removeprefix("STATUS_CODE_") == "ERROR")
    return Span(
        trace=_hexadecimal(span.text("traceId", "trace_id") or context.text("trace_id", "traceId")),
        id=_hexadecimal(span.text("spanId", "span_id") or context.text("span_id", "spanId")),
        parent=_hexadecimal(span.text("parentSpanId", "parent_span_id", "parent_id")),
        start=_nanoseconds(span),
        attributes=_attributes(span.get("attributes"), span.place("attributes")),
        failure=(status.text("message", "description") or "error") if failed else None,
        where=span.where,
    )


@dataclass(frozen=True)
class _Encoded:
    """A value as OTLP writes it."""

    value: object


def _attributes(value: object, where: str) -> Mapping[str, Any]:
    if value is None or isinstance(value, Mapping):
        return Fields.of(value or {}, where).content
    found: dict[str, Any] = {}
    for one, at in elements(value, where):
        pair = Fields.of(one, at)
        name = pair.required("key")
        if name in found:
            raise DataError("an attribute stands twice", field=at, value=name, expected="every name once")
        found[name] = _Encoded(pair.get("value"))
    return found


def _any_value(value: object, where: str, depth: int) -> Any:
    """An ``AnyValue`` of OTLP as JSON."""
    if value is None or value == {}:
        return None
    if depth == 0:
        raise TooLargeError("nested too deeply", field=where[:200], expected=f"depth {WHOLE.depth}")
    fields = Fields.of(value, where)
    if len(fields.content) != 1:
        raise DataError("not one value", field=where, value=value, expected="{'stringValue': ...} or another kind")
    kind, content = next(iter(fields.content.items()))
    match kind:
        case "stringValue" | "bytesValue":
            return fields.text(kind)
        case "boolValue":
            return fields.boolean(kind)
        case "intValue" | "doubleValue":
            return _number(content, kind, where)
        case "arrayValue":
            items = fields.fields(kind).items("values")
            return [_any_value(one, at, depth - 1) for one, at in items]
        case "kvlistValue":
            return _object(fields.fields(kind), depth)
        case _:
            raise DataError("not a kind of value", field=where, value=kind, expected="such as stringValue")


def _object(listed: Fields, depth: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for pair in listed.objects("values"):
        key = pair.text("key") or ""
        if key in found:
            raise DataError("a key stands twice in an object", field=pair.where, value=key, expected="every key once")
        found[key] = _any_value(pair.get("value"), pair.where, depth - 1)
    return found


def _number(content: object, kind: str, where: str) -> int | float:
    """A number; JSON of protocol buffers writes whole ones, and those that are not finite, as texts."""
    whole = kind == "intValue"
    if isinstance(content, int) and not isinstance(content, bool):
        return content if whole or content.bit_length() > _EXACT_BITS else float(content)
    if isinstance(content, float) and not whole:
        return content
    if isinstance(content, str) and (_WHOLE if whole else _DOUBLE).fullmatch(content):
        return int(content) if whole else float(content)
    raise DataError("not a number", field=where, value=content, expected="a number")


def _hexadecimal(text: str | None) -> str:
    return (text or "").removeprefix("0x").lower()


def _nanoseconds(span: Fields) -> int | None:
    keys = ("startTimeUnixNano", "start_time_unix_nano", "start_time", "startTime")
    key = next((key for key in keys if span.get(key) is not None), None)
    if key is None:
        return None
    value = span.get(key)
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and _WHOLE.fullmatch(value):
        return int(value)
    try:
        time = datetime.fromisoformat(value if isinstance(value, str) else "")
    except ValueError as error:
        raise DataError(
            "not a time", field=span.place(key), value=value, expected="nanoseconds, or ISO 8601"
        ) from error
    return (time.replace(tzinfo=time.tzinfo or UTC) - _EPOCH) // timedelta(microseconds=1) * 1000
