"""Several retrievers as one: by ranks, or by scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from jepakit.errors import ConfigError, require_at_least, require_choice, require_within
from jepakit.kgqa.data import KnowledgeGraph
from jepakit.kgqa.retrievers.base import Query, Retrieved, Retriever, joined, ranked, require_limit, rows_of
from jepakit.search import Hits, reciprocal_rank, weighted


@dataclass(frozen=True)
class HybridConfig:
    """How rankings are combined.

    Args:
        by: ``rank`` (reciprocal rank fusion, of any number of retrievers) or ``score`` (weighted sum, of two).
        constant: of reciprocal rank fusion, see `jepakit.search.reciprocal_rank`.
        weight: of the second retriever in a weighted sum, see `jepakit.search.weighted`.

    Raises:
        ConfigError: a value is out of range.
    """

    by: Literal["rank", "score"] = "rank"
    constant: float = 60
    weight: float = 0.5

    def __post_init__(self) -> None:
        require_choice("by", self.by, ("rank", "score"))
        require_at_least(self, constant=0)
        require_within(self, "[0, 1]", "weight")


class Hybrid:
    """The entities that several retrievers rank high; the subgraph is that of all of them.

    Args:
        graph: the graph.
        retrievers: of this graph.
        config: how they are combined.

    Raises:
        ConfigError: there is no retriever, or a weighted sum is not of two.
    """

    def __init__(
        self, graph: KnowledgeGraph, retrievers: Sequence[Retriever], config: HybridConfig | None = None
    ) -> None:
        self.graph, self.retrievers, self.config = graph, tuple(retrievers), config or HybridConfig()
        if not self.retrievers or (self.config.by == "score" and len(self.retrievers) != 2):
            expected = "two for a weighted sum" if self.config.by == "score" else "at least one"
            raise ConfigError("retrievers", len(self.retrievers), expected)

    def retrieve(self, queries: Sequence[Query], limit: int) -> list[Retrieved]:
        """See `Retriever.retrieve`."""
        require_limit(limit)
        answers = [retriever.retrieve(queries, limit) for retriever in self.retrievers]
        rankings = [_hits(found, limit) for found in answers]
        if self.config.by == "rank":
            fused = reciprocal_rank(rankings, limit, self.config.constant)
        else:
            fused = weighted(rankings[0], rankings[1], self.config.weight)
        return [
            Retrieved(*ranked(query, *ranking, limit), joined(self.graph, [one.subgraph for one in parts]))
            for query, ranking, parts in zip(queries, rows_of(fused), zip(*answers, strict=True), strict=True)
        ]


def _hits(found: Sequence[Retrieved], limit: int) -> Hits:
    rows = torch.full((len(found), limit), -1)
    scores = torch.full((len(found), limit), -torch.inf)
    for place, one in enumerate(found):
        rows[place, : len(one.entities)] = torch.from_numpy(one.entities)
        scores[place, : len(one.scores)] = torch.from_numpy(one.scores)
    return Hits(rows, scores)
