"""The frozen vectors of relation paths: each path's wordings are encoded once."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from jepakit.kgqa.data import Ids, KnowledgeGraph
from jepakit.kgqa.paths.reach import PathTable
from jepakit.kgqa.paths.wordings import word_path
from jepakit.text import TextEncoder


class PathVectors:
    """Vectors and steps of the paths in a table, which may grow.

    Args:
        graph: the graph of the paths.
        encoder: frozen; encodes the wordings.
        table: numbers the paths.
        hops: relations of the longest path.
        wordings: how many of each path.
    """

    def __init__(self, graph: KnowledgeGraph, encoder: TextEncoder, table: PathTable, hops: int, wordings: int) -> None:
        self.graph, self.encoder, self.table, self.hops, self.wordings = graph, encoder, table, hops, wordings
        self._wordings = torch.zeros(0, wordings, encoder.dim)
        self._vectors = torch.zeros(0, encoder.dim)
        self._steps = torch.zeros(0, hops, dtype=torch.long)

    def __call__(self, paths: Ids | Tensor) -> tuple[Tensor, Tensor]:
        """Mean vector of the wordings and steps of some paths, ``[P] -> [P, D], [P, hops]``.

        The vectors have length 1; shorter paths end with the number of steps of the graph.
        """
        self._extend()
        rows = torch.as_tensor(paths)
        return self._vectors[rows], self._steps[rows]

    def of_wordings(self, paths: Ids | Tensor) -> Tensor:
        """The vectors of the single wordings of some paths, ``[P] -> [P, wordings, D]``."""
        self._extend()
        return self._wordings[torch.as_tensor(paths)]

    def _extend(self) -> None:
        added = [self.table.steps(path) for path in range(len(self._steps), len(self.table))]
        if not added:
            return
        steps = torch.full((len(added), self.hops), self.graph.num_steps)
        for row, path in enumerate(added):
            steps[row, : len(path)] = torch.tensor(path)
        texts = [text for path in added for text in word_path(self.graph, path, self.wordings)]
        vectors = self.encoder.encode(texts, "document").view(len(added), self.wordings, -1)
        self._wordings = torch.cat([self._wordings, vectors])
        self._vectors = torch.cat([self._vectors, F.normalize(vectors.mean(1), dim=-1)])
        self._steps = torch.cat([self._steps, steps])
