"""Features and labels spread along the edges, by hand and against the matrices of their equations."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from jepakit.errors import DataError
from jepakit.graph import Graphs
from jepakit.graph.probe.propagation import (
    SHARES,
    principal_components,
    probe_few_spread_labels,
    probe_spread_labels,
    rare_words,
    smoothed_features,
    spread_features,
    spread_labels,
)

sizes, chances, seeds = st.integers(1, 12), st.floats(0, 1), st.integers(0, 2**31)


def path(x: list[list[float]]) -> Graphs:
    """Nodes in a row, each joined to the next."""
    forward = torch.stack([torch.arange(len(x) - 1), torch.arange(1, len(x))])
    return Graphs.pack(torch.tensor(x), torch.cat([forward, forward.flip(0)], dim=1), torch.tensor([len(x)]))


def drawn(nodes: int, chance: float, seed: int) -> tuple[Graphs, torch.Tensor]:
    """A random graph and its adjacency matrix."""
    generator = torch.Generator().manual_seed(seed)
    upper = (torch.rand(nodes, nodes, generator=generator) < chance).triu(1)
    x = torch.randn(nodes, 3, generator=generator)
    both = upper | upper.T
    return Graphs.pack(x, both.nonzero().T, torch.tensor([nodes])), both.float()


def smoothing(adjacency: torch.Tensor) -> torch.Tensor:
    with_loops = adjacency + torch.eye(len(adjacency))
    scale = with_loops.sum(0).rsqrt().diag()
    return scale @ with_loops @ scale


def test_two_steps_on_a_path_of_four_by_hand() -> None:
    """The rows of Â are (1/2, 1/√6, 0, 0), (1/√6, 1/3, 1/3, 0), and so on from the other end."""
    found = smoothed_features(path([[1.0], [0], [0], [0]]), 2)[:, 0]
    expected = [5 / 12, 5 / (6 * math.sqrt(6)), 1 / (3 * math.sqrt(6)), 0]
    torch.testing.assert_close(found, torch.tensor(expected))


@given(sizes, chances, st.integers(0, 3), seeds)
def test_smoothing_is_the_power_of_the_normalised_adjacency(nodes: int, chance: float, steps: int, seed: int) -> None:
    graphs, adjacency = drawn(nodes, chance, seed)
    expected = torch.linalg.matrix_power(smoothing(adjacency), steps) @ graphs.x
    torch.testing.assert_close(smoothed_features(graphs, steps), expected, rtol=1e-4, atol=1e-5)


def test_graphs_of_a_set_stay_apart() -> None:
    """A pair and a node alone."""
    graphs = Graphs.pack(torch.tensor([[1.0], [3], [5]]), torch.tensor([[0, 1], [1, 0]]), torch.tensor([2, 1]))
    torch.testing.assert_close(smoothed_features(graphs), torch.tensor([[2.0], [2], [5]]))


def test_one_step_of_spreading_on_a_pair_by_hand() -> None:
    """Â is 1/2 everywhere. Rows (3, 4) and (0, 2) have the directions (3/5, 4/5) and (0, 1), their mean (.3, .9)."""
    found = spread_features(path([[3.0, 4], [0, 2]]), steps=1, restart=0.25)
    expected = [[0.75 * 0.3 + 0.25 * 0.6, 0.75 * 0.9 + 0.25 * 0.8], [0.75 * 0.3, 0.75 * 0.9 + 0.25]]
    torch.testing.assert_close(found, torch.tensor(expected))


@given(sizes, chances, seeds)
def test_spreading_for_long_is_personalised_pagerank(nodes: int, chance: float, seed: int) -> None:
    graphs, adjacency = drawn(nodes, chance, seed)
    directions = graphs.x / graphs.x.norm(dim=1, keepdim=True)
    expected = 0.1 * torch.linalg.solve(torch.eye(nodes) - 0.9 * smoothing(adjacency), directions)
    torch.testing.assert_close(spread_features(graphs, steps=200), expected, rtol=1e-3, atol=1e-5)


def test_rare_words_weigh_more_by_hand() -> None:
    """Of four nodes all have the first word, one the second, two the third, none the last."""
    found = rare_words(path([[3.0, 1, 0, 0], [1, 0, 2, 0], [1, 0, 1, 0], [1, 0, 0, 0]])).x
    two, four = math.log(2), math.log(4)
    torch.testing.assert_close(found, torch.tensor([[0, four, 0, 0], [0, 0, two, 0], [0, 0, two, 0], [0, 0, 0, 0]]))


def test_labels_on_a_path_of_three_by_hand() -> None:
    """The ends are labelled. With f the middle's share, f = a/√2 (F0 + F2), F0 = (1 - a) + a f/√2, F2 = a f/√2."""
    found = spread_labels(path([[0.0]] * 3), [0, 5, 1], np.array([0, 2]), 0.5)
    expected = [[7 / 12, 1 / 12], [math.sqrt(2) / 6, math.sqrt(2) / 6], [1 / 12, 7 / 12]]
    np.testing.assert_allclose(found, expected, atol=1e-6)


@given(st.integers(2, 12), chances, st.sampled_from(SHARES), seeds)
def test_labels_are_the_fixed_point(nodes: int, chance: float, share: float, seed: int) -> None:
    graphs, adjacency = drawn(nodes, chance, seed)
    y, labelled = np.arange(nodes) % 3, np.arange(0, nodes, 2)
    scale = adjacency.sum(0).clamp(min=1).rsqrt().diag().double()
    given_labels = np.eye(3)[y][:, : y[labelled].max() + 1]
    given_labels[1::2] = 0
    walk = (scale @ adjacency.double() @ scale).numpy()
    expected = (1 - share) * np.linalg.solve(np.eye(nodes) - share * walk, given_labels)
    np.testing.assert_allclose(spread_labels(graphs, y, labelled, share), expected, atol=1e-4)


def two_rings(size: int = 20) -> tuple[Graphs, np.ndarray]:
    """Two rings of nodes, each of one class, and a node of class 1 without neighbours."""
    ring = torch.stack([torch.arange(size), (torch.arange(size) + 1) % size])
    edges = torch.cat([ring, ring.flip(0), ring + size, ring.flip(0) + size], dim=1)
    graphs = Graphs.pack(torch.zeros(2 * size + 1, 1), edges, torch.tensor([2 * size + 1]))
    return graphs, np.array([0] * size + [1] * size + [1])


def test_every_node_that_a_label_reaches_is_right_and_others_are_of_the_most_frequent_class() -> None:
    graphs, y = two_rings()
    splits = {"train": [0, 1, 20], "val": [5, 25], "test": [*range(6, 20), *range(26, 40), 40]}
    result = probe_spread_labels(graphs, y, splits)
    assert result.mean == pytest.approx(28 / 29)
    assert result.recall == (1.0, pytest.approx(14 / 15))
    few = probe_few_spread_labels(graphs, y, [np.array([0, 20]), np.array([0, 20, 21])], test=splits["test"])
    # Of two labels class 0 is the first of the most frequent, of three class 1 is.
    assert few.part_scores == ((pytest.approx(28 / 29), 1.0),)


def test_labels_of_validation_and_test_nodes_are_never_spread() -> None:
    graphs, _ = drawn(60, 0.1, 0)
    y = np.random.default_rng(0).integers(0, 3, 60)
    tampered = y.copy()
    tampered[20:] = 2 - y[20:]
    for share in SHARES:
        found = [spread_labels(graphs, labels, np.arange(20), share) for labels in (y, tampered)]
        np.testing.assert_array_equal(*found)


def test_labels_that_are_missing_are_named() -> None:
    graphs, y = two_rings()
    y[7] = -1
    with pytest.raises(DataError, match=r"node_y\[7\]: a node of the splits has no label"):
        probe_spread_labels(graphs, y, {"train": [0, 20], "val": [7], "test": [30]})


def test_principal_components_keep_the_distances_of_rows_in_a_plane() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(50, 2, generator=generator) @ torch.randn(2, 20, generator=generator) + 3
    found = principal_components(x, 2)
    assert found.shape == (50, 2)
    apart, expected = (torch.cdist(rows.double(), rows.double()) for rows in (found, x))
    torch.testing.assert_close(apart, expected, rtol=1e-4, atol=1e-4)
    assert found.var(0).argmax() == 0
    torch.testing.assert_close(found, principal_components(x, 2))
