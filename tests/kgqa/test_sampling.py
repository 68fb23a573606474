"""Subgraphs of a graph: what belongs to them, what bounds them, and that large files are not read whole."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jepakit.errors import ConfigError
from jepakit.kgqa.data import KnowledgeGraph, Relation, entity_table
from jepakit.kgqa.sampling import Sampling, Subgraphs, spread_entries
from kg_samples import graph_of, graphs

METHODS = ("fanout", "khop", "walk")


def parts(subgraphs: Subgraphs) -> list[tuple[list[int], set[tuple[int, int, int]]]]:
    """Entities and triples of each subgraph, by their rows in the graph."""
    found = []
    for g in range(len(subgraphs)):
        entities = subgraphs.entities[subgraphs.entity_ptr[g] : subgraphs.entity_ptr[g + 1]]
        rows = subgraphs.triples[subgraphs.triple_ptr[g] : subgraphs.triple_ptr[g + 1]]
        assert ((rows[:, [0, 2]] >= subgraphs.entity_ptr[g]) & (rows[:, [0, 2]] < subgraphs.entity_ptr[g + 1])).all()
        triples = {(int(subgraphs.entities[h]), int(r), int(subgraphs.entities[t])) for h, r, t in rows}
        assert len(triples) == len(rows)
        found.append((entities.tolist(), triples))
    return found


def ball(triples: set[tuple[int, int, int]], root: int, hops: int) -> set[int]:
    reached = {root}
    for _ in range(hops):
        reached |= {t for h, _, t in triples if h in reached} | {h for h, _, t in triples if t in reached}
    return reached


@pytest.mark.parametrize("method", METHODS)
@given(graph=graphs(), seed=st.integers(0, 1000), nodes=st.integers(2, 12), hops=st.integers(1, 3))
def test_a_subgraph_is_connected_bounded_and_has_all_triples_of_its_entities(
    method: str, graph: KnowledgeGraph, seed: int, nodes: int, hops: int
) -> None:
    roots = np.random.default_rng(seed).integers(0, graph.num_entities, 5)
    sampling = Sampling(method=method, nodes=nodes, hops=hops, fanout=3, walks=2, length=4)
    found = parts(sampling(graph, roots, np.random.default_rng(seed)))
    assert [entities[0] for entities, _ in found] == roots.tolist()
    every = set(map(tuple, graph.triples().tolist()))
    for entities, triples in found:
        assert len(set(entities)) == len(entities) <= nodes
        inside = set(entities)
        assert triples == {(h, r, t) for h, r, t in every if h in inside and t in inside}
        assert ball(triples, entities[0], len(entities)) == inside
    again = sampling(graph, roots, np.random.default_rng(seed))
    assert parts(again) == found


@given(graph=graphs(), hops=st.integers(1, 3), root=st.integers(0, 1))
def test_with_room_for_all_rings_are_balls(graph: KnowledgeGraph, hops: int, root: int) -> None:
    expected = ball(set(map(tuple, graph.triples().tolist())), root, hops)
    for sampling in (Sampling(method="khop", hops=hops), Sampling(method="fanout", hops=hops, fanout=100)):
        ((entities, _),) = parts(sampling(graph, np.array([root]), np.random.default_rng(0)))
        assert set(entities) == expected


def star(leaves: int, relations: int = 2) -> KnowledgeGraph:
    """A hub, 0, with ``leaves`` leaves by the first relation, and one more by each other."""
    triples = [(0, 0, leaf) for leaf in range(1, leaves + 1)]
    return graph_of([*triples, *((leaves + r, r, 0) for r in range(1, relations))], leaves + relations, relations)


def test_the_rings_are_as_wide_as_asked_for() -> None:
    graph, numbers = star(1000), np.random.default_rng(0)
    ((fan, _),) = parts(Sampling(method="fanout", fanout=16, hops=1)(graph, np.array([0]), numbers))
    assert len(fan) == 17
    ((ring, _),) = parts(Sampling(method="khop", nodes=100, hops=1)(graph, np.array([0]), numbers))
    assert len(ring) == 100
    ((from_leaf, _),) = parts(Sampling(method="khop", nodes=100, hops=2)(graph, np.array([5]), numbers))
    assert from_leaf[:2] == [5, 0]
    assert len(from_leaf) == 100
    ((walked, _),) = parts(Sampling(method="walk", walks=8, length=3)(graph, np.array([5]), numbers))
    assert walked[:2] == [5, 0]
    assert len(walked) <= 2 + 8


@pytest.mark.parametrize("method", ["khop", "fanout"])
def test_entities_of_a_ring_have_the_same_chance(method: str) -> None:
    graph = star(40)
    sampling = Sampling(method=method, nodes=11, hops=1, fanout=1000)
    found = sampling(graph, np.zeros(4000, np.int64), np.random.default_rng(0)).entities
    counts = np.bincount(found, minlength=42)[1:41]
    # 10 of 41 leaves, 4,000 times: about 976 each.
    assert counts.min() > 850
    assert counts.max() < 1100


def test_triples_between_two_hubs_are_only_those_followed() -> None:
    """Entities 0 and 1 have 6 triples each, one of them with each other, and both have 2 as a neighbour."""
    leaves = [(hub, 0, 3 + 4 * hub + leaf) for hub in (0, 1) for leaf in range(4)]
    graph = graph_of([*leaves, (0, 1, 1), (2, 0, 0), (2, 0, 1)], 11)
    searched, not_searched = (
        parts(Sampling(method="khop", hops=1, scan=scan)(graph, np.array([2]), np.random.default_rng(0)))[0][1]
        for scan in (6, 5)
    )
    assert searched == {(2, 0, 0), (2, 0, 1), (0, 1, 1)}
    assert not_searched == {(2, 0, 0), (2, 0, 1)}


@given(
    st.lists(st.integers(0, 40), min_size=1, max_size=8), st.one_of(st.none(), st.integers(1, 9)), st.integers(0, 99)
)
def test_spread_entries_are_different_and_within_their_list(degrees: list[int], most: int | None, seed: int) -> None:
    degree = np.array(degrees)
    start = np.cumsum(degree) - degree + 7
    owner, entry = spread_entries(start, degree, most, np.random.default_rng(seed))
    assert np.bincount(owner, minlength=len(degree)).tolist() == [d if most is None else min(d, most) for d in degrees]
    assert len(np.unique(entry)) == len(entry)
    assert ((entry >= start[owner]) & (entry < start[owner] + degree[owner])).all()
    # Evenly: no part of the list is left out that is more than twice as long as the distance between two entries.
    for place in np.flatnonzero(degree):
        mine = np.sort(entry[owner == place]) - start[place]
        gaps = np.diff([-1, *mine, degree[place]])
        assert gaps.max() <= 2 * np.ceil(degree[place] / len(mine))


def test_a_graph_in_files_larger_than_memory_is_read_where_it_is_drawn(tmp_path: Path) -> None:
    """The last entity is a hub with two thousand million triples, in sparse files: reading them all takes minutes."""
    size, hub = 50, 2**31
    # Entity i has one triple, with the hub; the hub has itself and the first entity, again and again.
    ptr = np.append(np.arange(size), size - 1 + hub)
    step, neighbour = (
        np.memmap(tmp_path / name, np.int32, "w+", shape=(size - 1 + hub,)) for name in ("step", "neighbour")
    )
    neighbour[: size - 1] = size - 1
    graph = KnowledgeGraph("holes", entity_table([str(i) for i in range(size)]), (Relation("r"),), ptr, step, neighbour)
    for method in METHODS:
        found = parts(Sampling(method=method, nodes=16)(graph, np.arange(5, 10), np.random.default_rng(0)))
        assert found[2][0][:2] == [7, size - 1]
        assert all(0 in entities for entities, _ in found)


@pytest.mark.parametrize(
    ("options", "field"), [({"method": "ball"}, "method"), ({"nodes": 1}, "nodes"), ({"fanout": 0}, "fanout")]
)
def test_options_are_checked(options: dict[str, object], field: str) -> None:
    with pytest.raises(ConfigError) as error:
        Sampling(**options)
    assert error.value.field == field


def test_no_roots_are_no_subgraphs() -> None:
    found = Sampling()(star(3), np.zeros(0, np.int64), np.random.default_rng(0))
    assert len(found) == len(found.entities) == len(found.triples) == 0
