"""Context and target views of subgraphs that are drawn anew for every batch."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from jepakit.core import Views
from jepakit.errors import DataError, require_within
from jepakit.graph import views as graph_views
from jepakit.graph.data import Graphs, concatenate
from jepakit.graph.masking import Masking, with_patches
from jepakit.graph.views import BatchViews, own_views
from jepakit.kgqa.data import KnowledgeGraph
from jepakit.kgqa.encoder import KnowledgeEncoder
from jepakit.kgqa.features import EntityFeatures, as_graphs
from jepakit.kgqa.sampling import Sampling

_ENTRIES_AT_ONCE = 1 << 20


@dataclass
class ViewConfig(graph_views.ViewConfig):
    """The inputs of the two encoders, see `jepakit.graph.ViewConfig`.

    Args:
        hide_relations: share of the triples of a context whose relation is not seen, nor its direction.
    """

    hide_relations: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        require_within(self, "[0, 1)", "hide_relations")


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
        self.views, self.config, self.patch_size = BatchViews(masking, config), config, patch_size
        if not _joins_two(graph):
            raise DataError("no triple joins two entities", field=graph.name, expected="one from an entity to another")
        self.roots = np.flatnonzero(np.diff(graph.ptr))

    def __call__(self, indices: Tensor, generator: torch.Generator) -> Views:
        views = self.views.draw(self.batch(len(indices), generator), generator)
        share, relations = self.config.hide_relations, len(self.graph.relations)
        if not share:
            return own_views(views)
        context = hide_relations(views.context, share, relations, generator)
        if self.config.target != "view":
            return own_views(replace(views, context=context))
        target = hide_relations(views.target, share, relations, generator)
        return own_views(replace(views, context=context, target=target))

    def batch(self, count: int, generator: torch.Generator) -> Graphs:
        """``count`` subgraphs of two or more entities, prepared for the encoder."""
        return self.batch_with_entities(count, generator)[0]

    def batch_with_entities(self, count: int, generator: torch.Generator) -> tuple[Graphs, Tensor]:
        """As `batch`, and the entity of each node, ``[N]``."""
        numbers = np.random.default_rng(int(torch.randint(2**62, (), generator=generator)))
        # A root whose only neighbour is itself has nothing to be predicted from: another takes its place.
        parts: list[Graphs] = []
        entities: list[Tensor] = []
        missing = count
        while missing:
            roots = self.roots[numbers.integers(0, len(self.roots), missing)]
            sampled = self.sampling(self.graph, roots, numbers)
            graphs = as_graphs(sampled, self.features, len(self.graph.relations))
            several = graphs.nodes_per_graph > 1
            missing -= int(several.sum())
            entities.append(torch.from_numpy(sampled.entities)[several[graphs.graph_of_node]])
            parts.append(graphs if several.all() else graphs[several])
        graphs = self.encoder.prepare(parts[0] if len(parts) == 1 else concatenate(parts))
        patched = with_patches(graphs, self.patch_size) if self.views.masking.strategy == "metis" else graphs
        return patched, torch.cat(entities)


def hide_relations(graphs: Graphs, share: float, relations: int, generator: torch.Generator) -> Graphs:
    """The graphs with a share of the triples seen without relation: both their edges have the type ``2 R``."""
    edge_type = graphs.edge_type
    assert edge_type is not None
    source, target = graphs.edge_index
    forward = edge_type < relations
    head, tail = torch.where(forward, source, target), torch.where(forward, target, source)
    # The two edges of a triple have the same key.
    key = (head * graphs.num_nodes + tail) * relations + edge_type % relations
    triples, triple = torch.unique(key, return_inverse=True)
    hidden = torch.rand(len(triples), generator=generator) < share
    return replace(graphs, edge_type=torch.where(hidden[triple], 2 * relations, edge_type))


def _joins_two(graph: KnowledgeGraph) -> bool:
    """Whether a triple joins two different entities; nearly always the first entries tell."""
    for start in range(0, len(graph.neighbour), _ENTRIES_AT_ONCE):
        entry = np.arange(start, min(start + _ENTRIES_AT_ONCE, len(graph.neighbour)))
        if (np.searchsorted(graph.ptr, entry, side="right") - 1 != graph.neighbour[entry]).any():
            return True
    return False
