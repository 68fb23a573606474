"""Sums along edges and over graphs: against dense matrices, forwards and backwards, by hand, and in odd graphs."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from graph_samples import five_graphs, star_of
from jepakit.core.packed import segment_sum
from jepakit.graph import Graphs
from jepakit.graph.networks.messages import Messages

Operation = Callable[[Tensor], Tensor]


def operations(graphs: Graphs) -> dict[str, tuple[Operation, Tensor]]:
    """Each operation and the rows it takes, one number for every entry."""
    messages = Messages(graphs)
    generator = torch.Generator().manual_seed(3)
    nodes = torch.randn(graphs.num_nodes, 3, generator=generator, dtype=torch.double)
    edges = torch.randn(graphs.num_edges, 3, generator=generator, dtype=torch.double)
    weight = torch.rand(graphs.num_edges, generator=generator, dtype=torch.double)
    return {
        "sum_neighbors": (messages.sum_neighbors, nodes),
        "weighted sum_neighbors": (lambda x: messages.sum_neighbors(x, weight), nodes),
        "take_sources": (messages.take_sources, nodes),
        "sum_messages": (messages.sum_messages, edges),
        "sum_nodes": (lambda x: segment_sum(x, graphs.node_ptr), nodes),
    }


@pytest.mark.parametrize(
    "name", ["sum_neighbors", "weighted sum_neighbors", "take_sources", "sum_messages", "sum_nodes"]
)
@pytest.mark.parametrize(
    "graphs",
    [five_graphs(), star_of(1, 1), star_of(4)[[0, 0]], five_graphs().induced(torch.arange(14) < 4)],
    ids=["directed and undirected", "no edges", "twice the same", "graphs without nodes"],
)
def test_gradients_are_those_of_finite_differences(name: str, graphs: Graphs) -> None:
    function, rows = operations(graphs)[name]
    assert torch.autograd.gradcheck(function, (rows.requires_grad_(),))


def test_the_scale_of_a_nodes_own_row_has_its_gradient() -> None:
    rows = torch.randn(14, 3, generator=torch.Generator().manual_seed(0), dtype=torch.double).requires_grad_()
    scale = torch.tensor(1.3, dtype=torch.double, requires_grad=True)
    for graphs in (five_graphs(), five_graphs().with_edges(torch.zeros(16, dtype=torch.bool))):
        assert torch.autograd.gradcheck(Messages(graphs).sum_neighbors_and_self, (rows, scale))


def test_a_directed_path_by_hand() -> None:
    """0 -> 1 -> 2: what a node hears is what stands at the source of its incoming edge."""
    graphs = Graphs.pack(torch.zeros(3, 1), torch.tensor([[0, 1], [1, 2]]), torch.tensor([3]))
    messages = Messages(graphs)
    x = torch.tensor([[1.0], [10.0], [100.0]])
    assert messages.sum_neighbors(x).flatten().tolist() == [0, 1, 10]
    assert messages.sum_neighbors(x, torch.tensor([2.0, 3.0])).flatten().tolist() == [0, 2, 30]
    assert messages.sum_neighbors_and_self(x, torch.tensor(2.0)).flatten().tolist() == [2, 21, 210]
    assert messages.take_sources(x).flatten().tolist() == [1, 10]
    assert messages.sum_messages(torch.tensor([[5.0], [7.0]])).flatten().tolist() == [0, 5, 7]
    assert segment_sum(x, graphs.node_ptr).flatten().tolist() == [111]
    # In-degrees with the self loop are 1, 2, 2.
    assert messages.gcn_weight.tolist() == pytest.approx([2**-0.5, 0.5])


def test_the_backward_pass_of_a_directed_path_by_hand() -> None:
    """The gradient runs against the edges: node 0 hears from node 1, node 1 from node 2."""
    graphs = Graphs.pack(torch.zeros(3, 1), torch.tensor([[0, 1], [1, 2]]), torch.tensor([3]))
    x = torch.ones(3, 1, requires_grad=True)
    Messages(graphs).sum_neighbors(x).backward(torch.tensor([[1.0], [10.0], [100.0]]))
    assert x.grad is not None
    assert x.grad.flatten().tolist() == [10, 100, 0]


def test_sums_over_empty_graphs_and_isolated_nodes_are_zero() -> None:
    graphs = five_graphs().induced(torch.arange(14) < 7)
    messages = Messages(graphs)
    totals = segment_sum(torch.ones(7, 2), graphs.node_ptr)
    assert totals[:, 0].tolist() == [4, 2, 1, 0, 0]
    assert messages.sum_neighbors(torch.ones(7, 2))[:, 0].tolist() == [1, 1, 1, 1, 1, 1, 0]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_summed_in_single_precision(dtype: torch.dtype) -> None:
    """A hub of 3,000 leaves: in half precision the sum of ones stops at 2048 (float16) or 256 (bfloat16)."""
    graphs = star_of(3001)
    x = torch.ones(3001, 1, dtype=dtype, requires_grad=True)
    messages = Messages(graphs)
    heard = messages.sum_neighbors(x)
    assert heard.dtype == torch.float32
    assert float(heard.detach()[0]) == 3000
    assert float(messages.sum_neighbors_and_self(x.detach(), torch.tensor(2.0))[0]) == 3002
    assert float(messages.sum_messages(torch.ones(6000, 1, dtype=dtype))[0]) == 3000
    assert float(segment_sum(x.detach(), graphs.node_ptr)) == 3001
    heard[0].sum().backward()
    assert x.grad is not None
    assert x.grad.dtype == dtype
    assert x.grad.float().flatten().tolist() == [0.0] + [1.0] * 3000


def test_single_precision_products_work_inside_autocast() -> None:
    messages = Messages(star_of(4))
    x = torch.full((4, 1), 1 / 3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = messages.sum_neighbors(x)
    assert torch.equal(inside, messages.sum_neighbors(x))
