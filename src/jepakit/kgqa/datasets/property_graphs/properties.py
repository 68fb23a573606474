"""Nodes and relationships with properties: which of them become the name, type and text of an entity."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from jepakit.errors import DataError
from jepakit.kgqa.data import KnowledgeGraph, Relation, entity_table

NAMES = ("name", "title", "label")
TYPES = ("type", "kind", "category", "labels")
TEXTS = ("text", "description", "summary", "abstract", "comment")
RELATIONS = ("relation", "type", "label", "predicate")
"""Where the name, type and text of an entity, and the name of a relation, are looked for, in this order."""


def chosen(properties: Iterable[str], wanted: Sequence[str]) -> str | None:
    """The first of the wanted properties that is there, in whatever case it is written."""
    small = {name.lower(): name for name in properties}
    return next((small[name] for name in wanted if name in small), None)


def text_of(properties: Mapping[str, Any], wanted: Sequence[str], otherwise: str = "") -> str:
    """The first of the wanted properties that has a value, as text; a list as its parts with commas between them."""
    small = {name.lower(): value for name, value in properties.items()}
    for name in wanted:
        value = small.get(name)
        if value not in (None, "", []):
            return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return otherwise


def graph_of_nodes(
    name: str,
    ids: Sequence[str],
    nodes: Sequence[Mapping[str, Any]],
    ends: Sequence[tuple[str, str]],
    relations: Sequence[str],
    *,
    directed: bool = True,
) -> KnowledgeGraph:
    """The graph of nodes with properties.

    Args:
        name: of the graph.
        ids: of the nodes.
        nodes: the properties of each; see `NAMES`, `TYPES` and `TEXTS`.
        ends: source and target of each relationship, as ids.
        relations: the name of each relationship.
        directed: False: each relationship is a triple in both directions, and its name is its inverse name.

    Raises:
        DataError: a relationship has an end that is no node, an id occurs twice, or there are no relationships.
    """
    row = {one: place for place, one in enumerate(ids)}
    kinds = {one: place for place, one in enumerate(dict.fromkeys(relations))}
    unknown = next((end for pair in ends for end in pair if end not in row), None)
    if unknown is not None:
        raise DataError("a relationship has an end that is no node", value=unknown, expected="the id of a node")
    triples = np.array(
        [(row[head], kinds[kind], row[tail]) for (head, tail), kind in zip(ends, relations, strict=True)], np.int64
    ).reshape(-1, 3)
    if not directed:
        triples = np.concatenate([triples, triples[:, ::-1]])
    entities = entity_table(
        ids,
        names=[text_of(node, NAMES, one) for one, node in zip(ids, nodes, strict=True)],
        types=[text_of(node, TYPES) for node in nodes],
        texts=[text_of(node, TEXTS) for node in nodes],
    )
    return KnowledgeGraph.from_rows(
        name, entities, [Relation(kind, "" if directed else kind) for kind in kinds], triples
    )
