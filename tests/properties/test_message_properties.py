"""Sums along edges equal products with dense matrices, and so do their gradients, on any graphs."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from graph_samples import graph_sets
from jepakit.core.packed import segment_sum
from jepakit.graph import Graphs
from jepakit.graph.networks.messages import Messages


def one_hot(index: Tensor, size: int) -> Tensor:
    """``[size, K]``: column k has its one in row ``index[k]``."""
    return (torch.arange(size)[:, None] == index).double()


@given(graph_sets(), st.integers(0, 10**6))
@settings(max_examples=60)
def test_every_operation_is_its_dense_matrix(graphs: Graphs, seed: int) -> None:
    messages = Messages(graphs)
    source, target = graphs.edge_index
    take, put = one_hot(source, graphs.num_nodes).T, one_hot(target, graphs.num_nodes)
    belongs = one_hot(graphs.graph_of_node, len(graphs))
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(graphs.num_edges, generator=generator, dtype=torch.double)
    degree = put.sum(1) + 1
    gcn = (degree[:, None] * degree).rsqrt()
    cases = {
        "sum_neighbors": (messages.sum_neighbors, put @ take),
        "weighted": (lambda x: messages.sum_neighbors(x, weight), put @ torch.diag(weight) @ take),
        "normalised": (lambda x: messages.sum_neighbors(x, messages.gcn_weight.double()), (put @ take) * gcn),
        "with self": (
            lambda x: messages.sum_neighbors_and_self(x, torch.tensor(1.5, dtype=torch.double)),
            put @ take + 1.5 * torch.eye(graphs.num_nodes, dtype=torch.double),
        ),
        "take_sources": (messages.take_sources, take),
        "take_targets": (messages.take_targets, put.T),
        "sum_messages": (messages.sum_messages, put),
        "sum_nodes": (lambda x: segment_sum(x, graphs.node_ptr), belongs),
    }
    for name, (function, matrix) in cases.items():
        rows = torch.randn(matrix.shape[1], 2, generator=generator, dtype=torch.double).requires_grad_()
        dense_rows = rows.detach().clone().requires_grad_()
        tolerance = {"rtol": 1e-6, "atol": 1e-6} if name == "normalised" else {}
        found, expected = function(rows), matrix @ dense_rows
        torch.testing.assert_close(found, expected, **tolerance, msg=lambda m, name=name: f"{name}: {m}")
        above = torch.randn(found.shape, generator=generator, dtype=torch.double)
        found.backward(above)
        expected.backward(above)
        torch.testing.assert_close(rows.grad, dense_rows.grad, **tolerance, msg=lambda m, name=name: f"{name}: {m}")
