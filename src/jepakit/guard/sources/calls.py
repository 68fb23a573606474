"""The calls of a trace, collected in their order, each with its result."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jepakit.errors import DataError
from jepakit.guard.data import Call, Tool
from jepakit.guard.sources.fields import WHOLE, Fields, build, json_object, place
from jepakit.guard.traces.strict_json import JsonLimits, leaves, parse


@dataclass(frozen=True)
class Reading:
    """How traces are read.

    Args:
        strict: arguments that cannot be read are an error; else the call has none, and says why.
        file: that the trace stands in.
    """

    strict: bool = True
    file: Path | None = None

    def arguments(self, value: object, where: str) -> dict[str, Any]:
        """``arguments`` and ``arguments_error`` of `Call`, of an object or its JSON text; None: not known.

        Raises:
            DataError: they cannot be read, where ``strict`` is set.
        """
        limits = WHOLE if self.strict else JsonLimits()
        try:
            with place(where):
                content = parse(value, limits) if isinstance(value, str) else value
            if content is None and value is None:
                return {"arguments": None}
            fields = Fields.of(content, where)
            if not isinstance(value, str):
                with place(where):
                    leaves(content, limits)
            return {"arguments": dict(fields.content)}
        except DataError as fault:
            return self.unreadable(fault)

    def unreadable(self, fault: DataError) -> dict[str, Any]:
        """``arguments`` and ``arguments_error`` of arguments that cannot be read.

        Raises:
            DataError: ``fault``, where ``strict`` is set.
        """
        if self.strict:
            raise fault
        return {"arguments": None, "arguments_error": fault.problem}


class Calls:
    """Calls in the order in which they are added.

    A call without an id gets ``call-0``, ``call-1`` and so on by its place; an id that is taken gets a suffix, ``a#2``.

    Args:
        reading: how arguments are read.
    """

    def __init__(self, reading: Reading) -> None:
        self.reading = reading
        self._calls: list[dict[str, Any]] = []
        self._taken: set[str] = set()
        self._counts: dict[str, int] = {}
        self._first: dict[str, int] = {}
        self._open: dict[str | None, deque[int]] = {}

    def __len__(self) -> int:
        return len(self._calls)

    def __getitem__(self, number: int) -> dict[str, Any]:
        """The fields of a call, which may be changed."""
        return self._calls[number]

    def first(self, given: str) -> int | None:
        """The number of the first call that was added with this id."""
        return self._first.get(given)

    def add(self, tool: str, arguments: object, where: str, *, given: str | None = None, **fields: Any) -> int:
        """Adds a call and returns its number.

        Args:
            tool: its name.
            arguments: an object, its JSON text, or None.
            where: their place.
            given: the call's id in the source.
            fields: others of `Call`.

        Raises:
            DataError: the arguments cannot be read, see `Reading`.
        """
        given = given or None
        number = len(self._calls)
        values = {"id": self._new_id(given or f"call-{number}"), "tool": tool, **fields}
        self._calls.append({**values, **self.reading.arguments(arguments, where)})
        self._open.setdefault(given, deque()).append(number)
        if given is not None:
            self._first.setdefault(given, number)
        return number

    def result(self, given: str | None, output: str, where: str, *, error: str | None = None) -> None:
        """Adds the result of the first call of this id that has none.

        Args:
            given: the call's id in the source; None: of a call without one.
            output: as the agent reads it, also where the tool failed.
            where: the result's place.
            error: what the tool failed with.

        Raises:
            DataError: there is no such call before it.
        """
        waiting = self._open.get(given or None)
        if not waiting:
            known = (given or None) in self._open
            problem = "a second result of a call" if known else "a result of a call that does not stand before it"
            raise DataError(problem, field=where, value=given or "a call without an id")
        self._calls[waiting.popleft()].update(output=output, error=error)

    def done(self) -> tuple[Call, ...]:
        """The calls.

        Raises:
            DataError: a field of one has a value that it cannot have.
        """
        return tuple(build(Call, f"calls[{number}]", **values) for number, values in enumerate(self._calls))

    def _new_id(self, wanted: str) -> str:
        new = wanted
        while new in self._taken:
            # The count goes on where it ended: thousands of equal ids take no longer than others.
            self._counts[wanted] = self._counts.get(wanted, 1) + 1
            new = f"{wanted}#{self._counts[wanted]}"
        self._taken.add(new)
        return new


def tool_of(tool: Fields, server: str = "") -> Tool | None:
    """A tool as MCP (``inputSchema``), OpenAI (``parameters``, in ``function`` or not) and others describe it.

    Returns:
        None where it has no name.

    Raises:
        DataError: a field is of another type.
    """
    inner = next((tool.fields(key) for key in ("function", "custom") if tool.get(key) is not None), tool)
    name = inner.text("name") or tool.text("type")
    if not name:
        return None
    schema = next((key for key in ("inputSchema", "input_schema", "parameters") if inner.get(key) is not None), "")
    return build(
        Tool,
        inner.where,
        name=name,
        server=server,
        description=inner.text("description") or "",
        input_schema=json_object(inner.get(schema), inner.place(schema)),
        annotations=json_object(inner.get("annotations"), inner.place("annotations")),
    )


def tools_of(tools: list[Fields], server: str = "") -> tuple[Tool, ...]:
    """The tools of a list that have names.

    Raises:
        DataError: see `tool_of`.
    """
    return tuple(tool for one in tools if (tool := tool_of(one, server)) is not None)
