"""Candidates, compared with the sets that the walker gives."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from jepakit.kgqa.data import KnowledgeGraph, Questions, Relation, entity_table
from jepakit.kgqa.paths.candidates import find_candidates
from jepakit.kgqa.paths.reach import PathTable, Walker

SIZE, KINDS = 6, 2
TRIPLES = st.lists(
    st.tuples(st.integers(0, SIZE - 1), st.integers(0, KINDS - 1), st.integers(0, SIZE - 1)), min_size=1, max_size=15
)
ASKED = st.lists(
    st.tuples(st.lists(st.integers(0, SIZE - 1), max_size=2, unique=True), st.sets(st.integers(0, SIZE - 1))),
    max_size=5,
)


@given(TRIPLES, ASKED)
def test_sizes_and_hits_are_those_of_the_sets(
    triples: list[tuple[int, int, int]], asked: list[tuple[list[int], set[int]]]
) -> None:
    relations = [Relation(f"r{i}") for i in range(KINDS)]
    graph = KnowledgeGraph.from_rows("toy", entity_table([f"e{i}" for i in range(SIZE)]), relations, np.array(triples))
    questions = Questions(
        tuple("?" * len(asked)), tuple(tuple(t) for t, _ in asked), tuple(tuple(sorted(a)) for _, a in asked)
    )
    walker, table = Walker(graph), PathTable(graph.num_steps)
    candidates = find_candidates(walker, table, questions, 2)
    assert len(candidates) == len(asked)
    for row, (topics, answers) in enumerate(asked):
        own = slice(candidates.ptr[row], candidates.ptr[row + 1])
        columns = (candidates.path[own], candidates.size[own], candidates.hits[own])
        expected = [
            (int(level.path[i]), int(level.size[i]), len(answers & set(level.sets[[i]].indices.tolist())))
            for topic in topics
            for level in walker.paths(np.array([topic]), 2, table)
            for i in range(len(level.path))
        ]
        assert sorted(zip(*(column.tolist() for column in columns), strict=True)) == sorted(expected)
