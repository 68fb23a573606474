"""Batches of the nodes of one graph: what is drawn, what an encoder makes of it, and what the context can see."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from graph_samples import graph_sets, necklaces
from jepakit.core import Views
from jepakit.errors import ConfigError, DataError
from jepakit.graph import (
    EncoderConfig,
    GraphDataset,
    GraphEncoder,
    Graphs,
    Masking,
    PretrainConfig,
    SamplingConfig,
    ViewConfig,
    preset,
    pretrain,
)
from jepakit.graph.large.clusters import balanced, clusters_of, grown_parts
from jepakit.graph.large.embedding import embedded
from jepakit.graph.large.sampling import ClusterBatches, NeighbourBatches, SampledViews, batches_of, draw_entries
from jepakit.training import RunFolder

SEED = 0


def communities(nodes: int = 200, parts: int = 8, *, edge_features: bool = False) -> Graphs:
    """A single graph with more edges inside of its parts than between them, an isolated node and a self loop."""
    generator = torch.Generator().manual_seed(SEED)
    y = torch.arange(nodes) % parts
    chance = torch.where(y[:, None] == y, 0.3, 0.01)
    upper = (torch.rand(nodes, nodes, generator=generator) < chance).triu(1)
    upper[0] = False
    upper[:, 0] = False
    present = upper | upper.T
    present[1, 1] = True
    edges = present.nonzero().T
    return Graphs.pack(
        torch.randn(nodes, 5, generator=generator) + y[:, None],
        edges,
        torch.tensor([nodes]),
        edge_attr=torch.randn(edges.shape[1], 2, generator=generator) if edge_features else None,
        node_y=y,
    )


def pairs(graphs: Graphs, nodes: torch.Tensor) -> set[tuple[int, int]]:
    return {(int(nodes[s]), int(nodes[t])) for s, t in graphs.edge_index.T}


def numbered(graphs: Graphs) -> Graphs:
    """The nodes say who they are, in their first column."""
    return replace(graphs, x=torch.arange(graphs.num_nodes)[:, None].float())


@pytest.mark.parametrize(
    "options",
    [
        {"conv": "gcn", "layers": 2, "jumping": "last", "residual": True},
        {"conv": "gin", "layers": 2, "jumping": "concat"},
        {"conv": "gat", "layers": 2, "jumping": "last", "norm": "layer"},
        {"conv": "gcn", "layers": 0, "spread": 2, "jumping": "last"},
        {"conv": "gcn", "layers": 1, "spread": 1, "jumping": "concat"},
    ],
    ids=str,
)
@pytest.mark.parametrize("edge_features", [False, True])
def test_with_all_neighbours_the_roots_are_embedded_as_in_the_whole_graph(
    options: dict[str, object], edge_features: bool
) -> None:
    graphs = communities(edge_features=edge_features)
    config = EncoderConfig(hidden=8, prototypes=0, **options)  # pyright: ignore[reportArgumentType]
    encoder = GraphEncoder.for_data(graphs, config)
    encoder.calibrate(graphs)
    encoder.eval()
    most = int(graphs.in_degree.max())
    batches = NeighbourBatches(graphs, SamplingConfig("neighbours", fanouts=[most, most]))
    part = batches.draw(graphs, torch.arange(0, batches.size, 17), torch.Generator().manual_seed(SEED))
    whole = encoder.embed(graphs, key="node")
    with torch.no_grad():
        found = encoder(part)["node"]
    assert part.num_nodes < graphs.num_nodes or part.roots is not None
    torch.testing.assert_close(found, whole[batches.nodes[::17]], rtol=1e-4, atol=1e-5)
    with embedded(encoder, graphs) as mapped:
        torch.testing.assert_close(mapped, whole, rtol=1e-4, atol=1e-5)


@given(graph_sets(least_nodes=2), st.lists(st.integers(1, 3), min_size=1, max_size=3), st.integers(0, 99))
def test_a_batch_has_edges_of_the_graph_and_no_others(sets: Graphs, fanouts: list[int], seed: int) -> None:
    graphs = numbered(replace(sets, node_ptr=sets.node_ptr[[0, -1]], edge_ptr=sets.edge_ptr[[0, -1]]))
    if not bool((graphs.edge_index[0] != graphs.edge_index[1]).any()):
        with pytest.raises(DataError, match="no edge joins two nodes"):
            NeighbourBatches(graphs, SamplingConfig("neighbours"))
        return
    batches = NeighbourBatches(graphs, SamplingConfig("neighbours", fanouts=fanouts))
    generator = torch.Generator().manual_seed(seed)
    indices = torch.randperm(batches.size, generator=generator)[: 1 + seed % 3]
    part = batches.draw(graphs, indices, generator)
    ids, whole = part.x[:, 0].long(), graphs.in_degree
    assert ids[part.roots].tolist() == sorted(batches.nodes[indices].tolist())
    assert part.degree is not None
    assert torch.equal(part.degree, whole[ids])
    there = list(zip(*graphs.edge_index.tolist(), strict=True))
    for edge in (drawn := [(int(ids[s]), int(ids[t])) for s, t in part.edge_index.T]):
        assert drawn.count(edge) <= there.count(edge)
    # A node that was looked around has as many neighbours as it has or as were asked for.
    expected = whole[ids].clamp(max=max(fanouts))
    assert bool((part.in_degree <= expected).all())
    assert torch.equal(part.in_degree[part.roots], whole[ids[part.roots]].clamp(max=fanouts[0]))
    # Sorted by target, then source.
    assert drawn == sorted(drawn, key=lambda pair: (pair[1], pair[0]))


def test_neighbours_are_drawn_uniformly_and_each_once() -> None:
    draws, degree, most = 4000, 6, 3
    start, lengths = 10 * torch.arange(draws), torch.full((draws,), degree)
    lengths[0] = 2
    found = draw_entries(start, lengths, most, torch.Generator().manual_seed(SEED))
    assert found[:2].tolist() == [0, 1]
    sets = (found[2:].reshape(-1, most) - start[1:, None]).sort(dim=1).values
    assert bool((sets.diff(dim=1) > 0).all())
    # All 20 sets of three are equally likely: chi square of 19 degrees is below 43.8 with p = .999.
    counts = torch.unique(sets, dim=0, return_counts=True)[1].double()
    expected = (draws - 1) / 20
    assert len(counts) == 20
    assert float(((counts - expected) ** 2 / expected).sum()) < 43.8


def test_sums_over_drawn_neighbours_are_right_in_the_mean() -> None:
    graphs = communities()
    batches = NeighbourBatches(graphs, SamplingConfig("neighbours", fanouts=[4]))
    config = EncoderConfig(conv="gcn", hidden=8, layers=1, norm="none", jumping="last", prototypes=0)
    encoder = GraphEncoder.for_data(graphs, config).eval()
    generator, indices = torch.Generator().manual_seed(SEED), torch.arange(batches.size)
    with torch.no_grad():
        found = torch.stack([encoder(batches.draw(graphs, indices, generator))["node"] for _ in range(200)])
    whole = encoder.embed(graphs, key="node")[batches.nodes]
    error = (found.mean(0) - whole) / (found.std(0) / 200**0.5).clamp(min=1e-6)
    assert float((found.std(0) > 0).float().mean()) > 0.9
    assert float(error[found.std(0) > 1e-6].square().mean()) == pytest.approx(1, abs=0.2)


@pytest.mark.parametrize("method", ["neighbours", "clusters"])
@pytest.mark.parametrize(("context", "target"), [("token", "whole"), ("drop", "whole"), ("drop", "region")])
def test_the_context_cannot_see_what_it_predicts(method: str, context: str, target: str) -> None:
    graphs = communities()
    options = SamplingConfig(method, batch_nodes=32, fanouts=[4, 4], cluster_nodes=16)  # pyright: ignore[reportArgumentType]
    batches = batches_of(graphs, options, seed=SEED)
    assert batches is not None
    views = SampledViews(graphs, batches, Masking("khop", ratio=0.4), ViewConfig(context, target))  # pyright: ignore[reportArgumentType]
    encoder = GraphEncoder.for_data(graphs, EncoderConfig(conv="gcn", hidden=8, layers=2, prototypes=0)).eval()
    part = batches.draw(graphs, torch.arange(2), torch.Generator().manual_seed(SEED))
    masked = Masking("khop", ratio=0.4)(part, torch.Generator().manual_seed(1))
    corrupted = replace(part, x=torch.where(masked[:, None], 1e3, part.x))
    before, after = views.of(part, masked), views.of(corrupted, masked)
    with torch.no_grad():
        assert torch.equal(encoder(before.context)["node"], encoder(after.context)["node"])
        targets = encoder(before.target)["node"]
    where = before.where["node"]  # pyright: ignore
    wanted = masked if part.roots is None else masked & part.roots
    rows = targets if where.target_rows is None else targets[where.target_rows]
    assert len(rows) == int(wanted.sum()) > 0
    if context == "token":
        # The rows of context and target are those of the same nodes, and of roots alone.
        assert torch.equal(where.context_rows, where.target_rows)
        roots = torch.ones_like(masked) if part.roots is None else part.roots
        assert torch.equal(masked[roots].nonzero().squeeze(1), where.context_rows)


def test_a_mask_without_a_root_is_given_one() -> None:
    graphs = communities()
    batches = NeighbourBatches(graphs, SamplingConfig("neighbours", fanouts=[9, 9]))
    views = SampledViews(graphs, batches, Masking("random", ratio=0.02), ViewConfig())
    for seed in range(20):
        where = views(torch.tensor([3]), torch.Generator().manual_seed(seed)).where
        assert where["node"].context_rows.tolist() == [0]  # pyright: ignore


@pytest.mark.parametrize("grown", [False, True])
def test_clusters_share_out_the_nodes_and_keep_the_edges_between_them(
    grown: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if grown:
        monkeypatch.setattr("jepakit.graph.large.clusters.METIS_EDGES", 0)
    graphs = numbered(communities())
    clusters = clusters_of(graphs, 25)
    sizes = clusters.ptr.diff()
    assert sorted(clusters.nodes.tolist()) == list(range(200))
    assert int(sizes.min()) >= 2
    assert int(sizes.max()) <= 50
    batches = ClusterBatches(clusters, SamplingConfig("clusters", batch_nodes=50, cluster_nodes=25))
    assert batches.batch_size == 2
    part = batches.draw(graphs, torch.tensor([1, 0]), torch.Generator())
    ids = part.x[:, 0].long()
    assert ids.tolist() == sorted(clusters.nodes[: int(clusters.ptr[2])].tolist())
    inside = set(ids.tolist())
    everything = pairs(graphs, torch.arange(200))
    assert pairs(part, ids) == {(s, t) for s, t in everything if s in inside and t in inside}
    # Parts follow the communities: at random one edge in eight would stay inside.
    label = torch.empty(200, dtype=torch.long)
    label[clusters.nodes] = torch.repeat_interleave(sizes)
    assert float((label[graphs.edge_index[0]] == label[graphs.edge_index[1]]).float().mean()) > 0.6


def test_parts_are_cut_and_joined_to_about_the_same_size() -> None:
    part = torch.cat([torch.full((n,), label) for label, n in enumerate((100, 1, 3, 10, 2, 0, 1))])
    nodes, ptr = balanced(part, 10)
    assert ptr.diff().tolist() == [15, 15, 14, 14, 14, 14, 14, 10, 7]
    assert part[nodes[ptr[-2] :]].tolist() == [1, 2, 2, 2, 4, 4, 6]
    graphs = communities()
    assert grown_parts(graphs, graphs.incoming_ptr, 10, torch.Generator().manual_seed(0)).bincount().max() <= 10


def weights(config: PretrainConfig, dataset: GraphDataset, **options: Any) -> dict[str, torch.Tensor]:
    return pretrain(dataset, config, **options).encoder.state_dict()


@pytest.mark.parametrize("method", ["neighbours", "clusters"])
def test_a_run_that_goes_on_has_the_same_numbers(method: str, tmp_path: Path) -> None:
    graphs = communities()
    dataset = GraphDataset("communities", graphs, "node classification", tuple("abcdefgh"))
    sampling = SamplingConfig(method, batch_nodes=64, fanouts=[4, 2], cluster_nodes=16)  # pyright: ignore[reportArgumentType]
    base = preset("nodes", epochs=4, progress=False, accelerator="cpu")
    config = replace(base, sampling=sampling, stop_loss=None, encoder=replace(base.encoder, hidden=8, spread=2))
    run = RunFolder(tmp_path / "run")
    expected = weights(config, dataset)
    calls: list[torch.Tensor] = []

    make = SampledViews.__call__

    def interrupted(views: SampledViews, indices: torch.Tensor, generator: torch.Generator) -> Views:
        calls.append(indices)
        if len(calls) > 10:
            raise KeyboardInterrupt
        return make(views, indices, generator)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SampledViews, "__call__", interrupted)
        with pytest.raises(KeyboardInterrupt):
            weights(config, dataset, run=run)
    assert len(run.read_metrics()) == 2
    found = weights(config, dataset, run=run, resume=True)
    assert all(torch.equal(found[name], value) for name, value in expected.items())


def test_what_a_part_of_a_graph_does_not_do_for_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"sampling.method = 'neighbours': expected full, since there are 8 graphs"):
        pretrain(necklaces(8), PretrainConfig(sampling=SamplingConfig("neighbours")))
    single = GraphDataset("one", communities())
    with pytest.raises(ConfigError, match="gps attends to all its nodes"):
        pretrain(
            single, PretrainConfig(sampling=SamplingConfig("clusters"), encoder=EncoderConfig(conv="gps", hidden=8))
        )
    with pytest.raises(ConfigError, match="devices = 2: expected 1 where batches are parts of a graph"):
        pretrain(single, PretrainConfig(sampling=SamplingConfig("clusters"), devices=2))
    with pytest.raises(ConfigError, match="fanouts"):
        SamplingConfig(fanouts=[3, 0])
