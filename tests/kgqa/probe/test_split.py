"""Held-out triples: nothing of a held-out pair stays in the graph."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jepakit.errors import ConfigError, DataError
from jepakit.kgqa.probe.split import split_triples, step_counts
from kg_samples import graph_of


@given(st.integers(0, 1000))
def test_a_pair_of_entities_is_in_one_part_and_all_triples_are_in_one(seed: int) -> None:
    numbers = np.random.default_rng(seed)
    triples = np.stack([numbers.integers(0, 12, 150), numbers.integers(0, 3, 150), numbers.integers(0, 12, 150)], 1)
    graph = graph_of(triples, 12, 3)
    split = split_triples(graph, held_out=0.5, seed=seed)
    parts = [part.tolist() for part in (split.graph.triples(), split.train, split.val, split.test)]
    assert sorted(tuple(row) for part in parts for row in part) == sorted(map(tuple, graph.triples().tolist()))
    pairs = [{frozenset((h, t)) for h, _, t in part} for part in parts]
    assert sum(map(len, pairs)) == len(set.union(*pairs))
    count = sum(map(len, pairs))
    assert [len(part) for part in pairs] == pytest.approx([0.5 * count, 0.3 * count, 0.1 * count, 0.1 * count], abs=1)
    assert split.graph.num_entities == graph.num_entities
    again = split_triples(graph, held_out=0.5, seed=seed)
    assert np.array_equal(again.test, split.test)


def test_what_cannot_be_split_is_refused() -> None:
    graph = graph_of([(0, 0, 1), (1, 0, 2), (1, 1, 2)], 3)
    with pytest.raises(DataError) as data_error:
        split_triples(graph)
    assert data_error.value.field == "toy"
    with pytest.raises(ConfigError) as error:
        split_triples(graph, held_out=1.0)
    assert error.value.field == "held_out"


def test_steps_are_counted_at_both_ends() -> None:
    graph = graph_of([(0, 0, 1), (0, 0, 2), (2, 1, 2)], 3)
    assert step_counts(graph).tolist() == [[2, 0, 0, 0], [0, 0, 1, 0], [0, 1, 1, 1]]
