"""The prize-collecting Steiner tree beside the best one, and a solver that is a wrong build."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jepakit.errors import ModelError
from jepakit.kgqa.retrievers.steiner import check_solver, steiner_tree

Edge = tuple[int, int, int]


def spanning_cost(nodes: tuple[int, ...], edges: list[Edge]) -> float:
    """The cost of the cheapest tree of these nodes alone; infinite if there is none."""
    group = {node: node for node in nodes}
    cost, joined = 0.0, 1
    for head, tail, price in sorted(edges, key=lambda edge: edge[2]):
        if head in group and tail in group and group[head] != group[tail]:
            old = group[head]
            group = {node: group[tail] if of == old else of for node, of in group.items()}
            cost, joined = cost + price, joined + 1
    return cost if joined == len(nodes) else float("inf")


def best_value(prizes: list[int], edges: list[Edge]) -> float:
    """The largest sum of prizes minus costs of a tree, by trying all sets of nodes."""
    sets = (nodes for count in range(1, len(prizes) + 1) for nodes in itertools.combinations(range(len(prizes)), count))
    return max(sum(prizes[node] for node in nodes) - spanning_cost(nodes, edges) for nodes in sets)


def solved(prizes: list[int], edges: list[Edge], clusters: int = 1) -> tuple[list[int], list[Edge]]:
    nodes, chosen = steiner_tree(
        np.array([edge[:2] for edge in edges]).reshape(-1, 2),
        np.array(prizes, np.float64),
        np.array([edge[2] for edge in edges], np.float64),
        clusters,
    )
    return nodes.tolist(), [edges[edge] for edge in chosen.tolist()]


@st.composite
def problems(draw: st.DrawFn) -> tuple[list[int], list[Edge]]:
    size = draw(st.integers(2, 6))
    pairs = list(itertools.combinations(range(size), 2))
    chosen = draw(st.lists(st.sampled_from(pairs), min_size=1, max_size=10, unique=True))
    costs = draw(st.lists(st.integers(0, 5), min_size=len(chosen), max_size=len(chosen)))
    prizes = draw(st.lists(st.integers(0, 8), min_size=size, max_size=size))
    return prizes, [(head, tail, cost) for (head, tail), cost in zip(chosen, costs, strict=True)]


@given(problems())
def test_it_is_a_tree_and_misses_at_most_what_the_approximation_allows(problem: tuple[list[int], list[Edge]]) -> None:
    prizes, edges = problem
    nodes, chosen = solved(prizes, edges)
    assert len(set(nodes)) == len(nodes) == len(chosen) + 1
    assert {end for edge in chosen for end in edge[:2]} <= set(nodes)
    cost = sum(edge[2] for edge in chosen)
    assert spanning_cost(tuple(nodes), chosen) == cost
    missed = sum(prizes) - sum(prizes[node] for node in nodes)
    assert cost + missed <= 2 * (sum(prizes) - best_value(prizes, edges))


@given(problems())
def test_with_large_prizes_it_is_the_cheapest_spanning_tree(problem: tuple[list[int], list[Edge]]) -> None:
    _, edges = problem
    nodes = tuple(sorted({end for edge in edges for end in edge[:2]}))
    cheapest = spanning_cost(nodes, edges)
    if cheapest < float("inf"):
        found, chosen = solved([100 if node in nodes else 0 for node in range(6)], edges)
        assert (tuple(found), sum(edge[2] for edge in chosen)) == (nodes, cheapest)


def test_two_prizes_are_joined_by_the_cheapest_way_if_it_is_worth_it() -> None:
    edges = [(0, 1, 2), (1, 3, 2), (0, 2, 1), (2, 3, 1), (0, 3, 9)]
    assert solved([5, 0, 0, 5], edges) == ([0, 2, 3], [(0, 2, 1), (2, 3, 1)])
    assert solved([5, 0, 0, 1], edges) == ([0], [])
    assert solved([5, 0, 0, 1], edges, clusters=2) == ([0, 3], [])


def test_a_wrong_build_is_refused_by_name() -> None:
    def repeats(edges: Any, prizes: Any, *rest: Any) -> tuple[Any, Any]:
        return np.full(3, 1), np.full(2, 1)

    with pytest.raises(ModelError, match="pcst_fast"):
        check_solver(repeats)
