"""Leaves of JSON values, and copies with another value in a place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from jepakit.guard.data import Call, Trace
from jepakit.guard.traces.strict_json import leaves, tokens


@dataclass(frozen=True)
class Place:
    """A leaf of a call's arguments.

    Args:
        number: of the call in its trace.
        call: the call.
        pointer: JSON pointer of the leaf.
        value: what stands there.
    """

    number: int
    call: Call
    pointer: str
    value: Any

    @property
    def name(self) -> str:
        """The last key that leads to it."""
        return next((token for token in reversed(tokens(self.pointer)) if not token.isdigit()), "")

    def with_value(self, value: Any) -> Call:
        """The call with another value there."""
        return self.call.model_copy(update={"arguments": with_leaf(self.call.arguments, self.pointer, value)})


def places(trace: Trace) -> list[Place]:
    """The leaves of the arguments of all calls."""
    return [
        Place(number, call, pointer, value)
        for number, call in enumerate(trace.calls)
        if call.arguments
        for pointer, value in leaves(call.arguments)
    ]


def at(value: Any, pointer: str) -> Any:
    """What stands in a JSON value at the pointer."""
    for token in tokens(pointer):
        value = value[int(token)] if isinstance(value, list) else value[token]
    return value


def with_leaf(value: Any, pointer: str, new: Any) -> Any:
    """A copy of a JSON value with another leaf at the pointer."""
    return _with(value, tokens(pointer), new)


def _with(value: Any, path: tuple[str, ...], new: Any) -> Any:
    if not path:
        return new
    token, rest = path[0], path[1:]
    if isinstance(value, list):
        return [_with(one, rest, new) if place == int(token) else one for place, one in enumerate(value)]
    return {key: _with(one, rest, new) if key == token else one for key, one in value.items()}
