"""Layers against PyTorch Geometric, against torch's attention graph by graph, against their equations, and by hand."""

from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch_geometric.nn import GATv2Conv, GCNConv, GINConv, GINEConv

from graph_samples import five_graphs, star_of
from jepakit.graph import Graphs
from jepakit.graph.networks.layers import BatchNorm, GATLayer, GCNLayer, GINLayer, GPSLayer
from jepakit.graph.networks.messages import Messages

DIM = 8
Reference = Callable[[Tensor, Tensor], Tensor]


@pytest.fixture(params=["five graphs", "no edges", "no nodes in some"])
def graphs(request: pytest.FixtureRequest) -> Graphs:
    sets = {
        "five graphs": five_graphs(),
        "no edges": star_of(1, 1, 1),
        "no nodes in some": five_graphs().induced(torch.arange(14) != 6),
    }
    return sets[request.param]


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def assert_same(layer: nn.Module, graphs: Graphs, reference: Reference, *, edges: bool) -> None:
    """Equal embeddings, and equal gradients for node rows, edge rows and every parameter that both have."""
    x, e = torch.randn(graphs.num_nodes, DIM), torch.randn(graphs.num_edges, DIM)
    above = torch.randn(graphs.num_nodes, DIM)
    results = []
    for function in (lambda x, e: layer(x, Messages(graphs), e if edges else None), reference):
        leaves = [x.clone().requires_grad_(), e.clone().requires_grad_()]
        parameters = [p for p in layer.parameters() if p.requires_grad]
        out = function(*leaves)
        results.append([out, *torch.autograd.grad(out, [*leaves, *parameters], above, allow_unused=True)])
    for ours, theirs in zip(*results, strict=True):
        assert (ours is None) == (theirs is None)
        if ours is not None:
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_gin_is_gin_conv(graphs: Graphs) -> None:
    layer = GINLayer(DIM, nn.LayerNorm)
    nn.init.constant_(layer.eps, 0.3)
    theirs = GINConv(layer.mlp, train_eps=True)
    theirs.eps = layer.eps
    assert_same(layer, graphs, lambda x, _: theirs(x, graphs.edge_index), edges=False)


def test_gine_is_gine_conv(graphs: Graphs) -> None:
    layer = GINLayer(DIM, nn.LayerNorm)
    nn.init.constant_(layer.eps, -0.2)
    theirs = GINEConv(layer.mlp, train_eps=True)
    theirs.eps = layer.eps
    assert_same(layer, graphs, lambda x, e: theirs(x, graphs.edge_index, e), edges=True)


def test_gcn_is_gcn_conv(graphs: Graphs) -> None:
    layer = GCNLayer(DIM)
    theirs = GCNConv(DIM, DIM)
    theirs.lin.weight, theirs.bias = layer.linear.weight, layer.linear.bias
    assert_same(layer, graphs, lambda x, _: theirs(x, graphs.edge_index), edges=False)


def test_gcn_adds_edges_to_their_sources(graphs: Graphs) -> None:
    """Dense: every edge's feature counts as a part of the source's row, with the edge's weight."""
    layer = GCNLayer(DIM)
    source, target = graphs.edge_index

    def dense(x: Tensor, e: Tensor) -> Tensor:
        degree = 1 + torch.bincount(target, minlength=len(x)).to(x)
        weight = (degree[source] * degree[target]).rsqrt()[:, None]
        received = torch.zeros_like(x).index_add(0, target, (x[source] + e) * weight)
        return (received + x / degree[:, None]) @ layer.linear.weight.T + layer.linear.bias

    assert_same(layer, graphs, dense, edges=True)


@pytest.mark.parametrize("edges", [False, True])
def test_gat_is_gatv2_conv_with_the_right_ends_of_edges(graphs: Graphs, edges: bool) -> None:
    layer = GATLayer(DIM, 2, edges)
    theirs = GATv2Conv(DIM, DIM // 2, heads=2, edge_dim=DIM if edges else None)
    for name, parameter in layer.conv.named_parameters():
        module, _, leaf = name.rpartition(".")
        setattr(theirs.get_submodule(module), leaf, parameter)
    assert_same(layer, graphs, lambda x, e: theirs(x, graphs.edge_index, e if edges else None), edges=edges)


def test_gat_by_its_equation() -> None:
    """GATv2, Brody et al. 2022, eq. 7, dense, one head, self loops included, on a directed graph."""
    graphs = five_graphs()
    layer = GATLayer(DIM, 1, False)
    conv = layer.conv
    hears = torch.eye(14, dtype=torch.bool)
    hears[graphs.edge_index[1], graphs.edge_index[0]] = True

    def dense(x: Tensor, e: Tensor) -> Tensor:
        left, right = conv.lin_l(x), conv.lin_r(x)
        score = (F.leaky_relu(left[None] + right[:, None], 0.2) * conv.att[0, 0]).sum(-1)
        attention = score.masked_fill(~hears, -torch.inf).softmax(1)
        return attention @ left + conv.bias

    assert_same(layer, graphs, dense, edges=False)


def test_gps_is_its_equations_graph_by_graph(graphs: Graphs) -> None:
    """GPS, eq. 2 to 5, with torch's multi-head attention run on each graph alone: attention stays inside a graph."""
    layer = GPSLayer(DIM, 2, nn.LayerNorm)

    def attention(x: Tensor) -> Tensor:
        rows = [x[start:stop] for start, stop in pairwise(graphs.node_ptr.tolist()) if stop > start]
        projection, merge = layer.query_key_value, layer.merge
        parts = [
            F.multi_head_attention_forward(
                *[part[:, None]] * 3,
                embed_dim_to_check=DIM,
                num_heads=2,
                in_proj_weight=projection.weight,
                in_proj_bias=projection.bias,
                bias_k=None,
                bias_v=None,
                add_zero_attn=False,
                dropout_p=0.0,
                out_proj_weight=merge.weight,
                out_proj_bias=merge.bias,
                need_weights=False,
            )[0][:, 0]
            for part in rows
        ]
        return torch.cat(parts)

    def reference(x: Tensor, e: Tensor) -> Tensor:
        local = layer.norm_local(x + layer.local(x, Messages(graphs), e))
        joined = local + layer.norm_global(x + attention(x))
        return layer.norm_mlp(joined + layer.mlp(joined))

    assert_same(layer, graphs, reference, edges=True)


def test_gps_attends_to_every_node_of_the_graph_and_to_none_outside() -> None:
    """Three isolated nodes hear of each other by attention alone; the graphs beside them stay deaf."""
    graphs = five_graphs()
    layer = GPSLayer(DIM, 2, nn.LayerNorm)
    x = torch.randn(14, DIM)
    changed = x.index_add(0, torch.tensor([8]), torch.ones(1, DIM))
    differs = (layer(x, Messages(graphs)) - layer(changed, Messages(graphs))).abs().amax(1) > 1e-6
    assert differs.nonzero().flatten().tolist() == [7, 8, 9]


def test_batch_norm_with_one_row_uses_the_running_statistics_and_keeps_them() -> None:
    norm = BatchNorm(3)
    norm(torch.randn(50, 3) * 2 + 1)
    mean, var = norm.running_mean.clone(), norm.running_var.clone()
    row = torch.randn(1, 3)
    torch.testing.assert_close(norm(row), (row - mean) / (var + norm.eps).sqrt())
    assert norm(row[:0]).shape == (0, 3)
    assert torch.equal(norm.running_mean, mean)
    assert torch.equal(norm.running_var, var)


def test_batch_norm_is_torchs_where_there_is_a_batch() -> None:
    ours, theirs = BatchNorm(3), nn.BatchNorm1d(3)
    for _ in range(2):
        x = torch.randn(5, 3)
        torch.testing.assert_close(ours(x), theirs(x))
    torch.testing.assert_close(ours.running_var, theirs.running_var)
    torch.testing.assert_close(ours.eval()(x), theirs.eval()(x))
