"""What relation paths reach, compared with a walk over sets in plain Python."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jepakit.kgqa.data import KnowledgeGraph, Relation, entity_table
from jepakit.kgqa.paths.reach import PathTable, Walker

SIZE, KINDS = 7, 3
TRIPLES = st.lists(
    st.tuples(st.integers(0, SIZE - 1), st.integers(0, KINDS - 1), st.integers(0, SIZE - 1)), min_size=1, max_size=25
)


def graph_of(triples: list[tuple[int, int, int]]) -> KnowledgeGraph:
    entities = entity_table([f"e{i}" for i in range(SIZE)])
    return KnowledgeGraph.from_rows("toy", entities, [Relation(f"r{i}") for i in range(KINDS)], np.array(triples))


def walked(
    triples: list[tuple[int, int, int]], topic: int, hops: int, through: bool
) -> dict[tuple[int, ...], set[int]]:
    edges = [*triples, *((t, r + KINDS, h) for h, r, t in triples)]
    level: dict[tuple[int, ...], set[int]] = {(): {topic}}
    reached: dict[tuple[int, ...], set[int]] = {}
    for _ in range(hops):
        longer: dict[tuple[int, ...], set[int]] = {}
        for path, sources in level.items():
            for h, r, t in edges:
                if h in sources and (through or t != topic):
                    longer.setdefault((*path, r), set()).add(t)
        reached |= longer
        level = longer
    return reached


@given(TRIPLES, st.lists(st.integers(0, SIZE - 1), min_size=1, max_size=4), st.booleans())
def test_sets_are_those_of_a_plain_walk(triples: list[tuple[int, int, int]], topics: list[int], through: bool) -> None:
    table = PathTable(2 * KINDS)
    levels = Walker(graph_of(triples), through_topic=through).paths(np.array(topics), 3, table)
    for place, topic in enumerate(topics):
        found = {
            table.steps(int(level.path[row])): set(level.sets[[row]].indices.tolist())
            for level in levels
            for row in np.flatnonzero(level.topic == place)
        }
        assert found == walked(triples, topic, 3, through)


@given(TRIPLES)
def test_paths_are_numbered_once(triples: list[tuple[int, int, int]]) -> None:
    table, walker = PathTable(2 * KINDS), Walker(graph_of(triples))
    first = [level.path.tolist() for level in walker.paths(np.arange(SIZE), 2, table)]
    size = len(table)
    assert [level.path.tolist() for level in walker.paths(np.arange(SIZE), 2, table)] == first
    assert len(table) == size
    for path in range(size):
        assert table.row(table.steps(path)) == path
    assert table.row((0, 0, 0)) is None


@pytest.mark.parametrize("hops", [1, 2])
def test_an_isolated_entity_reaches_nothing(hops: int) -> None:
    for level in Walker(graph_of([(0, 0, 1)])).paths(np.array([6]), hops, PathTable(2 * KINDS)):
        assert len(level.topic) == level.sets.nnz == 0
