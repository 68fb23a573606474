"""The names of feature columns: kept with an encoder, so that other data are read by name and not by position."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor

from jepakit.errors import DataError
from jepakit.training.checked import STRICT, checked

_LOG = logging.getLogger(__name__)

CONSTANT = "(constant)"
"""The column of ones of nodes without attributes."""
DIRECTION = "(direction)"
"""The two columns that mark forward and backward edges."""
UNKNOWN_SHARE = 0.02
"""Of the values of each attribute that `hide_values` reads as unknown."""

PRETRAIN_UNKNOWN = "an encoder pre-trained with --unknown true reads all others alike"


@dataclass(frozen=True)
class Attribute:
    """An attribute of nodes or edges as columns: its numbers or its one-hot values, then ``unknown``, then ``gaps``.

    Args:
        name: of the attribute in the data.
        kind: ``numbers``; ``categories``, one-hot; or ``nothing``, where no row has a value.
        width: columns of numbers.
        values: the categories, in the order of their columns.
        mean: of each column of numbers before it was standardised; empty if it was not.
        spread: the standard deviations likewise; 0 for a column without variation, which is read as 0.
        gaps: whether the last column is 1 where the value is missing.
        unknown: whether a column after those of the values is 1 where the value is another.
    """

    __pydantic_config__ = STRICT

    name: str
    kind: Literal["numbers", "categories", "nothing"]
    width: int = 0
    values: tuple[str, ...] = ()
    mean: tuple[float, ...] = ()
    spread: tuple[float, ...] = ()
    gaps: bool = False
    unknown: bool = False

    @property
    def columns(self) -> int:
        """How many columns it takes."""
        return self.width + len(self.values) + self.unknown + self.gaps


@dataclass(frozen=True)
class Vocabulary:
    """The attributes of the columns of ``Graphs.x`` and ``Graphs.edge_attr``, in their order."""

    __pydantic_config__ = STRICT

    nodes: tuple[Attribute, ...]
    edges: tuple[Attribute, ...] = ()

    @property
    def widths(self) -> tuple[int, int]:
        """The columns of nodes and of edges."""
        return sum(one.columns for one in self.nodes), sum(one.columns for one in self.edges)

    @classmethod
    def from_json(cls, content: Mapping[str, object]) -> Vocabulary:
        """The vocabulary that ``dataclasses.asdict`` took apart; raises DataError where it is none."""
        return checked(cls, content, field="vocabulary")

    def with_unknown(self) -> Vocabulary:
        """The same with a column for values that are none of the categories."""
        nodes, edges = (
            tuple(replace(one, unknown=one.kind == "categories") for one in part) for part in (self.nodes, self.edges)
        )
        return Vocabulary(nodes, edges)

    def node(self, name: str) -> Attribute | None:
        """The attribute of nodes with this name."""
        return _named(self.nodes, name)

    def edge(self, name: str) -> Attribute | None:
        """The attribute of edges with this name."""
        return _named(self.edges, name)


def _named(attributes: Sequence[Attribute], name: str) -> Attribute | None:
    return next((attribute for attribute in attributes if attribute.name == name), None)


def translate(values: Tensor, own: Sequence[Attribute], wanted: Sequence[Attribute], what: str) -> Tensor:
    """The columns of ``values`` (``[N, columns of own]``) in the order and coding of ``wanted``: ``[N, its columns]``.

    Attributes are matched by name, categories by their values. Attributes that are not wanted are left out, which a
    warning says.

    Args:
        values: the features of nodes or edges.
        own: what their columns are.
        wanted: what they are to be.
        what: ``node`` or ``edge``, for messages.

    Raises:
        DataError: an attribute is missing or of another kind, or a value is none of its categories.
    """
    blocks = dict(zip(own, values.split([attribute.columns for attribute in own], dim=1), strict=True))
    surplus = [one.name for one in own if _named(wanted, one.name) is None and one.name not in (CONSTANT, DIRECTION)]
    if surplus:
        _LOG.warning("left out, as the encoder was trained without them: %s attributes %s", what, ", ".join(surplus))
    parts = [values.new_zeros(len(values), 0)]
    for attribute in wanted:
        found = _named(own, attribute.name)
        if found is None:
            parts.append(_absent(values, attribute, what))
        else:
            parts.append(_translated(blocks[found], found, attribute, what))
    return torch.cat(parts, dim=1)


def hide_values(values: Tensor, attributes: Sequence[Attribute], generator: torch.Generator) -> Tensor:
    """``values`` (``[N, columns]``) with `UNKNOWN_SHARE` of the categories read as unknown, so that this is trained."""
    values, start = values.clone(), 0
    for attribute in attributes:
        if attribute.unknown and len(values):
            hidden = torch.rand(len(values), generator=generator) < UNKNOWN_SHARE
            hidden[torch.randint(len(values), (1,), generator=generator)] = True
            block = slice(start, start + len(attribute.values) + 1)
            hidden &= values[:, block].any(1)
            values[hidden, block] = torch.eye(len(attribute.values) + 1)[-1]
        start += attribute.columns
    return values


def _absent(values: Tensor, attribute: Attribute, what: str) -> Tensor:
    block = values.new_zeros(len(values), attribute.columns)
    if attribute.name == CONSTANT:
        return block + 1
    if attribute.gaps:
        block[:, -1] = 1
    elif len(values):
        problem, expected = "the attribute is missing that the encoder was trained on", "the data to have it"
        raise DataError(problem, field=f"{what} attribute {attribute.name}", expected=expected)
    return block


def _translated(block: Tensor, own: Attribute, wanted: Attribute, what: str) -> Tensor:
    place = f"{what} attribute {wanted.name}"
    out = block.new_zeros(len(block), wanted.columns)
    gap = block[:, -1] if own.gaps else block.new_zeros(len(block))
    if wanted.gaps:
        out[:, -1] = gap
    elif gap.any():
        expected = "a value for all, as in the data that the encoder was trained on"
        raise DataError("the attribute is missing", field=f"{what} {int(gap.argmax())}, {place}", expected=expected)
    if own.kind == "nothing" or not len(block):
        return out
    if own.kind != wanted.kind or own.width != wanted.width:
        if wanted.kind == "nothing":
            return out
        problem, expected = "not what the encoder was trained on", _in_words(wanted)
        raise DataError(problem, field=place, value=_in_words(own), expected=expected)
    if wanted.kind == "numbers":
        out[:, : wanted.width] = _rescaled(block[:, : own.width], own, wanted)
        return out
    column = {value: at for at, value in enumerate(wanted.values)}
    # What stands in an own column for unknown values stays unknown.
    values: list[str | None] = [*own.values, *([None] if own.unknown else [])]
    for at, value in enumerate(values):
        if value is not None and value in column:
            out[:, column[value]] += block[:, at]
        elif wanted.unknown:
            out[:, len(wanted.values)] += block[:, at]
        elif (rows := block[:, at] > 0).any():
            raise unknown_value(wanted, value, field=f"{what} {int(rows.nonzero()[0])}, {place}")
    return out


def unknown_value(attribute: Attribute, value: object, **place: Any) -> DataError:
    """The error for a value that is none of the categories, to be raised."""
    known = ", ".join(attribute.values[:20]) + (", ..." if len(attribute.values) > 20 else "")
    problem = "a value that the encoder was not trained on"
    return DataError(problem, value=value, expected=f"one of {known}; {PRETRAIN_UNKNOWN}", **place)


def _rescaled(block: Tensor, own: Attribute, wanted: Attribute) -> Tensor:
    numbers = block.double()
    if own.mean:
        numbers = numbers * numbers.new_tensor(own.spread) + numbers.new_tensor(own.mean)
    if wanted.mean:
        spread = numbers.new_tensor(wanted.spread)
        centred = numbers - numbers.new_tensor(wanted.mean)
        numbers = torch.where(spread > 0, centred / spread.where(spread > 0, torch.ones_like(spread)), 0.0)
    return numbers.to(block.dtype)


def _in_words(attribute: Attribute) -> str:
    match attribute.kind:
        case "numbers":
            return "a number" if attribute.width == 1 else f"{attribute.width} numbers"
        case "categories":
            return "text or classes"
        case "nothing":
            return "nothing"
