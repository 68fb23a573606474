"""Views: what the context encoder sees, what the target encoder sees, and which rows are compared, by hand."""

from dataclasses import replace

import pytest
import torch

from graph_samples import star_of
from jepakit.core import Views, Where
from jepakit.errors import ConfigError
from jepakit.graph import Graphs, GraphViews, Masking, ViewConfig, with_patches, with_position
from jepakit.graph.data import concatenate


@pytest.fixture
def batch() -> Graphs:
    """A path 0-1-2-3, a single node 4, a pair 5-6; the feature of node i is i, its encoding log(1 + degree)."""
    edges = torch.tensor([[0, 1], [1, 0], [1, 2], [2, 1], [2, 3], [3, 2], [5, 6], [6, 5]]).T
    graphs = Graphs.pack(
        torch.arange(7.0)[:, None],
        edges,
        torch.tensor([4, 1, 2]),
        edge_attr=(10 * edges[0] + edges[1]).float()[:, None],
    )
    return with_position(graphs, "degree", 1)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pairs_of(graphs: Graphs) -> list[list[int]]:
    return graphs.edge_index.T.tolist()


MASKED = torch.tensor([False, True, True, False, False, False, True])


def views_of(batch: Graphs, context: str, target: str) -> tuple[Views, Where, Where]:
    views = GraphViews(batch, Masking(), ViewConfig(context=context, target=target)).of(batch, MASKED)
    return views, views.where["node"], views.where["graph"]


def test_token_context_keeps_the_graph_and_hides_features(batch: Graphs) -> None:
    views, node, graph = views_of(batch, "token", "whole")
    assert views.context.hidden_nodes.tolist() == MASKED.tolist()
    assert torch.equal(views.context.edge_index, batch.edge_index)
    assert torch.equal(views.target.x, batch.x)
    assert views.target.hidden_nodes is None
    assert node.context_rows.tolist() == node.target_rows.tolist() == [1, 2, 6]
    assert node.context_group.tolist() == [0, 0, 0, 0, 1, 2, 2]
    assert node.query_group.tolist() == [0, 0, 2]
    assert torch.equal(node.position, batch.position[[1, 2, 6]])
    assert graph.context_rows.tolist() == graph.target_rows.tolist() == [0, 2]


def test_drop_context_lacks_the_nodes_and_their_edges(batch: Graphs) -> None:
    views, node, graph = views_of(batch, "drop", "whole")
    assert views.context.x.flatten().tolist() == [0, 3, 4, 5]
    assert views.context.num_edges == 0
    assert views.context.hidden_nodes is None
    assert views.context.nodes_per_graph.tolist() == [2, 1, 1]
    assert node.context_rows is None
    assert node.target_rows.tolist() == [1, 2, 6]
    assert node.context_group.tolist() == [0, 0, 1, 2]
    assert torch.equal(node.position, batch.position[[1, 2, 6]])
    assert graph.context_rows.tolist() == [0, 2]


@pytest.mark.parametrize("context", ["token", "drop"])
def test_region_target_is_the_masked_nodes_alone(batch: Graphs, context: str) -> None:
    views, node, _ = views_of(batch, context, "region")
    assert views.target.x.flatten().tolist() == [1, 2, 6]
    assert views.target.edge_attr.flatten().tolist() == [21, 12]
    assert views.target.nodes_per_graph.tolist() == [2, 0, 1]
    assert node.target_rows is None
    assert node.query_group.tolist() == [0, 0, 2]


def test_positions_are_those_of_the_whole_graph(batch: Graphs) -> None:
    """A node left alone by its masked neighbours is still where it was."""
    views, _, _ = views_of(batch, "drop", "region")
    assert views.context.position.flatten().tolist() == pytest.approx(torch.tensor([1, 1, 0, 1]).log1p().tolist())
    assert views.target.position.flatten().tolist() == pytest.approx(torch.tensor([2, 2, 1]).log1p().tolist())


def test_without_encodings_there_are_no_positions() -> None:
    graphs = star_of(3, 4)
    views = GraphViews(graphs, Masking(), ViewConfig()).of(graphs, torch.arange(7) == 1)
    assert views.where["node"].position is None


def test_a_batch_is_those_graphs_masked_by_the_generator(batch: Graphs) -> None:
    graphs = concatenate([star_of(6, 9), star_of(4)])
    make = GraphViews(graphs, Masking(strategy="random", ratio=0.5), ViewConfig(context="token", target="whole"))
    indices = torch.tensor([2, 0])
    first, again, other = (make(indices, seeded(seed)) for seed in (1, 1, 2))
    assert torch.equal(first.target.x, graphs[indices].x)
    assert first.context.hidden_nodes.tolist() == again.context.hidden_nodes.tolist()
    assert first.context.hidden_nodes.tolist() != other.context.hidden_nodes.tolist()
    assert torch.bincount(first.where["node"].query_group).tolist() == [2, 3]


def test_metis_masks_need_patches() -> None:
    graphs = star_of(6, 9)
    with pytest.raises(ConfigError, match=r"masking\.strategy = 'metis': expected graphs with patches"):
        GraphViews(graphs, Masking(strategy="metis"), ViewConfig())
    GraphViews(with_patches(graphs, 3), Masking(strategy="metis"), ViewConfig())


@pytest.mark.parametrize("context", ["token", "all"])
def test_a_second_context_is_made_like_the_first_and_apart_from_it(context: str) -> None:
    graphs = star_of(30, 20)
    options = ViewConfig(context=context, target="view", drop_edges=0.5)
    views = GraphViews(graphs, Masking(strategy="random", ratio=0.5), options)(torch.arange(2), seeded(0))
    assert views.where is None
    for view in (views.context, views.target):
        assert torch.equal(view.x, graphs.x)
        assert 0 < view.num_edges < graphs.num_edges
        assert (view.hidden_nodes is not None) == (context == "token")
    assert pairs_of(views.context) != pairs_of(views.target)
    if context == "token":
        assert not torch.equal(views.context.hidden_nodes, views.target.hidden_nodes)


def test_an_unmasked_context_is_compared_with_the_whole_graph_node_by_node(batch: Graphs) -> None:
    options = ViewConfig(context="all", target="whole", drop_features=0.5)
    views = GraphViews(batch, Masking(), options)(torch.tensor([0, 2]), seeded(0))
    assert views.where is None
    assert views.context.hidden_nodes is None
    assert torch.equal(views.target.x, batch[[0, 2]].x)
    assert torch.equal(views.target.edge_index, batch[[0, 2]].edge_index)


def test_an_edge_is_left_out_in_both_directions_with_its_features() -> None:
    graphs = concatenate([star_of(400, 300)])
    ends = (1000.0 * graphs.edge_index[0] + graphs.edge_index[1])[:, None]
    graphs = replace(graphs, edge_attr=ends)
    for context, target in (("token", "whole"), ("all", "whole"), ("drop", "region")):
        options = ViewConfig(context=context, target=target, drop_edges=0.25)
        views = GraphViews(graphs, Masking(strategy="random", ratio=0.1), options)(torch.arange(2), seeded(1))
        thinned = views.context
        there = set(zip(*thinned.edge_index.tolist(), strict=True))
        assert there == {(v, u) for u, v in there}
        assert thinned.edges_per_graph.sum() == thinned.num_edges
        if context != "drop":
            assert 0.68 < thinned.num_edges / graphs.num_edges < 0.82
            source, target_node = thinned.edge_index
            assert torch.equal(thinned.edge_attr[:, 0], 1000.0 * source + target_node)
            assert views.target.num_edges == graphs.num_edges


def test_features_are_left_out_by_columns_and_in_the_context_only() -> None:
    graphs = star_of(5, 4, features=[1.0] * 40)
    options = ViewConfig(context="token", target="whole", drop_features=0.3)
    views = GraphViews(graphs, Masking(strategy="random", ratio=0.3), options)(torch.arange(2), seeded(2))
    zero = (views.context.x == 0).all(0)
    assert torch.equal(views.context.x[:, ~zero], graphs.x[:, ~zero])
    assert 5 < int(zero.sum()) < 20
    assert torch.equal(views.target.x, graphs.x)


def test_what_is_left_out_is_the_generators_choice() -> None:
    graphs = star_of(30, 20)
    make = GraphViews(graphs, Masking(), ViewConfig(context="all", target="view", drop_edges=0.5))
    first, again, other = (make(torch.arange(2), seeded(seed)) for seed in (0, 0, 1))
    assert pairs_of(first.context) == pairs_of(again.context) != pairs_of(other.context)
    assert pairs_of(first.target) == pairs_of(again.target)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"context": "mask"}, r"^context = 'mask': expected one of all, drop, token"),
        ({"target": "hole"}, r"^target = 'hole': .*did you mean 'whole'"),
        ({"drop_edges": 1.0}, r"^drop_edges = 1\.0: expected a number in \[0, 1\)"),
        ({"drop_features": -0.1}, r"^drop_features = -0\.1"),
        (
            {"context": "all", "target": "region", "drop_edges": 0.1},
            r"^target = 'region': expected whole or view",
        ),
        ({"context": "drop", "target": "view"}, r"^target = 'view': expected whole or region"),
        ({"context": "all", "target": "whole"}, r"^drop_edges = 0\.0: expected drop_edges or drop_features above 0"),
    ],
)
def test_bad_options_name_themselves(options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ViewConfig(**options)
