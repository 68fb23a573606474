"""What scikit-learn hands over as samples: lists, arrays of objects, series."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from jepakit.errors import DataError


def listed(name: str, samples: object, expected: str) -> list[Any]:
    """The samples as a list.

    Raises:
        DataError: they are none, or a single one.
    """
    if isinstance(samples, str | bytes) or not isinstance(samples, Iterable):
        raise DataError(
            "not several samples", field=name, value=type(samples).__name__, expected=f"a list of {expected}"
        )
    rows = list(samples)
    if not rows:
        raise DataError("no samples", field=name, expected=f"at least one of {expected}")
    return rows


def texts_of(name: str, samples: object) -> list[str]:
    """The samples as texts.

    Raises:
        DataError: one of them is no text; names its place.
    """
    rows = listed(name, samples, "texts")
    for place, row in enumerate(rows):
        if not isinstance(row, str):
            raise DataError("not a text", field=f"{name}[{place}]", value=row, expected="a text")
    return rows
