"""Structural encodings against dense references, hand-computed graphs, node order, batches and odd graphs."""

import warnings
from itertools import pairwise
from pathlib import Path
from typing import get_args

import networkx as nx
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from jepakit.errors import ConfigError, DataError
from jepakit.graph.data import Graphs
from jepakit.graph.datasets.tu import load_tu
from jepakit.graph.networks.encoding import Encoding, degree, laplacian, random_walk, with_position

KINDS: tuple[Encoding, ...] = get_args(Encoding)


def packed(*parts: nx.Graph) -> Graphs:
    """The graphs with their nodes in the order networkx holds them."""
    union = nx.disjoint_union_all(parts) if parts else nx.Graph()
    edges = [(u, v) for u, v in union.edges] + [(v, u) for u, v in union.edges if u != v]
    sizes = torch.tensor([part.number_of_nodes() for part in parts], dtype=torch.long)
    return Graphs.pack(torch.zeros(len(union), 1), torch.tensor(edges, dtype=torch.long).reshape(-1, 2).T, sizes)


def encoded(graphs: Graphs, kind: Encoding, size: int) -> Tensor:
    position = with_position(graphs, kind, size).position
    assert position is not None
    return position


def adjacency(graph: nx.Graph) -> np.ndarray:
    return nx.to_numpy_array(graph) if len(graph) else np.zeros((0, 0))


def dense_return_probabilities(graph: nx.Graph, size: int) -> np.ndarray:
    A = adjacency(graph)
    M = A / np.maximum(A.sum(1, keepdims=True), 1)
    return np.stack([np.diag(np.linalg.matrix_power(M, k)) for k in range(1, size + 1)], axis=1)


def dense_laplacian_magnitudes(graph: nx.Graph, size: int) -> np.ndarray:
    """From the projectors on the eigenspaces of the Laplacian that networkx builds."""
    n = len(graph)
    found = np.zeros((n, size))
    if n == 0:
        return found
    values, vectors = np.linalg.eigh(nx.normalized_laplacian_matrix(graph).toarray())
    values, vectors = values[values > 1e-10], vectors[:, values > 1e-10]
    for column, value in enumerate(values[:size]):
        space = vectors[:, np.abs(values - value) < 1e-9]
        found[:, column] = np.sqrt(n * np.diag(space @ space.T) / space.shape[1])
    return found


random_graphs = st.builds(
    nx.fast_gnp_random_graph,
    st.integers(min_value=0, max_value=25),
    st.sampled_from([0.0, 0.05, 0.15, 0.5, 1.0]),
    st.integers(min_value=0, max_value=10**6),
)
batches = st.lists(random_graphs, max_size=6)

SYMMETRIC = [nx.cycle_graph(12), nx.complete_graph(9), nx.petersen_graph(), nx.star_graph(7), nx.hypercube_graph(4)]


def test_random_walk_by_hand() -> None:
    triangle, edge = nx.complete_graph(3), nx.path_graph(2)
    walks = random_walk(packed(triangle, edge, nx.star_graph(3)), 4)
    assert walks[:3].tolist() == [[0, 0.5, 0.25, 0.375]] * 3
    assert walks[3:5].tolist() == [[0, 1, 0, 1]] * 2
    assert walks[5:].numpy() == pytest.approx(np.array([[0, 1, 0, 1], *[[0, 1 / 3, 0, 1 / 3]] * 3]))


@settings(max_examples=60)
@given(batches, st.integers(min_value=1, max_value=20))
def test_random_walk_equals_matrix_powers(parts: list[nx.Graph], size: int) -> None:
    expected = [dense_return_probabilities(part, size) for part in parts]
    found = random_walk(packed(*parts), size).numpy()
    np.testing.assert_allclose(found, np.concatenate([np.zeros((0, size)), *expected]), atol=1e-6)


def test_random_walk_of_graphs_wider_than_a_block() -> None:
    parts = [nx.gnm_random_graph(700, 1500, seed=0), nx.path_graph(3), nx.gnm_random_graph(520, 4000, seed=1)]
    expected = np.concatenate([dense_return_probabilities(part, 6) for part in parts])
    np.testing.assert_allclose(random_walk(packed(*parts), 6).numpy(), expected, atol=1e-6)


def test_random_walk_equals_pyg() -> None:
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):  # from its use of torch.jit
        from torch_geometric.data import Data
        from torch_geometric.transforms import AddRandomWalkPE

    graphs = packed(nx.gnm_random_graph(60, 150, seed=0))
    data = Data(edge_index=graphs.edge_index, num_nodes=graphs.num_nodes)
    expected = AddRandomWalkPE(walk_length=16)(data).random_walk_pe
    torch.testing.assert_close(random_walk(graphs, 16), expected, atol=1e-6, rtol=0)


def test_random_walk_ends_where_no_edge_leads_on() -> None:
    # 0 -> 1 -> 2 -> 0 returns after three steps against the edges; node 3 has no way in, and 0 may leave for it.
    edges = torch.tensor([[0, 1, 2, 3], [1, 2, 0, 0]])
    graphs = Graphs.pack(torch.zeros(4, 1), edges, torch.tensor([4]))
    assert random_walk(graphs, 3).tolist() == [[0, 0, 0.5], [0, 0, 0.5], [0, 0, 0.5], [0, 0, 0]]


def test_laplacian_by_hand() -> None:
    # Path of three: eigenvectors (1, 0, -1) / sqrt 2 at 1 and (1, -sqrt 2, 1) / 2 at 2. A cycle's nodes are all alike.
    found = laplacian(packed(nx.path_graph(3), nx.path_graph(2), nx.cycle_graph(5)), 3).numpy()
    root = np.sqrt(1.5)
    path = [[root, np.sqrt(0.75), 0], [0, root, 0], [root, np.sqrt(0.75), 0]]
    np.testing.assert_allclose(found[:3], path, atol=1e-6)
    np.testing.assert_allclose(found[3:5], [[1, 0, 0]] * 2, atol=1e-6)
    np.testing.assert_allclose(found[5:], np.ones((5, 3)), atol=1e-6)


@settings(max_examples=60)
@given(batches, st.integers(min_value=1, max_value=12))
def test_laplacian_equals_dense_projectors(parts: list[nx.Graph], size: int) -> None:
    parts = [*parts, *SYMMETRIC]
    expected = np.concatenate([dense_laplacian_magnitudes(part, size) for part in parts])
    np.testing.assert_allclose(laplacian(packed(*parts), size).numpy(), expected, atol=2e-5)


@pytest.mark.parametrize(
    "graph",
    [
        nx.gnm_random_graph(500, 600, seed=0),
        nx.random_labeled_tree(700, seed=0),
        nx.path_graph(600),
        nx.cycle_graph(400),
        nx.grid_2d_graph(22, 22),
        nx.disjoint_union(nx.random_regular_graph(3, 300, seed=0), nx.empty_graph(100)),
    ],
    ids=["disconnected", "tree", "path", "cycle", "grid", "isolated nodes"],
)
def test_laplacian_of_large_graphs_equals_dense_projectors(graph: nx.Graph) -> None:
    np.testing.assert_allclose(laplacian(packed(graph), 8).numpy(), dense_laplacian_magnitudes(graph, 8), atol=1e-5)


def test_laplacian_has_unit_mean_square() -> None:
    graphs = packed(nx.gnm_random_graph(40, 80, seed=0), nx.gnm_random_graph(300, 900, seed=0))
    for part in laplacian(graphs, 10).split(graphs.nodes_per_graph.tolist()):
        torch.testing.assert_close(part.square().mean(0), torch.ones(10), atol=1e-5, rtol=0)


def test_laplacian_ignores_edge_directions() -> None:
    there = torch.stack([torch.arange(5), torch.arange(1, 6)])
    one_way = Graphs.pack(torch.zeros(6, 1), there, torch.tensor([6]))
    torch.testing.assert_close(laplacian(one_way, 4), laplacian(packed(nx.path_graph(6)), 4))


def test_laplacian_leaves_out_eigenspaces_found_in_part() -> None:
    # The complete graph has one eigenspace, of dimension n - 1; a few of its vectors would depend on the node order.
    assert laplacian(packed(nx.complete_graph(300)), 8).eq(0).all()


def test_laplacian_without_convergence_names_the_graph(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jepakit.graph.networks.encoding._LANCZOS_RESTARTS", 1)
    with pytest.raises(DataError, match=r"graph 1: .*did not converge.*600 nodes.*random_walk"):
        laplacian(packed(nx.path_graph(4), nx.path_graph(600)), 8)


def test_degree_by_hand() -> None:
    found = degree(packed(nx.star_graph(4), nx.empty_graph(1)), 4)
    hub, leaf, alone = [np.log(5), 0, 0, 1], [np.log(2), 0, 1, 0], [0, 1, 0, 0]
    np.testing.assert_allclose(found.numpy(), [hub, *[leaf] * 4, alone], atol=1e-6)
    assert degree(packed(nx.path_graph(2)), 1).flatten().tolist() == pytest.approx([np.log(2)] * 2)


def test_combined_is_the_three_side_by_side() -> None:
    graphs = packed(nx.gnm_random_graph(20, 40, seed=0))
    parts = [random_walk(graphs, 6), laplacian(graphs, 5), degree(graphs, 5)]
    assert torch.equal(encoded(graphs, "combined", 16), torch.cat(parts, dim=1))


def test_none_empties_the_position() -> None:
    graphs = with_position(packed(nx.path_graph(3)), "degree", 4)
    assert with_position(graphs, "none", 4).position is None


@pytest.mark.parametrize("kind", ["degree", "random_walk", "laplacian", "combined"])
def test_node_order_does_not_matter(kind: Encoding) -> None:
    rng = np.random.default_rng(0)
    parts = [nx.gnm_random_graph(30, 45, seed=0), nx.random_labeled_tree(350, seed=1), nx.cycle_graph(300), *SYMMETRIC]
    for part in parts:
        graphs = packed(part)
        order = torch.from_numpy(rng.permutation(graphs.num_nodes))
        moved = Graphs.pack(graphs.x, order[graphs.edge_index], graphs.nodes_per_graph)
        torch.testing.assert_close(
            encoded(moved, kind, 12)[order], encoded(graphs, kind, 12), atol=5e-5, rtol=0, msg=str(part)
        )


@pytest.mark.parametrize("kind", ["degree", "random_walk", "laplacian", "combined"])
def test_other_graphs_of_the_set_do_not_matter(kind: Encoding) -> None:
    parts = [nx.gnm_random_graph(n, 2 * n, seed=n) for n in (12, 5, 30, 13, 300, 14, 31)]
    together = encoded(packed(*parts), kind, 9)
    alone = torch.cat([encoded(packed(part), kind, 9) for part in parts])
    torch.testing.assert_close(together, alone, atol=2e-5, rtol=0)


@pytest.mark.parametrize("kind", ["degree", "random_walk", "laplacian", "combined"])
def test_odd_graphs(kind: Encoding) -> None:
    empty, lonely, no_edges = nx.empty_graph(0), nx.empty_graph(1), nx.empty_graph(300)
    loop = nx.Graph([(0, 0)])
    for parts in ([], [empty], [lonely], [no_edges], [loop], [lonely, empty, no_edges, loop, nx.path_graph(2)]):
        graphs = packed(*parts)
        position = encoded(graphs, kind, 7)
        assert position.shape == (graphs.num_nodes, 7)
        assert position.dtype == torch.float32
        assert torch.isfinite(position).all()


def test_encodings_stay_with_their_nodes_in_a_batch() -> None:
    graphs = with_position(packed(nx.star_graph(3), nx.path_graph(4)), "random_walk", 4)
    batch = graphs[[1, 0]]
    assert batch.position is not None
    torch.testing.assert_close(batch.position, random_walk(batch, 4))


@pytest.mark.parametrize(
    ("kind", "size", "message"),
    [
        ("rwse", 8, r"position = 'rwse': expected one of combined, degree, laplacian, none, random_walk"),
        ("random_walks", 8, "did you mean 'random_walk'"),
        ("random_walk", 0, r"position_size = 0: expected at least 1"),
        ("combined", 2, r"position_size = 2: expected at least 3"),
    ],
)
def test_bad_options(kind: Encoding, size: int, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        with_position(packed(nx.path_graph(3)), kind, size)


@pytest.mark.data
@pytest.mark.parametrize("kind", ["random_walk", "laplacian"])
def test_proteins_agrees_with_the_reference(kind: Encoding, data_dir: Path) -> None:
    graphs = load_tu(data_dir / "tu" / "PROTEINS").graphs
    position = encoded(graphs, kind, 16)
    reference = dense_return_probabilities if kind == "random_walk" else dense_laplacian_magnitudes
    bounds = list(pairwise(graphs.node_ptr.tolist()))
    for g in [0, 1, 2, int(graphs.nodes_per_graph.argmax())]:
        start, stop = bounds[g]
        one = graphs[[g]]
        graph = nx.empty_graph(stop - start)
        graph.add_edges_from(one.edge_index.T.tolist())
        np.testing.assert_allclose(position[start:stop].numpy(), reference(graph, 16), atol=1e-5)
