"""Generated graphs: size, shape, texts."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jepakit.errors import ConfigError
from jepakit.kgqa.datasets.generated import GeneratedConfig, generate

SMALL = GeneratedConfig(entities=2000, triples=40_000, relations=6, types=4, subjects=20, hub=800)


@given(st.integers(0, 5))
def test_the_same_generator_gives_the_same_graph_of_the_size_asked_for(seed: int) -> None:
    graph, again = (generate(SMALL, np.random.default_rng(seed)).graph for _ in range(2))
    assert graph.fingerprint == again.fingerprint
    assert (graph.num_entities, graph.num_triples, len(graph.relations)) == (2000, 40_000, 6)
    assert len(set(graph.column("name"))) == 2000


def test_degrees_are_skewed_and_triples_typed() -> None:
    graph = generate(SMALL, np.random.default_rng(0)).graph
    assert 300 < graph.degree.max() < 1000
    assert graph.degree.max() > 8 * np.median(graph.degree)
    types = np.array(graph.column("type"))
    for relation in range(6):
        triples = graph.triples()
        ends = triples[triples[:, 1] == relation]
        assert len(set(types[ends[:, 0]])) == len(set(types[ends[:, 2]])) == 1


def test_triples_and_words_are_shared_within_a_subject() -> None:
    made = generate(SMALL, np.random.default_rng(0))
    head, _, tail = made.graph.triples().T
    assert 0.2 < (made.subject[head] == made.subject[tail]).mean() < 0.6
    words = [set(text.split()) for text in made.graph.column("text")]
    vocabulary = [set().union(*(words[row] for row in np.flatnonzero(made.subject == one))) for one in (0, 1)]
    assert not vocabulary[0] & vocabulary[1]


def test_more_triples_than_there_is_room_for_are_refused() -> None:
    with pytest.raises(ConfigError) as error:
        generate(GeneratedConfig(entities=10, triples=1000, types=2), np.random.default_rng(0))
    assert error.value.field == "triples"
