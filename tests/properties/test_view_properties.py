"""Whatever is masked in whatever graphs: the rows that are compared belong together, and nothing masked is seen."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from graph_samples import EDGE_FEATURES, FEATURES, graph_sets
from jepakit.core import Where
from jepakit.graph import GraphEncoder, Graphs, GraphViews, Masking, ViewConfig

BOTH = pytest.mark.parametrize(
    ("context", "target"), [(context, target) for context in ("token", "drop") for target in ("whole", "region")]
)


def masks(graphs: Graphs, seed: int) -> Tensor:
    return torch.rand(graphs.num_nodes, generator=torch.Generator().manual_seed(seed)) < 0.4


def picked(rows: Tensor, index: Tensor | None) -> Tensor:
    return rows if index is None else rows[index]


@BOTH
@given(graphs=graph_sets(), seed=st.integers(0, 10**6))
@settings(max_examples=40)
def test_every_masked_node_is_asked_for_once_and_in_its_own_graph(
    context: str, target: str, graphs: Graphs, seed: int
) -> None:
    masked = masks(graphs, seed)
    graphs = replace(graphs, position=torch.arange(graphs.num_nodes).float()[:, None])
    views = GraphViews(graphs, Masking(), ViewConfig(context=context, target=target)).of(graphs, masked)
    node: Where = views.where["node"]
    owner = graphs.graph_of_node
    assert torch.equal(picked(views.target.x, node.target_rows), graphs.x[masked])
    assert torch.equal(picked(views.target.graph_of_node, node.target_rows), owner[masked])
    assert torch.equal(node.query_group, owner[masked])
    assert torch.equal(node.position.flatten(), masked.nonzero().flatten().float())
    assert torch.equal(node.context_group, views.context.graph_of_node)
    assert len(views.context) == len(views.target) == len(graphs)
    if context == "token":
        assert torch.equal(views.context.x[node.context_rows], graphs.x[masked])
    asked: Where = views.where["graph"]
    expected = [g for g in range(len(graphs)) if masked[owner == g].any()]
    assert asked.context_rows.tolist() == asked.target_rows.tolist() == expected


@BOTH
@given(graphs=graph_sets(edge_features=True), seed=st.integers(0, 10**6))
@settings(max_examples=20)
def test_the_context_cannot_see_what_is_masked(context: str, target: str, graphs: Graphs, seed: int) -> None:
    """Neither the masked nodes' features nor, where the nodes are dropped, their edges and the edges' features."""
    torch.manual_seed(0)
    encoder = GraphEncoder(FEATURES, EDGE_FEATURES, conv="gps", hidden=8, layers=2, heads=2, norm="layer").eval()
    masked = masks(graphs, seed)
    maker = GraphViews(graphs, Masking(), ViewConfig(context=context, target=target))
    corrupted = replace(graphs, x=graphs.x + 1e3 * masked[:, None])
    if context == "drop":
        touched = masked[graphs.edge_index].any(0)
        corrupted = replace(corrupted, edge_attr=graphs.edge_attr + 1e3 * touched[:, None])
    before, after = (encoder(maker.of(g, masked).context) for g in (graphs, corrupted))
    assert torch.equal(before["node"], after["node"])
    assert torch.equal(before["graph"], after["graph"])
    if masked.any():
        targets = [encoder(maker.of(g, masked).target)["node"] for g in (graphs, corrupted)]
        assert not torch.allclose(*targets)
