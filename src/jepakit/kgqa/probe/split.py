"""Triples that are taken out of a graph, to be predicted from the rest of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from jepakit.errors import ConfigError, DataError
from jepakit.kgqa.data import Ids, KnowledgeGraph


@dataclass(frozen=True)
class TripleSplit:
    """A graph without some of its triples, and these in three parts.

    Args:
        graph: with all entities and the other triples; encoders see no more than this.
        train: triples for a classifier, ``[T_train, 3]``.
        val: triples by which settings are chosen.
        test: triples that are scored once.
    """

    graph: KnowledgeGraph
    train: Ids
    val: Ids
    test: Ids


def split_triples(graph: KnowledgeGraph, *, held_out: float = 0.3, seed: int = 0) -> TripleSplit:
    """Holds triples out: 60 % of them for training, 20 % for validation, 20 % for the test.

    All triples of a pair of entities, in both directions and by all relations, are in one part: the graph never has an
    edge between two entities whose relation is asked for.

    Args:
        graph: with all triples.
        held_out: the share of the pairs that are held out.
        seed: of the parts.

    Raises:
        ConfigError: ``held_out`` is not between 0 and 1.
        DataError: the graph is too small for four parts.
    """
    if not 0 < held_out < 1:
        raise ConfigError("held_out", held_out, "a number in (0, 1)")
    triples = graph.triples()
    low, high = np.minimum(triples[:, 0], triples[:, 2]), np.maximum(triples[:, 0], triples[:, 2])
    pairs, pair = np.unique(low * graph.num_entities + high, return_inverse=True)
    place = np.random.default_rng(seed).permutation(len(pairs))[pair] / len(pairs)
    bounds = held_out * np.array([0.6, 0.8, 1.0])
    part = np.searchsorted(bounds, place, side="right")
    if len(np.unique(part)) < 4:
        raise DataError("too few triples for four parts", field=graph.name, value=len(triples), expected="20 or more")
    rest = KnowledgeGraph.from_rows(graph.name, graph.entities, graph.relations, triples[part == 3])
    return TripleSplit(rest, *(triples[part == number] for number in range(3)))


def step_counts(graph: KnowledgeGraph) -> Ids:
    """How many triples each entity has by each step, ``[N, 2R]``: what is known of it without a network."""
    owner = np.repeat(np.arange(graph.num_entities), graph.degree)
    key = owner * graph.num_steps + graph.step
    return np.bincount(key, minlength=graph.num_entities * graph.num_steps).reshape(-1, graph.num_steps)
