"""Traces out of files and values of any format that is known."""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel

from jepakit.errors import DataError, require_choice
from jepakit.files import numbered_lines, read_text, reading
from jepakit.guard.data import Trace
from jepakit.guard.sources import agentdojo, gold, langchain, mcp, openai, opentelemetry, own
from jepakit.guard.sources.calls import Reading
from jepakit.guard.sources.fields import WHOLE
from jepakit.guard.traces.strict_json import parse

#: Characters of the messages or spans in a file that is one list of them.
_MOST_CHARACTERS = 1 << 30
#: A line that ends so is the first of a document of many lines.
_UNFINISHED = ("[", "{", ",", ":")
_NUMBERED = re.compile(r"\[(\d{1,9})\]\.?(.*)", re.DOTALL)


@dataclass(frozen=True)
class Format:
    """A format of traces.

    Args:
        is_part: whether a value is a message or span, of which a trace has many.
        is_record: whether a value is an object that stands for a trace.
        read: the traces of a record, or of a list of parts.
    """

    is_part: Callable[[object], bool]
    is_record: Callable[[object], bool]
    read: Callable[[object, Reading], list[Trace]]


FORMATS = {
    name: Format(module.is_part, module.is_record, module.read)
    for name, module in (
        ("agentdojo", agentdojo),
        ("mcp", mcp),
        ("otel", opentelemetry),
        ("langchain", langchain),
        ("openai", openai),
        ("gold", gold),
        ("trace", own),
    )
}
"""The formats by name, in the order in which ``auto`` tries them; ``trace`` is `jepakit.guard.Trace` itself."""


class _Item(NamedTuple):
    """A JSON value of a file.

    Args:
        value: itself.
        line: where it begins; None in a document.
        where: its place in a document.
        size: characters of its line; 0 in a document, which is read as a whole in any case.
    """

    value: Any
    line: int | None
    where: str
    size: int


def load_traces(path: str | Path, format: str = "auto", *, strict: bool = True) -> Iterator[Trace]:  # noqa: A002
    """The traces of a file, one after the other.

    A file has a trace on each line, or is one JSON document: a trace or a list of them. A file whose elements are
    messages or spans is read as a whole, as one conversation or session, or as the traces that the spans belong to.

    Args:
        path: of the file, packed with gzip or not.
        format: one of `FORMATS`, or ``auto``: that of the first record.
        strict: arguments of a call that cannot be read are an error; else the call has none, see `trace_from`.

    Raises:
        ConfigError: there is no such format.
        DataError: names file, line and field.
    """
    _checked(format)
    file = Path(path)
    return _traces(file, format, Reading(strict=strict, file=file))


def trace_from(value: object, format: str = "auto", *, strict: bool = True) -> Trace:  # noqa: A002
    """The trace of a value.

    Args:
        value: a record of a format, a list of messages or spans, or objects of pydantic (messages of LangChain, of the
            clients of OpenAI and MCP) in place of objects of JSON.
        format: one of `FORMATS`, or ``auto``.
        strict: arguments of a call that cannot be read (no JSON, a key that stands twice, NaN, too much) are an error.
            Else the call has ``arguments=None`` and the reason in ``arguments_error``: it is there to be judged, and
            denied. All else that is wrong is an error in both cases.

    Raises:
        ConfigError: there is no such format.
        DataError: names the field; also where it is more than one trace.
    """
    _checked(format)
    if isinstance(value, Trace):
        return value
    content = _plain(value, 3)
    traces = _format_of(content, format).read(content, Reading(strict=strict))
    if len(traces) != 1:
        raise DataError("not one trace", value=f"{len(traces)} traces", expected="one; load_traces reads many")
    return traces[0]


def _checked(name: str) -> None:
    require_choice("format", name, ["auto", *FORMATS])


def _traces(file: Path, name: str, how: Reading) -> Iterator[Trace]:
    with reading(file):
        items = _items(file)
        first = next(items, None)
        if first is None:
            raise DataError("an empty list", expected="a trace, or messages of one")
        with _at(first):
            kind = _format_of(first.value, name)
        items = chain([first], items)
        if kind.is_part(first.value):
            yield from _whole(items, kind, how)
            return
        for item in items:
            with _at(item):
                traces = kind.read(item.value, how)
            yield from traces


def _whole(items: Iterator[_Item], kind: Format, how: Reading) -> list[Trace]:
    """The traces of all parts in a file."""
    parts: list[_Item] = []
    size = 0
    for item in items:
        parts.append(item)
        size += item.size
        if size > _MOST_CHARACTERS:
            raise DataError("too much to be read as a whole", line=item.line, expected=f"at most {_MOST_CHARACTERS}")
    try:
        return kind.read([item.value for item in parts], how)
    except DataError as fault:
        match = _NUMBERED.fullmatch(fault.field or "")
        if match is None:
            raise
        with _at(parts[int(match[1])]):
            raise DataError(fault.problem, field=match[2], value=fault.value, expected=fault.expected) from fault


@contextmanager
def _at(item: _Item) -> Generator[None]:
    """Adds the place of an item to a DataError that is raised inside of the block."""
    try:
        yield
    except DataError as fault:
        if fault.file is not None:
            raise
        field = f"{item.where}.{fault.field or ''}".strip(".") or None
        raise DataError(
            fault.problem, line=item.line, field=field, value=fault.value, expected=fault.expected
        ) from fault


def _items(file: Path) -> Iterator[_Item]:
    """The JSON values of a file: those of its lines, or of its only list, or its only value."""
    lines = ((number, text) for number, text in numbered_lines(file) if text.strip())
    first, second = next(lines, None), next(lines, None)
    if first is None:
        raise DataError("the file is empty", file=file)
    if second is None or first[1].rstrip().endswith(_UNFINISHED):
        with _at(_Item(None, first[0] if second is None else None, "", 0)):
            value = parse(read_text(file, limit=WHOLE.bytes), WHOLE)
        if not isinstance(value, list):
            yield _Item(value, first[0], "", 0)
        for number, one in enumerate(value if isinstance(value, list) else ()):
            yield _Item(one, None, f"[{number}]", 0)
        return
    for number, text in chain([first, second], lines):
        with _at(_Item(None, number, "", 0)):
            value = parse(text, WHOLE)
        yield _Item(value, number, "", len(text))


def _format_of(value: object, name: str) -> Format:
    if name != "auto":
        return FORMATS[name]
    sample = value[0] if isinstance(value, list) and value else value
    for kind in FORMATS.values():
        if kind.is_part(sample) or (sample is value and kind.is_record(value)):
            return kind
    problem = "none of the formats that are known"
    raise DataError(problem, value=sample, expected=f"{', '.join(FORMATS)}; or name the format")


def _plain(value: object, depth: int) -> object:
    """JSON in place of objects of pydantic, down to ``depth`` levels of lists and objects."""
    if isinstance(value, BaseModel):
        try:
            return value.model_dump(by_alias=True, warnings=False)
        except (ValueError, RecursionError) as error:
            raise DataError("not JSON", value=type(value).__name__, expected="an object that can be dumped") from error
    if depth and isinstance(value, list | tuple):
        return [_plain(one, depth - 1) for one in value]
    if depth and isinstance(value, Mapping):
        return {key: _plain(one, depth - 1) for key, one in value.items()}
    return value
