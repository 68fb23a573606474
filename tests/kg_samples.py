"""Knowledge graphs that several tests share, with features that need no sentence encoder."""

import numpy as np
import torch
from hypothesis import strategies as st

from jepakit.graph.data import Graphs
from jepakit.kgqa.data import KnowledgeGraph, Relation, entity_table
from jepakit.kgqa.features import EntityFeatures, as_graphs
from jepakit.kgqa.sampling import Sampling

TEXT = 6


def graph_of(triples: list[tuple[int, int, int]] | np.ndarray, size: int, relations: int = 2) -> KnowledgeGraph:
    """Entities ``e0``, ``e1``, ... and relations ``r0``, ``r1``, ..."""
    table = entity_table([f"e{i}" for i in range(size)], types=["even" if i % 2 == 0 else "odd" for i in range(size)])
    kinds = [Relation(f"r{i}") for i in range(relations)]
    return KnowledgeGraph.from_rows("toy", table, kinds, np.array(triples))


@st.composite
def graphs(draw: st.DrawFn, most: int = 12) -> KnowledgeGraph:
    """Up to so many entities with two relations; some isolated, some with self-loops."""
    size = draw(st.integers(2, most))
    entity = st.integers(0, size - 1)
    return graph_of(draw(st.lists(st.tuples(entity, st.integers(0, 1), entity), min_size=1, max_size=30)), size)


def features_of(graph: KnowledgeGraph, seed: int = 0) -> EntityFeatures:
    """Random text embeddings, and types."""
    text = torch.randn(graph.num_entities, TEXT, generator=torch.Generator().manual_seed(seed))
    names = graph.column("type")
    types = tuple(sorted(set(names)))
    return EntityFeatures(text, torch.tensor([types.index(name) for name in names]), types, "random")


def whole(graph: KnowledgeGraph, features: EntityFeatures) -> Graphs:
    """All of a graph as one batch, its entities in their order."""
    subgraph = graph.induced(np.arange(graph.num_entities))
    order = np.arange(graph.num_entities)
    packed = Sampling(nodes=max(2, graph.num_entities))(graph, order[:1], np.random.default_rng(0))
    ends = np.array([0, graph.num_entities]), np.array([0, len(subgraph.triples)])
    return as_graphs(type(packed)(order, ends[0], subgraph.triples, ends[1]), features, len(graph.relations))


def two_groups(groups: int = 60, seed: int = 0) -> tuple[KnowledgeGraph, EntityFeatures]:
    """Entities of two kinds that are told apart by text and by the relation they are used with.

    ``r0`` joins entities of one kind, ``r1`` those of different kinds, so an entity's text can be predicted from its
    neighbours and their relations.
    """
    numbers = np.random.default_rng(seed)
    kind = np.arange(2 * groups) % 2
    head, tail = numbers.integers(0, 2 * groups, (2, 8 * groups))
    graph = graph_of(np.stack([head, (kind[head] != kind[tail]).astype(int), tail], 1), 2 * groups)
    features = features_of(graph, seed)
    text = 0.3 * features.text
    text[:, 0] += torch.from_numpy(2.0 * kind - 1)
    return graph, EntityFeatures(text, torch.zeros(2 * groups, dtype=torch.long), ("",), "random")
