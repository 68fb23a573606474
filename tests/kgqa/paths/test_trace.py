"""The triples along a path."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from jepakit.kgqa.data import KnowledgeGraph, Relation, entity_table
from jepakit.kgqa.paths.trace import trace

SIZE, KINDS = 6, 2
TRIPLES = st.lists(
    st.tuples(st.integers(0, SIZE - 1), st.integers(0, KINDS - 1), st.integers(0, SIZE - 1)), min_size=3, max_size=20
)


@given(TRIPLES, st.integers(0, SIZE - 1), st.lists(st.integers(0, 2 * KINDS - 1), min_size=1, max_size=3))
def test_every_traced_triple_is_on_a_walk_of_the_path(
    triples: list[tuple[int, int, int]], topic: int, steps: list[int]
) -> None:
    relations = [Relation(f"r{i}") for i in range(KINDS)]
    graph = KnowledgeGraph.from_rows("toy", entity_table([f"e{i}" for i in range(SIZE)]), relations, np.array(triples))
    edges = [*set(triples), *{(t, r + KINDS, h) for h, r, t in triples}]
    walks = [[topic]]
    for step in steps:
        walks = [[*walk, t] for walk in walks for h, r, t in edges if h == walk[-1] and r == step and t != topic]
    on_walks: set[tuple[int, int, int]] = set()
    for walk in walks:
        for step, before, after in zip(steps, walk, walk[1:], strict=False):
            on_walks.add((before, step, after) if step < KINDS else (after, step - KINDS, before))
    part = trace(graph, topic, steps, np.arange(SIZE), 64)
    ids = part.entities.tolist()
    assert {(ids[h], r, ids[t]) for h, r, t in part.triples.tolist()} == on_walks
    assert ids[0] == topic
    assert set(ids) == {topic} | {entity for h, _, t in on_walks for entity in (h, t)}


def test_few_entities_still_connect_the_topic_with_the_best_answer() -> None:
    hub = [(0, 0, 1), *[(1, 1, entity) for entity in range(2, 40)]]
    graph = KnowledgeGraph.from_rows(
        "hub", entity_table([str(i) for i in range(40)]), [Relation("a"), Relation("b")], np.array(hub)
    )
    part = trace(graph, 0, (0, 1), np.arange(39, 1, -1), 7)
    names = graph.column("id", part.entities)
    assert {"0", "1", "39"} <= set(names)
    assert len(names) <= 7


@given(TRIPLES, st.lists(st.integers(0, 2 * KINDS - 1), min_size=1, max_size=3), st.integers(2, 8))
def test_every_entity_that_is_kept_is_connected_with_the_topic(
    triples: list[tuple[int, int, int]], steps: list[int], limit: int
) -> None:
    relations = [Relation(f"r{i}") for i in range(KINDS)]
    graph = KnowledgeGraph.from_rows("toy", entity_table([f"e{i}" for i in range(SIZE)]), relations, np.array(triples))
    part = trace(graph, 0, steps, np.arange(SIZE)[::-1], limit)
    known = {0}
    for _ in steps:
        known |= {int(one) for h, _, t in part.triples.tolist() for one in (h, t) if {h, t} & known}
    assert known == set(range(len(part.entities)))
    assert len(part.entities) <= max(limit, len(steps) + 1)
