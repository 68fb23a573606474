"""Embeddings of all entities of a graph, layer by layer, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from jepakit.graph.data import Graphs
from jepakit.graph.networks.messages import Messages
from jepakit.kgqa.data import Ids, KnowledgeGraph
from jepakit.kgqa.encoder import KnowledgeEncoder
from jepakit.kgqa.features import EntityFeatures
from jepakit.kgqa.sampling import spread_entries
from jepakit.progress import tracked

_ENTITIES_AT_ONCE = 20_000


@torch.no_grad()
def embed_entities(
    graph: KnowledgeGraph,
    encoder: KnowledgeEncoder,
    features: EntityFeatures,
    *,
    neighbours: int | None = 64,
    batch_edges: int = 100_000,
    seed: int = 0,
) -> Tensor:
    """Embeddings of all entities in eval mode, ``[N, width]`` float32 on the CPU.

    A layer is computed for all entities before the next, so that no entity is embedded twice (Hamilton et al. 2020,
    *Graph Representation Learning*, section 5.2). Beside the result and two layers, memory is that of ``batch_edges``
    edges and of the largest number of neighbours that one entity has.

    Args:
        graph: all of it is one graph for the encoder; structural encodings, which belong to subgraphs, are left out.
        encoder: pre-trained or not.
        features: of the entities, from `jepakit.kgqa.features.entity_features`.
        neighbours: most triples of an entity that are read, evenly spread over its relations; None: all. Subgraphs of
            pre-training have no hubs of thousands of neighbours.
        batch_edges: approximate triples per batch.
        seed: of the triples that are read.

    Raises:
        DataError: the graph has other relations than the encoder, or the features are of another sentence encoder.
    """
    features = encoder.fit_to(graph, features)
    was_training = encoder.training
    encoder.eval()
    x, device = _inputs(encoder, features), encoder.mask_token.device
    hidden, concat = encoder.config.hidden, encoder.config.jumping == "concat"
    out = torch.empty(len(x), encoder.config.width) if concat else x
    if concat:
        out[:, :hidden] = x
    for depth in tracked(range(encoder.config.layers), "embedding entities", unit="layers"):
        following = torch.empty_like(x)
        for number, (first, last) in enumerate(batches(graph, neighbours, batch_edges)):
            # The same triples in every layer.
            generator = np.random.default_rng((seed, number))
            messages, own = _messages(graph, x, (first, last), neighbours, generator, device)
            following[first:last] = encoder.propagate(depth, messages.graphs.x, messages)[own].cpu()
        x = following
        if concat:
            out[:, (depth + 1) * hidden : (depth + 2) * hidden] = x
    encoder.train(was_training)
    return out if concat else x


def _inputs(encoder: KnowledgeEncoder, features: EntityFeatures) -> Tensor:
    """The input of the first layer, without structural encoding: ``[N, hidden]``."""
    parts, device = [], encoder.mask_token.device
    for text, kind in zip(features.text.split(_ENTITIES_AT_ONCE), features.type.split(_ENTITIES_AT_ONCE), strict=True):
        parts.append(encoder.read_entities(text.to(device), kind.to(device)).float().cpu())
    return torch.cat(parts)


def batches(graph: KnowledgeGraph, neighbours: int | None, batch_edges: int) -> Iterator[tuple[int, int]]:
    """Ranges of entities that read about ``batch_edges`` triples."""
    start = 0
    while start < graph.num_entities:
        # An entity counts as a triple, so that a range of isolated entities ends, too.
        degree = np.diff(graph.ptr[start : start + batch_edges + 1])
        cost = np.cumsum(1 + (degree if neighbours is None else np.minimum(degree, neighbours)))
        stop = start + max(1, int(np.searchsorted(cost, batch_edges, side="right")))
        yield start, stop
        start = stop


def _messages(
    graph: KnowledgeGraph,
    x: Tensor,
    entities: tuple[int, int],
    most: int | None,
    generator: np.random.Generator,
    device: torch.device,
) -> tuple[Messages, Tensor]:
    """The edges to some entities, and where these entities are among the nodes of the batch."""
    rows = np.arange(*entities)
    owner, entry = spread_entries(graph.ptr[rows], _degree(graph, rows, None), most, generator)
    relations = len(graph.relations)
    edge_type = (graph.step[entry].astype(np.int64) + relations) % (2 * relations)
    nodes, place = np.unique(np.concatenate([rows, graph.neighbour[entry]]), return_inverse=True)
    own, source = place[: len(rows)], place[len(rows) :]
    batch = Graphs(
        x=x[torch.from_numpy(nodes)],
        edge_index=torch.from_numpy(np.stack([source, own[owner]])),
        node_ptr=torch.tensor([0, len(nodes)]),
        edge_ptr=torch.tensor([0, len(source)]),
        edge_type=torch.from_numpy(edge_type),
    ).to(device)
    degree = torch.from_numpy(_degree(graph, nodes.astype(np.int64), most)).to(device)
    return Messages(batch, degree), torch.from_numpy(own)


def _degree(graph: KnowledgeGraph, rows: Ids, most: int | None) -> Ids:
    degree = graph.ptr[rows + 1] - graph.ptr[rows]
    return degree if most is None else np.minimum(degree, most)
