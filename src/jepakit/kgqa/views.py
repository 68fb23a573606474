"""Context and target views of subgraphs that are drawn anew for every batch."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from jepakit.core import Views
from jepakit.errors import DataError
from jepakit.graph.data import Graphs, concatenate
from jepakit.graph.masking import Masking, with_patches
from jepakit.graph.views import BatchViews, ViewConfig
from jepakit.kgqa.data import KnowledgeGraph
from jepakit.kgqa.encoder import KnowledgeEncoder
from jepakit.kgqa.features import EntityFeatures, as_graphs
from jepakit.kgqa.sampling import Sampling

_ENTRIES_AT_ONCE = 1 << 20


class SubgraphViews:
    """Makes the `Views` of a batch: ``(indices [B], generator) -> Views`` of B subgraphs around random entities.

    Indices only count: each has another root in every epoch.

    Args:
        graph: where subgraphs are drawn.
        features: of its entities, as the encoder reads them (`KnowledgeEncoder.fit_to`).
        encoder: its structural encoding is computed.
        sampling: how subgraphs are drawn.
        masking: how masked entities are drawn.
        config: the inputs of the two encoders.
        patch_size: entities of a METIS patch, for ``masking.strategy = metis``.

    Raises:
        DataError: no triple joins two different entities.
    """

    def __init__(
        self,
        graph: KnowledgeGraph,
        features: EntityFeatures,
        encoder: KnowledgeEncoder,
        sampling: Sampling,
        masking: Masking,
        config: ViewConfig,
        *,
        patch_size: int = 16,
    ) -> None:
        self.graph, self.features, self.encoder, self.sampling = graph, features, encoder, sampling
        self.views, self.patch_size = BatchViews(masking, config), patch_size
        if not _joins_two(graph):
            raise DataError("no triple joins two entities", field=graph.name, expected="one from an entity to another")
        self.roots = np.flatnonzero(np.diff(graph.ptr))

    def __call__(self, indices: Tensor, generator: torch.Generator) -> Views:
        return self.views.draw(self.batch(len(indices), generator), generator)

    def batch(self, count: int, generator: torch.Generator) -> Graphs:
        """``count`` subgraphs of two or more entities, prepared for the encoder."""
        numbers = np.random.default_rng(int(torch.randint(2**62, (), generator=generator)))
        # A root whose only neighbour is itself has nothing to be predicted from: another takes its place.
        parts: list[Graphs] = []
        missing = count
        while missing:
            roots = self.roots[numbers.integers(0, len(self.roots), missing)]
            graphs = as_graphs(self.sampling(self.graph, roots, numbers), self.features, len(self.graph.relations))
            several = graphs.nodes_per_graph > 1
            missing -= int(several.sum())
            parts.append(graphs if several.all() else graphs[several])
        graphs = self.encoder.prepare(parts[0] if len(parts) == 1 else concatenate(parts))
        return with_patches(graphs, self.patch_size) if self.views.masking.strategy == "metis" else graphs


def _joins_two(graph: KnowledgeGraph) -> bool:
    """Whether a triple joins two different entities; nearly always the first entries tell."""
    for start in range(0, len(graph.neighbour), _ENTRIES_AT_ONCE):
        entry = np.arange(start, min(start + _ENTRIES_AT_ONCE, len(graph.neighbour)))
        if (np.searchsorted(graph.ptr, entry, side="right") - 1 != graph.neighbour[entry]).any():
            return True
    return False
