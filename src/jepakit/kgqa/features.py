"""What an encoder reads of each entity: the embedding of its name and text, and its type."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from jepakit.graph.data import Graphs
from jepakit.kgqa.arrow import pc
from jepakit.kgqa.data import KnowledgeGraph
from jepakit.kgqa.sampling import Subgraphs
from jepakit.text import TextConfig, TextEncoder, load_cached_encoder

_TEXTS_AT_ONCE = 50_000


@dataclass(frozen=True, eq=False)
class EntityFeatures:
    """The features of all entities of a graph.

    Args:
        text: unit vector of name and text, ``[N, D]`` float32; zeros where both are blank.
        type: the type's place in ``types``, ``[N]`` int64.
        types: the types that occur.
        fingerprint: of the sentence encoder.
    """

    text: Tensor
    type: Tensor
    types: tuple[str, ...]
    fingerprint: str


def entity_features(graph: KnowledgeGraph, encoder: TextEncoder) -> EntityFeatures:
    """Encodes name and text of every entity as a document, see `entity_texts`."""
    text = torch.empty(graph.num_entities, encoder.dim)
    for start in range(0, graph.num_entities, _TEXTS_AT_ONCE):
        part = entity_texts(graph.entities.slice(start, _TEXTS_AT_ONCE))
        text[start : start + len(part)] = encoder.encode(part, "document")
    types = pc.dictionary_encode(graph.entities["type"]).combine_chunks()
    names: list[str] = types.dictionary.to_pylist()
    order = np.argsort(np.array(names))
    place = np.empty(len(names), np.int64)
    place[order] = np.arange(len(names))
    rows = torch.from_numpy(place[types.indices.to_numpy()])
    return EntityFeatures(text, rows, tuple(sorted(names)), encoder.fingerprint)


def load_features(graph: KnowledgeGraph, config: TextConfig) -> EntityFeatures:
    """`entity_features` by the sentence encoder of a configuration, with its cache."""
    return entity_features(graph, load_cached_encoder(config))


def entity_texts(entities: pa.Table) -> list[str]:
    """Name and text of each row of `KnowledgeGraph.entities`, in one: what is encoded and searched.

    Underscores in names are read as spaces.
    """
    name = pc.replace_substring(entities["name"], "_", " ")
    both = pc.binary_join_element_wise(name, entities["text"], pa.scalar(" ", pa.large_utf8()))
    return pc.utf8_trim_whitespace(both).to_pylist()


def as_graphs(subgraphs: Subgraphs, features: EntityFeatures, relations: int) -> Graphs:
    """Subgraphs as a batch for an encoder: two edges for each triple, one in each direction.

    The type of an edge from u to v is the step from u to v: the relation where u is the head, and otherwise the
    relation + R.
    """
    head, relation, tail = torch.from_numpy(subgraphs.triples).T
    entities = torch.from_numpy(subgraphs.entities)
    return Graphs.pack(
        features.text[entities],
        torch.stack([torch.cat([head, tail]), torch.cat([tail, head])]),
        torch.from_numpy(subgraphs.entity_ptr).diff(),
        edge_type=torch.cat([relation, relation + relations]),
        node_type=features.type[entities],
        field_name="subgraphs",
    )
