"""Parsed JSON as dataclasses, every value of its declared type."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final, TypeVar, cast

from jepakit.errors import DataError

T = TypeVar("T")

STRICT: Final[Any] = {"extra": "forbid", "allow_inf_nan": False}
"""``__pydantic_config__`` of a dataclass whose files hold no other field and finite numbers."""


def checked(kind: type[T], content: object, *, file: str | Path | None = None, field: str = "") -> T:
    """The content as ``kind``: a dataclass, or a tuple of them.

    Args:
        kind: a list of JSON becomes a tuple where the type says so; there is no other conversion.
        content: parsed JSON.
        file: the file it came from.
        field: where it stood in the file.

    Raises:
        DataError: names the first field that is missing, unknown or of another type.
    """
    # Only readers of results need pydantic.
    from pydantic import TypeAdapter, ValidationError

    try:
        return TypeAdapter(kind).validate_json(json.dumps(content, default=repr), strict=True)
    except ValidationError as error:
        faults = error.errors(include_url=False)
        places = [_place(content, fault["loc"], field) for fault in faults]
        match faults[0]["type"]:
            case "missing":
                raise DataError("is missing", file=file, field=places[0]) from error
            case "unexpected_keyword_argument":
                raise DataError("is not a field", file=file, field=places[0]) from error
            case _:
                # One fault for each type that would be allowed.
                wanted = [f["msg"] for f, place in zip(faults, places, strict=True) if place == places[0]]
                expected = " or ".join(text.removeprefix("Input should be ") for text in wanted)
                value = faults[0]["input"]
                raise DataError("is not allowed", file=file, field=places[0], value=value, expected=expected) from error


def _place(content: Any, path: tuple[int | str, ...], field: str) -> str:
    """The path in the words of messages, ``rows[0].value``; what pydantic adds for its unions is left out."""
    for key in path:
        if isinstance(content, list | tuple) and isinstance(key, int):
            field, content = f"{field}[{key}]", cast(list[Any], content)[key]
        elif isinstance(content, dict):
            field, content = f"{field}.{key}", cast(dict[Any, Any], content).get(key)
    return field.removeprefix(".")
