"""Weisfeiler-Lehman colours and kernels against naive refinement, assignment by hand and graphs worked out on paper."""

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment

from graph_samples import five_graphs, graph_sets, necklaces, renumbered, star_of
from jepakit.errors import ConfigError, DataError
from jepakit.graph.data import Graphs
from jepakit.graph.datasets import load_dataset
from jepakit.graph.probe import kernels
from jepakit.graph.probe.kernels import (
    node_level_summary,
    wl_colors,
    wl_kernel_series,
)


def wl_subtree_kernel(graphs: Graphs, iterations: int, **options: Any) -> np.ndarray:
    return wl_kernel_series(graphs, iterations, kind="subtree", **options)[-1]


def wl_optimal_assignment_kernel(graphs: Graphs, iterations: int, **options: Any) -> np.ndarray:
    return wl_kernel_series(graphs, iterations, kind="optimal assignment", **options)[-1]


def undirected(sizes: list[int], edges: list[tuple[int, int]], labels: list[int] | None = None) -> Graphs:
    """Graphs with one-hot node labels (all alike if None) and undirected edges between packed node ids."""
    both = torch.tensor(edges + [(v, u) for u, v in edges]).reshape(-1, 2).T
    kinds = torch.zeros(sum(sizes), dtype=torch.long) if labels is None else torch.tensor(labels)
    return Graphs.pack(torch.nn.functional.one_hot(kinds).float(), both, torch.tensor(sizes))


def many_random_graphs(count: int, seed: int, *, edge_kinds: int = 0) -> Graphs:
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 9, count)
    starts = np.cumsum(sizes) - sizes
    pairs = [(s + u, s + v) for s, n in zip(starts, sizes, strict=True) for u in range(n) for v in range(u)]
    edges = [pair for pair in pairs if rng.random() < 0.35]
    graphs = undirected(sizes.tolist(), edges, rng.integers(0, 3, sizes.sum()).tolist())
    if edge_kinds == 0:
        return graphs
    kinds = torch.from_numpy(rng.integers(0, edge_kinds, len(edges))).repeat(2)
    both = torch.tensor(edges + [(v, u) for u, v in edges]).T
    one_hot = torch.nn.functional.one_hot(kinds, edge_kinds).float()
    return Graphs.pack(graphs.x, both, graphs.nodes_per_graph, edge_attr=one_hot)


def naive_colors(graphs: Graphs, iterations: int, initial: list[int], edge_labels: list[int]) -> list[list[object]]:
    """Nested tuples instead of numbers: the definition itself."""
    edges = list(zip(*graphs.edge_index.tolist(), edge_labels, strict=True))
    rounds: list[list[object]] = [list(initial)]
    for _ in range(iterations):
        old = rounds[-1]
        heard: list[list[object]] = [[] for _ in old]
        for source, target, label in edges:
            heard[target].append((label, old[source]))
        rounds.append([(own, tuple(sorted(h, key=repr))) for own, h in zip(old, heard, strict=True)])
    return rounds


def assert_same_partition(ours: np.ndarray, reference: list[object]) -> None:
    pairs = set(zip(ours.tolist(), reference, strict=True))
    assert len(pairs) == len(set(ours.tolist())) == len(set(reference))


def counters(graphs: Graphs, rounds: list[np.ndarray]) -> list[Counter[tuple[int, int]]]:
    owner = graphs.graph_of_node.tolist()
    result: list[Counter[tuple[int, int]]] = [Counter() for _ in range(len(graphs))]
    for number, colors in enumerate(rounds):
        for graph, color in zip(owner, colors.tolist(), strict=True):
            result[graph][number, color] += 1
    return result


@given(graph_sets(edge_features=True), st.integers(0, 4), st.booleans(), st.integers(0, 1000))
def test_colors_are_those_of_the_definition(graphs: Graphs, iterations: int, use_edges: bool, seed: int) -> None:
    initial = np.random.default_rng(seed).integers(0, 3, graphs.num_nodes)
    assert graphs.edge_attr is not None
    labels = graphs.edge_attr.argmax(1).tolist() if use_edges else [0] * graphs.num_edges
    ours = wl_colors(graphs, iterations, use_edges=use_edges, initial=initial)
    reference = naive_colors(graphs, iterations, initial.tolist(), labels)
    assert len(ours) == iterations + 1
    for colors, expected in zip(ours, reference, strict=True):
        assert_same_partition(colors, expected)
        assert set(colors.tolist()) == set(range(colors.max(initial=-1) + 1))


@given(graph_sets(), st.integers(0, 1000))
def test_numbering_of_the_nodes_does_not_matter(graphs: Graphs, seed: int) -> None:
    initial = np.random.default_rng(seed).integers(0, 2, graphs.num_nodes)
    shuffled, order = renumbered(graphs, seed)
    new = order.numpy()
    moved = np.empty_like(initial)
    moved[new] = initial
    for before, after in zip(wl_colors(graphs, 3, initial=initial), wl_colors(shuffled, 3, initial=moved), strict=True):
        np.testing.assert_array_equal(after[new], before)
    for kernel in (wl_subtree_kernel, wl_optimal_assignment_kernel):
        np.testing.assert_array_equal(kernel(graphs, 3, initial=initial), kernel(shuffled, 3, initial=moved))


def test_triangle_and_path_by_hand() -> None:
    graphs = undirected([3, 3], [(0, 1), (1, 2), (2, 0), (3, 4), (4, 5)])
    first, second = wl_colors(graphs, 1)
    assert first.tolist() == [0] * 6
    triangle, leaf = second[0], second[3]
    assert second.tolist() == [triangle, triangle, triangle, leaf, triangle, leaf]
    np.testing.assert_array_equal(wl_subtree_kernel(graphs, 0), [[9, 9], [9, 9]])
    np.testing.assert_array_equal(wl_subtree_kernel(graphs, 1), [[18, 12], [12, 14]])
    np.testing.assert_array_equal(wl_optimal_assignment_kernel(graphs, 1), [[6, 4], [4, 6]])
    np.testing.assert_allclose(
        wl_optimal_assignment_kernel(graphs, 1, normalize=True), [[1, 2 / 3], [2 / 3, 1]], rtol=1e-12
    )


def test_a_hexagon_is_two_triangles_to_refinement_and_labels_tell_them_apart() -> None:
    edges = [(i, (i + 1) % 6) for i in range(6)] + [(6, 7), (7, 8), (8, 6), (9, 10), (10, 11), (11, 9)]
    alike = wl_subtree_kernel(undirected([6, 6], edges), 5, normalize=True)
    np.testing.assert_allclose(alike, np.ones((2, 2)), rtol=1e-12)
    told = wl_subtree_kernel(undirected([6, 6], edges, [0, 1] * 3 + [0, 1, 0, 1, 0, 1]), 5, normalize=True)
    assert told[0, 1] < 0.9


def test_edge_labels_count_only_when_asked_for() -> None:
    edge_index = torch.tensor([[0, 1, 2, 3], [1, 0, 3, 2]])
    bonds = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    graphs = Graphs.pack(torch.ones(4, 1), edge_index, torch.tensor([2, 2]), edge_attr=bonds)
    np.testing.assert_array_equal(wl_subtree_kernel(graphs, 1), [[8, 8], [8, 8]])
    np.testing.assert_array_equal(wl_subtree_kernel(graphs, 1, use_edges=True), [[8, 4], [4, 8]])


@pytest.mark.parametrize("seed", [0, 1])
def test_kernels_are_sums_over_the_colors(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    # Eighty graphs have rare colours as well as common ones, and two dense columns at a time make several blocks.
    monkeypatch.setattr(kernels, "_MAX_DENSE_ENTRIES", 160)
    graphs = many_random_graphs(80, seed, edge_kinds=2)
    counts = counters(graphs, wl_colors(graphs, 3, use_edges=True))
    support = Counter(color for counter in counts for color in counter)
    assert min(support.values()) == 1
    assert sum(n > 0.05 * 80 for n in support.values()) > 4
    products = [[sum(n * b[color] for color, n in a.items()) for b in counts] for a in counts]
    smaller = [[sum((a & b).values()) for b in counts] for a in counts]
    np.testing.assert_array_equal(wl_subtree_kernel(graphs, 3, use_edges=True), products)
    np.testing.assert_array_equal(wl_optimal_assignment_kernel(graphs, 3, use_edges=True), smaller)


def test_optimal_assignment_is_the_best_matching_of_nodes() -> None:
    graphs = many_random_graphs(12, 3)
    rounds = np.stack(wl_colors(graphs, 3), axis=1)
    nodes = np.split(rounds, graphs.node_ptr[1:-1].numpy())
    ours = wl_optimal_assignment_kernel(graphs, 3)
    for g, left in enumerate(nodes):
        for h, right in enumerate(nodes):
            worth = (left[:, None] == right[None]).sum(axis=2)
            assert ours[g, h] == worth[linear_sum_assignment(worth, maximize=True)].sum()


@pytest.mark.parametrize("kind", ["subtree", "optimal assignment"])
@pytest.mark.parametrize("normalize", [False, True])
def test_series_are_the_kernels_of_each_round(kind: kernels.KernelKind, normalize: bool) -> None:
    graphs = many_random_graphs(20, 5)
    single = wl_subtree_kernel if kind == "subtree" else wl_optimal_assignment_kernel
    series = wl_kernel_series(graphs, 3, kind=kind, normalize=normalize)
    assert len(series) == 4
    for rounds, kernel in enumerate(series):
        np.testing.assert_array_equal(kernel, single(graphs, rounds, normalize=normalize))
        assert np.linalg.eigvalsh(kernel).min() > -1e-8
        if normalize:
            np.testing.assert_allclose(kernel.diagonal(), 1, rtol=1e-12)


def test_empty_graphs_are_like_nothing() -> None:
    graphs = Graphs.pack(torch.ones(2, 1), torch.tensor([[0, 1], [1, 0]]), torch.tensor([0, 2, 0]))
    for kernel in (wl_subtree_kernel, wl_optimal_assignment_kernel):
        np.testing.assert_allclose(kernel(graphs, 2, normalize=True), np.diag([0.0, 1.0, 0.0]), rtol=1e-12)
    nothing = Graphs.pack(torch.ones(0, 1), torch.zeros(2, 0, dtype=torch.long), torch.tensor([0, 0]))
    np.testing.assert_array_equal(wl_optimal_assignment_kernel(nothing, 2), np.zeros((2, 2)))
    np.testing.assert_array_equal(wl_subtree_kernel(nothing, 2), np.zeros((2, 2)))


def test_refinement_solves_what_counting_cannot() -> None:
    graphs = necklaces(40).graphs
    assert graphs.y is not None
    y = graphs.y.numpy()
    kernel = wl_optimal_assignment_kernel(graphs, 2, normalize=True)
    np.fill_diagonal(kernel, -1)
    assert (y[kernel.argmax(axis=1)] == y).mean() > 0.9
    same_size = graphs.nodes_per_graph.numpy() == 12
    assert len(set(y[same_size])) == 2
    assert len(np.unique(node_level_summary(graphs)[same_size], axis=0)) == 1


def test_continuous_features_are_refused_with_their_place() -> None:
    graphs = five_graphs()
    with pytest.raises(DataError, match=r"graphs\.x\[:, 0\]: colours need discrete node labels.*initial="):
        wl_colors(graphs, 1)
    assert len(wl_colors(graphs, 1, initial=np.zeros(14, dtype=int))) == 2


def test_attributes_beside_the_labels_are_no_labels() -> None:
    graphs = many_random_graphs(10, 0)
    attributes = torch.arange(2.0, 2.0 + graphs.num_nodes)[:, None]
    widened = replace(graphs, x=torch.cat([attributes, graphs.x], dim=1))
    np.testing.assert_array_equal(wl_subtree_kernel(widened, 2), wl_subtree_kernel(graphs, 2))
    constant = replace(graphs, x=torch.full((graphs.num_nodes, 2), 7.5))
    alike = np.zeros(graphs.num_nodes, dtype=int)
    np.testing.assert_array_equal(wl_subtree_kernel(constant, 2), wl_subtree_kernel(graphs, 2, initial=alike))


@pytest.mark.parametrize("initial", [np.zeros(3, dtype=int), np.zeros(14), np.zeros((14, 1), dtype=int)])
def test_initial_colors_are_checked(initial: np.ndarray) -> None:
    with pytest.raises(DataError, match=r"initial: .*integers \[14\]"):
        wl_colors(five_graphs(), 1, initial=initial)


def test_wrong_options_are_named() -> None:
    graphs = star_of(3)
    with pytest.raises(ConfigError, match="iterations = -1"):
        wl_colors(graphs, -1)
    with pytest.raises(DataError, match=r"graphs\.edge_attr: use_edges"):
        wl_colors(graphs, 1, use_edges=True)
    with pytest.raises(ConfigError, match=r"kind = 'subtre'.*did you mean 'subtree'"):
        wl_kernel_series(graphs, 1, kind="subtre")  # pyright: ignore[reportArgumentType]


def test_summary_of_a_star_by_hand() -> None:
    graphs = star_of(4, 1, features=(1.0,))
    # nodes, directed edges, mean degree, density | degree 0, 1, 2, 3 | sum of x | the same as fractions
    star = [4, 6, 1.5, 0.5, 0, 3, 0, 1, 1 + 2 + 3 + 4, 0, 0.75, 0, 0.25, 2.5]
    single = [1, 0, 0, 0, 1, 0, 0, 0, 5, 1, 0, 0, 0, 5]
    np.testing.assert_allclose(node_level_summary(graphs), [star, single], rtol=1e-12)


def test_summary_bins_high_degrees_by_half_octaves() -> None:
    leaves = [7, 8, 11, 12, 15, 16, 22, 23, 32]
    summary = node_level_summary(star_of(*(n + 1 for n in leaves), features=(0.0,)))
    # The hub is the one node that is no leaf; columns 4 and on are the bins of degree 0, 1, ...
    bins = [int(np.flatnonzero(row[4:18] == 1).max()) for row in summary]
    assert bins == [7, 8, 8, 9, 9, 10, 10, 11, 12]


def test_summary_counts_edge_labels_and_survives_empty_graphs() -> None:
    edge_index = torch.tensor([[0, 1], [1, 0]])
    bonds = torch.tensor([[0.0, 1.0], [0.0, 1.0]])
    graphs = Graphs.pack(torch.ones(2, 1), edge_index, torch.tensor([2, 0]), edge_attr=bonds)
    summary = node_level_summary(graphs)
    np.testing.assert_array_equal(summary[0], [2, 2, 1, 1, 0, 2, 2, 0, 2, 0, 1, 1, 0, 1])
    np.testing.assert_array_equal(summary[1], np.zeros(14))


@given(graph_sets(), st.integers(0, 1000))
def test_summary_does_not_depend_on_numbering(graphs: Graphs, seed: int) -> None:
    np.testing.assert_allclose(
        node_level_summary(renumbered(graphs, seed)[0]), node_level_summary(graphs), rtol=1e-6, atol=1e-6
    )


@pytest.mark.data
def test_mutag_against_the_definition(data_dir: Path) -> None:
    graphs = load_dataset("MUTAG", data_dir=data_dir).graphs
    assert graphs.edge_attr is not None
    initial, labels = graphs.x.argmax(1), graphs.edge_attr.argmax(1)
    ours = wl_colors(graphs, 3, use_edges=True)
    reference = naive_colors(graphs, 3, initial.tolist(), labels.tolist())
    for colors, expected in zip(ours, reference, strict=True):
        assert_same_partition(colors, expected)
    assert [int(colors.max()) + 1 for colors in wl_colors(graphs, 3)] == [7, 33, 174, 572]
