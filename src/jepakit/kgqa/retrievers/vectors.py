"""The vectors of all entities, and the nearest of them to a question."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from jepakit.errors import DataError
from jepakit.kgqa.data import Ids, KnowledgeGraph
from jepakit.kgqa.features import entity_texts
from jepakit.search import Hits, IndexConfig, VectorIndex
from jepakit.text import TextEncoder

Vectors = NDArray[np.float32]
#: Vectors of more entities than one in so many are not gathered: those of all are read in order, which is faster.
_GATHER_BELOW_ONE_IN = 8


class EntityVectors:
    """A unit vector of each entity, and the encoder that makes them.

    Args:
        graph: N entities.
        encoder: of questions, and of entities unless ``matrix`` is given.
        matrix: ``[N, D]`` float32, which may be a mapped file; None: the passages of `entity_passages` are encoded now.
        index: how the nearest are found.

    Raises:
        DataError: there is not one vector for each entity, or a vector is not of length 1 (or 0).
    """

    def __init__(
        self,
        graph: KnowledgeGraph,
        encoder: TextEncoder,
        *,
        matrix: Vectors | None = None,
        index: IndexConfig | None = None,
    ) -> None:
        self.encoder = encoder
        self.matrix = encoder.encode(entity_passages(graph), "document").numpy() if matrix is None else matrix
        if self.matrix.shape != (graph.num_entities, encoder.dim):
            expected = f"[{graph.num_entities}, {encoder.dim}]"
            raise DataError(
                "not one vector for each entity", field="matrix", value=self.matrix.shape, expected=expected
            )
        self._index = VectorIndex.build(self.matrix, index)

    def encode(self, texts: Sequence[str]) -> Vectors:
        """The vectors of questions, ``[Q, D]``."""
        return self.encoder.encode(texts, "query").numpy()

    def nearest(self, vectors: Vectors, k: int) -> Hits:
        """The nearest entities of each vector, ``[Q, D] -> [Q, k]``; scores are cosines."""
        return self._index.search(vectors, k)

    def similarity(self, vector: Vectors, entities: Ids) -> Vectors:
        """The cosine of a vector ``[D]`` and each of some entities, ``[n]``."""
        if len(entities) * _GATHER_BELOW_ONE_IN < len(self.matrix):
            return self.matrix[entities] @ vector
        return (self.matrix @ vector)[entities]


def entity_passages(graph: KnowledgeGraph) -> list[str]:
    """What is encoded and searched of each entity, see `jepakit.kgqa.features.entity_texts`."""
    return entity_texts(graph.entities)
