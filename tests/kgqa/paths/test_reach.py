"""What relation paths reach, compared with a walk over sets in plain Python."""

from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jepakit.errors import ConfigError
from jepakit.kgqa.data import KnowledgeGraph, Relation, entity_table
from jepakit.kgqa.paths.reach import PathTable, Reached, Walker

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


def sets_of(levels: list[Reached], table: PathTable, place: int) -> dict[tuple[int, ...], set[int]]:
    """What each path from a topic reaches; nothing where it was not followed."""
    return {
        table.steps(int(level.path[row])): set(level.sets[[row]].indices.tolist())
        for level in levels
        for row in np.flatnonzero(level.topic == place)
    }


@given(
    TRIPLES,
    st.lists(st.integers(0, SIZE - 1), min_size=1, max_size=4),
    st.booleans(),
    st.integers(1, 30),
    st.randoms(use_true_random=False),
    st.booleans(),
)
def test_a_beam_follows_the_preferred_paths_that_it_has_room_for(
    triples: list[tuple[int, int, int]],
    topics: list[int],
    through: bool,
    beam: int,
    random: Random,
    preferred: bool,
) -> None:
    graph, table = graph_of(triples), PathTable(2 * KINDS)
    owner = np.repeat(np.arange(SIZE), graph.degree)
    edges = list(zip(owner.tolist(), graph.step.tolist(), graph.neighbour.tolist(), strict=True))
    values: dict[tuple[int, int | None], float] = {}

    def prefer(place: np.ndarray, path: np.ndarray) -> np.ndarray:
        pairs = zip(place.tolist(), path.tolist(), strict=True)
        return np.array([values.setdefault(pair, random.choice([-np.inf, *range(100)])) for pair in pairs], float)

    walker = Walker(graph, through_topic=through, beam=beam)
    levels = walker.paths(np.array(topics), 3, table, prefer if preferred else None)
    for place, topic in enumerate(topics):
        exact, found = walked(triples, topic, 3, through), sets_of(levels, table, place)
        # Nothing that does not exist, and nothing that is not reached.
        assert {*found} <= {*exact}
        assert all(not reached or reached == exact[path] for path, reached in found.items())
        before: dict[tuple[int, ...], set[int]] = {(): {topic}}
        for length in (1, 2, 3):
            # All steps from what was followed, with the end of each triple.
            ends = {
                (*path, step): [t for h, r, t in edges if r == step and h in before[path]]
                for path in before
                for step in range(2 * KINDS)
            }
            ends = {path: reached for path, reached in ends.items() if reached}
            back = {
                step: sum((h, r) == (topic, (step + KINDS) % (2 * KINDS)) for h, r, _ in edges)
                for step in range(2 * KINDS)
            }
            followed = {path for path in ends if not through and len(ends[path]) <= back[path[-1]]}
            if sum(map(len, ends.values())) <= beam:
                followed = {*ends}
            else:
                value = {
                    path: values[place, table.row(path)] if preferred else -len(ends[path])
                    for path in ends
                    if path not in followed and len(ends[path]) <= beam
                }
                spent = 0
                for path in sorted(value, key=lambda one: -value[one]):
                    spent += len(ends[path])
                    if value[path] > -np.inf and spent <= beam:
                        followed.add(path)
            reached = {
                path: ({*ends[path]} - (set() if through else {topic})) if path in followed else set() for path in ends
            }
            expected = {path: some for path, some in reached.items() if some or path not in followed}
            assert {path: some for path, some in found.items() if len(path) == length} == expected
            before = {path: some for path, some in expected.items() if some}


def last_first(place: np.ndarray, path: np.ndarray) -> np.ndarray:
    return path.astype(float)


@given(TRIPLES, st.booleans(), st.integers(1, 40))
def test_a_beam_with_room_for_all_changes_nothing(
    triples: list[tuple[int, int, int]], through: bool, beam: int
) -> None:
    graph, topics = graph_of(triples), np.arange(SIZE)
    exact, wide = (
        Walker(graph, through_topic=through, beam=one).paths(topics, 3, PathTable(2 * KINDS), last_first)
        for one in (None, beam)
    )
    if all(level.size.all() for level in wide):
        for ours, theirs in zip(wide, exact, strict=True):
            assert ours.topic.tolist() == theirs.topic.tolist()
            assert ours.path.tolist() == theirs.path.tolist()
            assert np.array_equal(ours.sets.toarray(), theirs.sets.toarray())
    else:
        assert sum(level.sets.nnz for level in wide) < sum(level.sets.nnz for level in exact)


def test_a_beam_has_room_for_something() -> None:
    with pytest.raises(ConfigError) as error:
        Walker(graph_of([(0, 0, 1)]), beam=0)
    assert error.value.field == "beam"
