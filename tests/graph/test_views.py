"""Views: what the context encoder sees, what the target encoder sees, and which rows are compared, by hand."""

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
    first, again, other = (make(indices, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert torch.equal(first.target.x, graphs[indices].x)
    assert first.context.hidden_nodes.tolist() == again.context.hidden_nodes.tolist()
    assert first.context.hidden_nodes.tolist() != other.context.hidden_nodes.tolist()
    assert torch.bincount(first.where["node"].query_group).tolist() == [2, 3]


def test_metis_masks_need_patches() -> None:
    graphs = star_of(6, 9)
    with pytest.raises(ConfigError, match=r"masking\.strategy = 'metis': expected graphs with patches"):
        GraphViews(graphs, Masking(strategy="metis"), ViewConfig())
    GraphViews(with_patches(graphs, 3), Masking(strategy="metis"), ViewConfig())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"context": "mask"}, r"views\.context = 'mask': expected one of drop, token"),
        ({"target": "hole"}, r"views\.target = 'hole': .*did you mean 'whole'"),
    ],
)
def test_bad_options_name_themselves(options: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ViewConfig(**options)
