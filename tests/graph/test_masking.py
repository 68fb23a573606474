"""Masks: the quota, the shape each strategy promises, no bias towards any node, odd graphs, and the time they take."""

import time
from itertools import pairwise
from typing import Any, get_args

import networkx as nx
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from jepakit.errors import ConfigError
from jepakit.graph.data import Graphs
from jepakit.graph.masking import Masking, Strategy, with_patches

STRATEGIES: tuple[Strategy, ...] = get_args(Strategy)
EDGEWISE = [strategy for strategy in STRATEGIES if strategy != "metis"]
"""Those that need no patches."""


def packed(*parts: nx.Graph) -> Graphs:
    """The graphs with their nodes in the order networkx holds them."""
    union = nx.disjoint_union_all(parts) if parts else nx.Graph()
    edges = torch.tensor(list(union.edges), dtype=torch.long).reshape(-1, 2).T
    sizes = torch.tensor([part.number_of_nodes() for part in parts], dtype=torch.long)
    return Graphs.pack(torch.zeros(len(union), 1), torch.cat([edges, edges.flip(0)], dim=1), sizes)


def copies(graph: nx.Graph, count: int) -> Graphs:
    return packed(graph)[torch.zeros(count, dtype=torch.long)]


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def masked_per_graph(graphs: Graphs, mask: Tensor) -> Tensor:
    return torch.zeros(len(graphs), dtype=torch.long).index_add(0, graphs.graph_of_node, mask.long())


def masked_sets(graphs: Graphs, mask: Tensor) -> list[set[int]]:
    """The masked nodes of each graph, counted from its first node."""
    return [set(mask[start:stop].nonzero().flatten().tolist()) for start, stop in pairwise(graphs.node_ptr.tolist())]


def is_ball(graph: nx.Graph, masked: set[int]) -> bool:
    """Whether some node is at least as close to every masked node as to any other."""
    distance = dict(nx.all_pairs_shortest_path_length(graph))
    rest = set(graph) - masked
    return any(max(distance[c][v] for v in masked) <= min(distance[c][v] for v in rest) for c in masked)


def runs_of_cycle(length: int, masked: set[int]) -> list[int]:
    """Sizes of the connected pieces of ``masked`` on a cycle."""
    pieces = nx.connected_components(nx.cycle_graph(length).subgraph(masked))
    return sorted(len(piece) for piece in pieces)


def has_hamiltonian_path(graph: nx.Graph) -> bool:
    def extends(path: list[int]) -> bool:
        return len(path) == len(graph) or any(extends([*path, v]) for v in graph[path[-1]] if v not in path)

    return any(extends([v]) for v in graph)


random_graphs = st.builds(
    nx.fast_gnp_random_graph,
    st.integers(min_value=0, max_value=25),
    st.sampled_from([0.0, 0.05, 0.15, 0.5, 1.0]),
    st.integers(min_value=0, max_value=10**6),
)
connected_graphs = st.builds(
    lambda n, extra, seed: nx.compose(nx.random_labeled_tree(n, seed=seed), nx.gnm_random_graph(n, extra, seed=seed)),
    st.integers(min_value=2, max_value=25),
    st.integers(min_value=0, max_value=20),
    st.integers(min_value=0, max_value=10**6),
)
seeds = st.integers(min_value=0, max_value=10**6)
ratios = st.floats(min_value=0.01, max_value=0.99)


@settings(max_examples=150)
@given(
    st.lists(random_graphs, max_size=6),
    st.builds(
        Masking,
        strategy=st.sampled_from(STRATEGIES),
        ratio=ratios,
        hops=st.one_of(st.none(), st.integers(min_value=1, max_value=40)),
        blocks=st.integers(min_value=1, max_value=6),
        length=st.integers(min_value=2, max_value=12),
    ),
    seeds,
)
def test_quota_is_exact_in_every_graph_and_the_seed_decides(parts: list[nx.Graph], masking: Masking, seed: int) -> None:
    graphs = with_patches(packed(*parts), patch_size=4)
    mask = masking(graphs, seeded(seed))
    assert mask.dtype == torch.bool
    for n, masked in zip(graphs.nodes_per_graph.tolist(), masked_per_graph(graphs, mask).tolist(), strict=True):
        if n < 2:
            assert masked == 0
        else:
            assert 1 <= masked <= n - 1
            assert abs(masked - masking.ratio * n) <= 0.5 or masked in (1, n - 1)
    assert torch.equal(mask, masking(graphs, seeded(seed)))


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_another_seed_gives_another_mask(strategy: Strategy) -> None:
    graphs = with_patches(copies(nx.cycle_graph(40), 10), patch_size=8)
    masking = Masking(strategy=strategy)
    assert not torch.equal(masking(graphs, seeded(0)), masking(graphs, seeded(1)))


@pytest.mark.parametrize(
    "options",
    [
        {"strategy": "random"},
        {"strategy": "khop"},
        {"strategy": "khop", "hops": 1},
        {"strategy": "blocks", "blocks": 2},
        {"strategy": "blocks", "blocks": 4},
        {"strategy": "walk", "length": 4},
        {"strategy": "path", "length": 3},
        {"strategy": "path"},
        {"strategy": "metis"},
    ],
)
def test_no_node_is_favoured_where_all_are_alike(options: dict[str, Any]) -> None:
    # On a cycle symmetry asks for equal frequencies; ties settled by node or region number would show here.
    trials, n, ratio = 6000, 12, 0.5
    graphs = with_patches(copies(nx.cycle_graph(n), trials), patch_size=1 if options["strategy"] == "metis" else n)
    frequency = Masking(ratio=ratio, **options)(graphs, seeded(0)).view(trials, n).double().mean(0)
    deviation = (frequency - ratio) / (ratio * (1 - ratio) / trials) ** 0.5
    assert deviation.abs().max() < 4.5


@pytest.mark.parametrize("strategy", EDGEWISE)
def test_ties_in_the_last_ring_are_settled_at_random(strategy: Strategy) -> None:
    # The leaves of a star are all in one ring around its hub, and listed in order.
    trials, leaves = 6000, 12
    graphs = copies(nx.star_graph(leaves), trials)
    frequency = Masking(strategy)(graphs, seeded(0)).view(trials, -1)[:, 1:].double().mean(0)
    mean = frequency.mean()
    assert ((frequency - mean) / (mean * (1 - mean) / trials) ** 0.5).abs().max() < 4.5


def test_random_draws_every_subset_equally_often() -> None:
    trials = 20000
    graphs = copies(nx.path_graph(5), trials)
    drawn = Masking("random", ratio=0.4)(graphs, seeded(0)).view(trials, 5).long()
    counts = torch.bincount(drawn @ (2 ** torch.arange(5)))
    counts = counts[counts > 0].double()
    assert len(counts) == 10
    chi_square = ((counts - trials / 10) ** 2 / (trials / 10)).sum()
    assert chi_square < 27.9  # the 0.1 % quantile at 9 degrees of freedom


@settings(max_examples=60)
@given(st.lists(connected_graphs, min_size=1, max_size=4), ratios, seeds)
def test_khop_is_a_connected_ball(parts: list[nx.Graph], ratio: float, seed: int) -> None:
    graphs = packed(*parts)
    for graph, masked in zip(parts, masked_sets(graphs, Masking("khop", ratio)(graphs, seeded(seed))), strict=True):
        assert nx.is_connected(graph.subgraph(masked))
        assert is_ball(graph, masked)


@settings(max_examples=60)
@given(st.lists(connected_graphs, min_size=1, max_size=4), ratios, st.integers(min_value=2, max_value=9), seeds)
def test_walk_is_connected(parts: list[nx.Graph], ratio: float, length: int, seed: int) -> None:
    graphs = packed(*parts)
    mask = Masking("walk", ratio, length=length)(graphs, seeded(seed))
    for graph, masked in zip(parts, masked_sets(graphs, mask), strict=True):
        assert nx.is_connected(graph.subgraph(masked))


def test_walk_is_no_ball() -> None:
    torus = nx.convert_node_labels_to_integers(nx.grid_2d_graph(15, 15, periodic=True))
    graphs = copies(torus, 40)
    walks = masked_sets(graphs, Masking("walk", ratio=0.06)(graphs, seeded(0)))
    assert sum(is_ball(torus, masked) for masked in walks) < 5


def test_hops_beyond_the_diameter_change_nothing() -> None:
    parts = [nx.path_graph(30), nx.cycle_graph(17), nx.star_graph(12)]
    graphs = packed(*parts)
    unlimited, wide = Masking("khop", 0.8), Masking("khop", 0.8, hops=100)
    assert torch.equal(unlimited(graphs, seeded(3)), wide(graphs, seeded(3)))


def test_hops_bound_the_radius_of_a_ball() -> None:
    graphs = copies(nx.cycle_graph(300), 100)
    narrow = [runs_of_cycle(300, m) for m in masked_sets(graphs, Masking("khop", 0.02, hops=1)(graphs, seeded(0)))]
    wide = [runs_of_cycle(300, m) for m in masked_sets(graphs, Masking("khop", 0.02)(graphs, seeded(0)))]
    assert all(runs == [6] for runs in wide)
    assert sum(runs == [3, 3] for runs in narrow) > 90


def test_blocks_are_as_many_balls_of_equal_size() -> None:
    graphs = copies(nx.cycle_graph(300), 200)
    found = [runs_of_cycle(300, m) for m in masked_sets(graphs, Masking("blocks", 0.04)(graphs, seeded(0)))]
    assert all(len(runs) <= 4 for runs in found)
    assert all(runs == [3, 3, 3, 3] for runs in found if len(runs) == 4)
    assert sum(len(runs) == 4 for runs in found) > 150


def test_blocks_share_an_uneven_quota() -> None:
    graphs = copies(nx.cycle_graph(300), 100)
    found = [
        runs_of_cycle(300, m) for m in masked_sets(graphs, Masking("blocks", 7 / 300, blocks=3)(graphs, seeded(0)))
    ]
    assert {tuple(runs) for runs in found if len(runs) == 3} == {(2, 2, 3)}


def test_path_is_a_path() -> None:
    torus = nx.convert_node_labels_to_integers(nx.grid_2d_graph(30, 30, periodic=True))
    graphs = copies(torus, 60)
    paths = masked_sets(graphs, Masking("path", 0.01, length=9)(graphs, seeded(0)))
    balls = masked_sets(graphs, Masking("khop", 0.01)(graphs, seeded(0)))
    assert all(has_hamiltonian_path(torus.subgraph(masked)) for masked in paths)
    assert sum(has_hamiltonian_path(torus.subgraph(masked)) for masked in balls) < 30


def test_path_ends_at_its_length_and_another_begins() -> None:
    graphs = copies(nx.cycle_graph(300), 200)
    found = [runs_of_cycle(300, m) for m in masked_sets(graphs, Masking("path", 0.02, length=2)(graphs, seeded(0)))]
    assert all(len(runs) <= 3 for runs in found)
    assert all(runs == [2, 2, 2] for runs in found if len(runs) == 3)
    assert sum(len(runs) == 3 for runs in found) > 150


def test_stuck_path_is_followed_by_others() -> None:
    # No path in a star has more than three nodes, two of them leaves.
    star = nx.star_graph(50)
    graphs = copies(star, 100)
    found = masked_sets(graphs, Masking("path", 0.4, length=30)(graphs, seeded(0)))
    assert all(len(masked) == 20 for masked in found)
    assert all(0 in masked for masked in found)


def test_disconnected_graph_is_masked_component_by_component() -> None:
    parts = nx.disjoint_union_all([nx.complete_graph(10), nx.complete_graph(10)])
    graphs = copies(parts, 100)
    for masked in masked_sets(graphs, Masking("khop", 0.75)(graphs, seeded(0))):
        assert sorted([len(masked & set(range(10))), len(masked & set(range(10, 20)))]) == [5, 10]


def test_metis_masks_whole_patches_but_one() -> None:
    torus = nx.convert_node_labels_to_integers(nx.grid_2d_graph(12, 12, periodic=True))
    graphs = with_patches(packed(*[torus] * 5, nx.path_graph(30)), patch_size=9)
    assert graphs.patch is not None
    mask = Masking("metis", 0.3)(graphs, seeded(0))
    for start, stop in pairwise(graphs.node_ptr.tolist()):
        patch, masked = graphs.patch[start:stop], mask[start:stop]
        partly = [p for p in patch.unique() if 0 < masked[patch == p].sum() < (patch == p).sum()]
        wholly = [p for p in patch.unique() if masked[patch == p].all()]
        assert len(partly) <= 1
        assert wholly


def test_patches_are_of_the_size_asked_for_and_cut_few_edges() -> None:
    torus = nx.convert_node_labels_to_integers(nx.grid_2d_graph(20, 20, periodic=True))
    graphs = with_patches(packed(nx.path_graph(5), torus), patch_size=10)
    assert graphs.patch is not None
    assert graphs.patch[:5].eq(0).all()
    sizes = torch.bincount(graphs.patch[5:])
    assert len(sizes) == 40
    assert sizes.max() <= 15
    assert sizes.min() >= 5
    source, target = graphs.edge_index
    within = graphs.patch[source] == graphs.patch[target]
    assert within.double().mean() > 0.5  # by chance: 1 in 40
    assert torch.equal(graphs.patch, with_patches(graphs, 10).patch)


def test_patches_ignore_edge_directions_and_loops() -> None:
    one_way = Graphs.pack(torch.zeros(4, 1), torch.tensor([[0, 2, 1, 3], [1, 3, 1, 3]]), torch.tensor([4]))
    patch = with_patches(one_way, 2).patch
    assert patch is not None
    assert patch[0] == patch[1] != patch[2]
    assert patch[2] == patch[3]


def test_patches_survive_batching() -> None:
    graphs = with_patches(packed(nx.cycle_graph(20), nx.path_graph(12)), patch_size=4)
    batch = graphs[[1, 0, 1]]
    mask = Masking("metis", 1 / 3)(batch, seeded(0))
    assert batch.patch is not None
    assert masked_per_graph(batch, mask).tolist() == [4, 7, 4]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_odd_graphs(strategy: Strategy) -> None:
    no_edges, lonely, empty = nx.empty_graph(10), nx.empty_graph(1), nx.empty_graph(0)
    isolated = nx.disjoint_union(nx.star_graph(4), nx.empty_graph(5))
    graphs = with_patches(packed(no_edges, lonely, empty, isolated, nx.path_graph(2)), patch_size=3)
    masking = Masking(strategy, ratio=0.7)
    assert masked_per_graph(graphs, masking(graphs, seeded(0))).tolist() == [7, 0, 0, 7, 1]
    for nothing in (with_patches(packed(), 3), with_patches(packed(empty), 3), with_patches(packed(lonely), 3)):
        assert not masking(nothing, seeded(0)).any()


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_one_way_edges_and_loops(strategy: Strategy) -> None:
    edges = torch.tensor([[0, 1, 2, 2], [1, 2, 2, 3]])
    graphs = with_patches(Graphs.pack(torch.zeros(5, 1), edges, torch.tensor([5])), patch_size=2)
    for seed in range(20):
        assert Masking(strategy, ratio=0.6)(graphs, seeded(seed)).sum() == 3


def test_metis_without_patches_says_what_to_call() -> None:
    with pytest.raises(ConfigError, match="with_patches"):
        Masking("metis")(packed(nx.path_graph(4)), seeded(0))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ratio": 0.0}, r"^ratio = 0\.0"),
        ({"ratio": 1.0}, r"^ratio"),
        ({"ratio": -0.2}, r"^ratio"),
        ({"ratio": float("nan")}, r"^ratio = nan"),
        ({"strategy": "k-hop"}, r"^strategy = 'k-hop'.*did you mean 'khop'"),
        ({"hops": 0}, r"^hops = 0"),
        ({"blocks": 0}, r"^blocks"),
        ({"length": 1}, r"^length"),
    ],
)
def test_bad_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Masking(**options)


def test_bad_patch_size() -> None:
    with pytest.raises(ConfigError, match="patch_size = 0"):
        with_patches(packed(nx.path_graph(4)), 0)


def seconds_of_the_processor(masking: Masking, graphs: Graphs) -> float:
    generator, times = seeded(0), []
    for _ in range(5):
        begin = time.process_time()
        masking(graphs, generator)
        times.append(time.process_time() - begin)
    return min(times)


def random_graph(nodes: int, edges: int) -> Graphs:
    pairs = torch.from_numpy(np.random.default_rng(0).integers(nodes, size=(2, edges)))
    return Graphs.pack(torch.zeros(nodes, 1), torch.cat([pairs, pairs.flip(0)], 1), torch.tensor([nodes]))


@pytest.mark.parametrize("strategy", EDGEWISE)
@pytest.mark.parametrize("edges_per_node", [0, 5])
def test_time_grows_linearly_with_the_size_of_a_graph(strategy: Strategy, edges_per_node: int) -> None:
    """Isolated nodes are as many components: a round for each would be quadratic."""
    small, large = (random_graph(nodes, edges_per_node * nodes) for nodes in (4_000, 128_000))
    ratio = seconds_of_the_processor(Masking(strategy), large) / seconds_of_the_processor(Masking(strategy), small)
    # Linear: 32; quadratic: 1024.
    assert ratio < 200
