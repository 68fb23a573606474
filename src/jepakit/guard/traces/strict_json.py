"""JSON as a guard may read it: one meaning for every text, or an error.

Readers of JSON differ in what they make of duplicate keys, of numbers that a double cannot hold, and of deep nesting. A
call that two readers understand differently is judged as one call and carried out as another.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, NamedTuple

from jepakit.errors import DataError, in_one_line, require_at_least, shorten

JsonValue = None | bool | int | float | str | list[Any] | dict[str, Any]
"""What `parse` returns."""
#: Whole numbers up to here are the same in every reader.
_EXACT = 2**53
_MOST_BITS = 1024
_NUMBER = re.compile(r"\s*[+-]?\d{1,400}(\.\d{1,400})?([eE][+-]?\d{1,3})?\s*", re.ASCII)
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)


@dataclass(frozen=True)
class JsonLimits:
    """How much JSON is read.

    Args:
        bytes: of the text in UTF-8, or of all strings of a value.
        depth: lists and objects inside each other.
        leaves: values that are neither list nor object, and empty lists and objects.
    """

    bytes: int = 4 << 20
    depth: int = 64
    leaves: int = 10_000

    def __post_init__(self) -> None:
        require_at_least(self, bytes=1, depth=1, leaves=1)


class Leaf(NamedTuple):
    """A value inside a JSON value.

    Args:
        pointer: where it stands, a JSON pointer (RFC 6901); empty for the value as a whole.
        value: not a list and not an object, unless an empty one.
    """

    pointer: str
    value: JsonValue


class TooLargeError(DataError):
    """More JSON than `JsonLimits` allows."""


def parse(text: str | bytes, limits: JsonLimits | None = None) -> JsonValue:
    """The value of a JSON text (RFC 8259).

    Raises:
        TooLargeError: it is longer, deeper or wider than ``limits``.
        DataError: it is not JSON; a key stands twice in an object; a number is not finite, or is a fraction or exponent
            form beyond 2^53 that a double does not hold; a text is not Unicode.
    """
    limits = limits or JsonLimits()
    raw = _encoded(text) if isinstance(text, str) else text
    if len(raw) > limits.bytes:
        raise TooLargeError("JSON text is too long", value=f"{len(raw)} bytes", expected=f"at most {limits.bytes}")
    _require_depth(raw, limits.depth)
    try:
        value = json.loads(
            raw.decode("utf-8"), object_pairs_hook=_object, parse_constant=_not_finite, parse_float=_double
        )
    except DataError:
        raise
    except (ValueError, RecursionError) as error:
        raise DataError(f"not JSON: {in_one_line(error)}", value=raw[:80].decode("utf-8", "replace")) from error
    leaves(value, limits)
    return value


def leaves(value: object, limits: JsonLimits | None = None) -> list[Leaf]:
    """The leaves of a JSON value in their order.

    Raises:
        TooLargeError: there is more of it than ``limits`` allow, or it contains itself.
        DataError: it is not a JSON value; names the place.
    """
    limits = limits or JsonLimits()
    listed: list[Leaf] = []
    size = 0
    stack: list[tuple[str, object, int]] = [("", value, 0)]
    while stack:
        pointer, one, depth = stack.pop()
        children = _children(pointer, one)
        if children is None:
            listed.append(Leaf(pointer, _checked_leaf(pointer, one)))
            size += len(_encoded(one, pointer)) if isinstance(one, str) else 0
        else:
            if depth >= limits.depth:
                raise TooLargeError("JSON is nested too deeply", field=pointer[:200], expected=f"depth {limits.depth}")
            stack.extend((where, child, depth + 1) for where, child in reversed(children))
            size += sum(map(len, one)) if isinstance(one, Mapping) else 0
        if len(listed) + len(stack) > limits.leaves:
            raise TooLargeError("JSON has too many values", expected=f"at most {limits.leaves}")
        if size > limits.bytes:
            raise TooLargeError("JSON strings are too long", field=pointer, expected=f"at most {limits.bytes} bytes")
    return listed


def is_number(value: object) -> bool:
    """Whether a JSON value is a number; true and false are not."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def exact_number(value: object) -> Decimal | None:
    """The number that a JSON number or a text of digits is, without rounding; None where it is none."""
    if is_number(value):
        return Decimal(repr(value))
    if isinstance(value, str) and re.fullmatch(
        r"\s*[+-]?\d{1,400}(\.\d{1,400})?([eE][+-]?\d{1,3})?\s*", value, re.ASCII
    ):
        return Decimal(value.strip())
    return None


def escaped(key: str) -> str:
    """A key as it stands in a JSON pointer (RFC 6901, section 3)."""
    return key.replace("~", "~0").replace("/", "~1")


def tokens(pointer: str) -> tuple[str, ...]:
    """The keys and places of a JSON pointer."""
    return tuple(token.replace("~1", "/").replace("~0", "~") for token in pointer.split("/")[1:])


def _children(pointer: str, value: object) -> list[tuple[str, object]] | None:
    """The parts of a list or an object that is not empty."""
    # Most values: the checks below take longer.
    if value is None or isinstance(value, (str, int, float)):
        return None
    if isinstance(value, Mapping) and value:
        return [(f"{pointer}/{_token(key, pointer)}", child) for key, child in value.items()]
    if isinstance(value, Sequence) and not isinstance(value, str | bytes | bytearray) and len(value):
        return [(f"{pointer}/{place}", child) for place, child in enumerate(value)]
    return None


def _token(key: object, pointer: str) -> str:
    if not isinstance(key, str):
        raise DataError("the key of an object is no text", field=pointer, value=key, expected="a text")
    _encoded(key, pointer)
    return escaped(key)


def _checked_leaf(pointer: str, value: object) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        raise DataError("not a finite number", field=pointer, value=value, expected="a finite number or a text")
    if isinstance(value, int) and value.bit_length() > _MOST_BITS:
        raise DataError("a number of too many digits", field=pointer, expected=f"at most {_MOST_BITS} bits")
    if value is None or isinstance(value, str | bool | int | float | list | tuple | Mapping):
        return value
    raise DataError("not a JSON value", field=pointer, value=type(value).__name__, expected="null, true, number, text")


def _encoded(text: str, field: str | None = None) -> bytes:
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise DataError("half of a surrogate pair in a text", field=field, value=shorten(text)) from error


def _require_depth(raw: bytes, most: int) -> None:
    depth = 0
    for bracket in _brackets(raw):
        depth += 1 if bracket in b"[{" else -1
        if depth > most:
            raise TooLargeError("JSON is nested too deeply", expected=f"at most depth {most}")


def _brackets(raw: bytes) -> Iterator[int]:
    return iter(re.sub(rb"[^\[\]{}]+", b"", _STRING.sub(b"", raw)))


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
        raise DataError("a key stands twice in an object", field=twice, expected="every key once")
    return found


def _not_finite(text: str) -> float:
    raise DataError("not a finite number", value=text, expected="a finite number or a text")


def _double(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        return _not_finite(text)
    # The shortest text of the double is the number that other readers write.
    if abs(value) >= _EXACT and Decimal(text) != Decimal(repr(value)):
        raise DataError("a number that a double does not hold", value=text, expected="a whole number or a text")
    return value
