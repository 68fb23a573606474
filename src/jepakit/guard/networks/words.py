"""Embeddings that start as weighted sums of random codes of words: texts with words in common have a large product.

A code of a word is a sparse vector of signs, a function of its hash value, so that a word that was never seen has one
too (Charikar, Chen & Farach-Colton 2002). What is learned is how much a word counts, by its kind, its shape and where
it stands: these weights are the same for all words and all agents.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from jepakit.core.packed import owners
from jepakit.guard.networks.grams import FEATURES, Grams, grams, packed, packed_grams

#: Features of the tool, the names of arguments and the values of a call.
_PARTS = 3 * FEATURES
#: Signs of a code.
_SIGNS = 4
#: Logarithms of weights before training, by kind, and by shape.
_OF_KIND, _OF_SHAPE = (0.0, -0.7, -1.2, 0.0, -0.7), (-1.5, -0.5, 0.0, 0.0, 0.0, 0.0)
#: Of the name of an argument, beside its value; of what an earlier call of the plan had already.
_OF_NAME, _OF_REPEATED = -1.0, -1.0


@dataclass(frozen=True)
class ToolTexts:
    """A tool's name, its description, and the names of its arguments."""

    name: str
    description: str
    arguments: str


@dataclass(frozen=True)
class ContextTexts:
    """What of a context has words in common with plans."""

    task: str
    tools: tuple[ToolTexts, ...]


@dataclass(frozen=True)
class CallTexts:
    """A call's tool, and pointer and text of each value."""

    tool: str
    values: tuple[tuple[str, str], ...]


def codes_sum(codes: Tensor, weight: Tensor, owner: Tensor, count: int, dim: int) -> Tensor:
    """Sums of codes: ``[K]`` hash values, their weights and the sum each counts for -> ``[count, dim]``."""
    places, signs = _codes(codes, dim)
    total = weight.new_zeros(count * dim)
    total = total.index_add(0, (owner[:, None] * dim + places).flatten(), (weight[:, None] * signs).flatten())
    return total.view(count, dim)


class TaskWords(nn.Module):
    """The words of a task, and the names of the tools whose descriptions the task is like.

    Args:
        dim: of the embedding.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim
        self.task, self.asked = nn.Parameter(_first_weights()), nn.Parameter(_first_weights())
        self.tool = nn.Parameter(torch.cat([_first_weights(), _first_weights(), _first_weights() + _OF_NAME]))
        self.chosen = nn.Parameter(torch.tensor([24.0, -3.0]))
        self.name = nn.Parameter(torch.tensor(1.0))

    def forward(self, texts: Sequence[ContextTexts]) -> Tensor:
        """``D`` contexts -> ``[D, dim]``."""
        tasks = _on(packed_grams([text.task for text in texts]), self.name)
        owner = owners(tasks.ptr.diff(), len(tasks.codes))
        embedded, asked = (
            codes_sum(tasks.codes, weights[tasks.feature].exp(), owner, len(texts), self.dim)
            for weights in (self.task, self.asked)
        )
        asked = F.normalize(asked, dim=1)
        rows: dict[tuple[ToolTexts, ...], list[int]] = {}
        for row, text in enumerate(texts):
            rows.setdefault(text.tools, []).append(row)
        for tools, places in rows.items():
            if tools:
                at = torch.tensor(places, device=embedded.device)
                embedded = embedded.index_add(0, at, self._names(asked[at], tools))
        return embedded

    def _names(self, asked: Tensor, tools: Sequence[ToolTexts]) -> Tensor:
        """The codes of the names of tools, each by how much it is asked for: ``[N, dim] -> [N, dim]``."""
        parts = [part for tool in tools for part in (tool.name, tool.description, tool.arguments)]
        texts = _on(packed_grams(parts), asked)
        part = owners(texts.ptr.diff(), len(texts.codes))
        weight = self.tool[part % 3 * FEATURES + texts.feature].exp()
        described = F.normalize(codes_sum(texts.codes, weight, part // 3, len(tools), self.dim), dim=1)
        if len(tools) > 1:
            # What all tools of an agent have in common tells none of them.
            described = F.normalize(described - described.mean(0), dim=1)
        slope, offset = self.chosen
        share = torch.sigmoid(slope * (asked @ described.T) + offset)
        names = torch.tensor([_name(tool.name) for tool in tools], device=asked.device)
        place, one = torch.arange(len(tools), device=asked.device), share.new_ones(len(tools))
        return self.name.exp() * share @ codes_sum(names, one, place, len(tools), self.dim)


class CallWords(nn.Module):
    """The words of a call: its tool, the names of its arguments, and their values.

    Args:
        dim: of the embedding.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim
        self.part = nn.Parameter(torch.cat([_first_weights(), _first_weights() + _OF_NAME, _first_weights()]))
        self.repeated = nn.Parameter(torch.tensor([0.0, _OF_REPEATED]))
        self.name = nn.Parameter(torch.tensor([1.0, -0.5]))

    def forward(self, plans: Sequence[Sequence[CallTexts]]) -> Tensor:
        """The calls of some plans, ``C`` in all -> ``[C, dim]``.

        A call depends on those before it in its plan: what they had counts less.
        """
        calls = [_call(call, seen) for plan in plans for seen in [_Seen()] for call in plan]
        words = _on(packed([(call.codes, call.features) for call in calls]), self.repeated)
        owner = owners(words.ptr.diff(), len(words.codes))
        before, feature = words.feature // _PARTS, words.feature % _PARTS
        weight = (self.part[feature] + self.repeated[before]).exp()
        embedded = codes_sum(words.codes, weight, owner, len(calls), self.dim)
        names = torch.tensor([call.name for call in calls], dtype=torch.long, device=embedded.device)
        again = torch.tensor([call.again for call in calls], dtype=torch.long, device=embedded.device)
        place = torch.arange(len(calls), device=embedded.device)
        return embedded + codes_sum(names, self.name[again].exp(), place, len(calls), self.dim)


class _Seen:
    """What the calls of a plan had so far."""

    def __init__(self) -> None:
        self.codes, self.names = np.empty(0, np.int64), set[int]()


@dataclass(frozen=True)
class _CallGrams:
    """Distinct grams of the parts of a call; features count from `_PARTS` for those of earlier calls."""

    codes: NDArray[np.int64]
    features: NDArray[np.int64]
    name: int
    again: bool


def _call(call: CallTexts, seen: _Seen) -> _CallGrams:
    """The grams of a call after those that were seen."""
    texts = [(0, call.tool)] + [(part, text) for value in call.values for part, text in enumerate(value, start=1)]
    listed = [(codes, part * FEATURES + features) for part, text in texts for codes, features in [grams(text)]]
    codes, features = (np.concatenate(arrays) for arrays in zip(*listed, strict=True))
    first = np.unique(codes * 4 + features // FEATURES, return_index=True)[1]
    codes, features = codes[first], features[first]
    name = _name(call.tool)
    made = _CallGrams(codes, features + _PARTS * np.isin(codes, seen.codes), name, name in seen.names)
    seen.codes = np.union1d(seen.codes, codes)
    seen.names.add(name)
    return made


def _first_weights() -> Tensor:
    return (torch.tensor(_OF_KIND)[:, None] + torch.tensor(_OF_SHAPE)).flatten()


def _name(tool: str) -> int:
    return zlib.crc32(f"tool {tool}".encode("utf-8", "surrogatepass"))


def _on(texts: Grams, like: Tensor) -> Grams:
    return Grams(*(part.to(like.device) for part in (texts.codes, texts.feature, texts.ptr)))


def _codes(codes: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    """The places and signs of codes: ``[K] -> [K, 4]`` int64, and float32 with length 1."""
    places: list[Tensor] = []
    signs: list[Tensor] = []
    state = codes
    for _ in range(_SIGNS):
        # Knuth's linear congruential generator modulo 2^64; its high bits are good.
        state = state * 0x5851F42D4C957F2D + 0x14057B7EF767814F
        drawn = (state >> 33) & 0x7FFFFFFF
        places.append(drawn % dim)
        signs.append(((drawn >> 20) & 1) * 2 - 1)
    return torch.stack(places, 1), torch.stack(signs, 1) / _SIGNS**0.5
