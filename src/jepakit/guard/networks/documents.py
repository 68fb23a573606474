"""A JSON document as rows, one for each value: where it stands, what kind it is, what it says."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from jepakit.core.packed import offsets
from jepakit.guard.networks.hashing import Texts, hashed
from jepakit.guard.traces.strict_json import JsonLimits, JsonValue, is_number, leaves

KINDS = ("object", "list", "null", "boolean", "number", "text", "part of a text")
"""Of rows."""
DEPTHS = 16
"""Deeper values count as being at the last of these depths."""
#: Parts of a long text, in characters.
_PART = 200
_BREAK = re.compile(r"\n\s*|(?<=[.!?;])\s+")
#: Documents such as managed policies are long.
_LIMITS = JsonLimits(leaves=100_000)


@dataclass(frozen=True)
class Documents:
    """Rows of documents, packed; D documents, N rows.

    Args:
        ptr: ``[D + 1]`` int64, see `jepakit.core.packed`.
        section: the number of each row's top-level key among the sections, ``[N]`` int64.
        kind: of `KINDS`, ``[N]`` int64.
        depth: below `DEPTHS`, ``[N]`` int64.
        number: sign and logarithm of a number's size, 0 for other kinds, ``[N, 2]``.
        paths: keys and places that lead to each row.
        values: what each row says.
    """

    ptr: Tensor
    section: Tensor
    kind: Tensor
    depth: Tensor
    number: Tensor
    paths: Texts
    values: Texts


def documents(values: Sequence[Mapping[str, Any]], sections: Sequence[str]) -> Documents:
    """The rows of documents, whose top-level keys are ``sections``; a long text has a row for each part.

    Raises:
        DataError: a document is not JSON, or larger than is read.
        KeyError: a top-level key is not among the sections.
    """
    number = {name: place for place, name in enumerate(sections)}
    rows: list[_Row] = []
    section: list[int] = []
    lengths: list[int] = []
    for value in values:
        before = len(rows)
        for name, part in value.items():
            rows += _rows(name, part)
            section += [number[name]] * (len(rows) - len(section))
        lengths.append(len(rows) - before)
    return Documents(
        offsets(torch.tensor(lengths, dtype=torch.long)),
        torch.tensor(section, dtype=torch.long),
        torch.tensor([row.kind for row in rows], dtype=torch.long),
        torch.tensor([min(row.path.count("/"), DEPTHS - 1) for row in rows], dtype=torch.long),
        torch.tensor([size_of(row.value) for row in rows]).view(-1, 2),
        hashed([row.path for row in rows]),
        hashed([row.text for row in rows]),
    )


@dataclass(frozen=True)
class _Row:
    path: str
    kind: int
    value: JsonValue
    text: str


def _rows(name: str, value: object) -> list[_Row]:
    rows: list[_Row] = []
    for pointer, leaf in leaves(value, _LIMITS):
        path = f"{name}{pointer}"
        if isinstance(leaf, str) and len(leaf) > _PART:
            rows += [
                _Row(f"{path}/{place}", KINDS.index("part of a text"), None, part)
                for place, part in enumerate(_parts(leaf))
            ]
        else:
            text = leaf if isinstance(leaf, str) else "" if isinstance(leaf, list | dict) else repr(leaf)
            rows.append(_Row(path, kind_of(leaf), leaf, text))
    return rows


def _parts(text: str) -> list[str]:
    """Lines and sentences, and what is still too long in pieces."""
    sentences = [part for part in _BREAK.split(text) if part]
    return [part[start : start + _PART] for part in sentences for start in range(0, len(part), _PART)] or [text[:_PART]]


def kind_of(value: JsonValue) -> int:
    """The place of a leaf in `KINDS`."""
    if is_number(value):
        return KINDS.index("number")
    if isinstance(value, bool) or value is None:
        return KINDS.index("null" if value is None else "boolean")
    return KINDS.index("text" if isinstance(value, str) else "list" if isinstance(value, list) else "object")


def size_of(value: JsonValue) -> tuple[float, float]:
    """Sign of a number and log(1 + its size) / 10; 0 and 0 for other values."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return 0.0, 0.0
    # Whole numbers may be larger than a double holds.
    size = math.log1p(abs(value)) if abs(value) < 2**1000 else 1000 * math.log(2)
    return float((value > 0) - (value < 0)), size / 10
