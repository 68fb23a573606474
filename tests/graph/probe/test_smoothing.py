"""Smoothing against the matrices of its equation, and by hand."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from jepakit.graph import Graphs
from jepakit.graph.probe.smoothing import smoothed_features


@given(st.integers(1, 12), st.floats(0, 1), st.integers(0, 3), st.integers(0, 2**31))
def test_it_is_the_power_of_the_normalised_adjacency(nodes: int, chance: float, steps: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    upper = (torch.rand(nodes, nodes, generator=generator) < chance).triu(1)
    x = torch.randn(nodes, 3, generator=generator)
    graphs = Graphs.pack(x, (upper | upper.T).nonzero().T, torch.tensor([nodes]))
    with_loops = (upper | upper.T).float() + torch.eye(nodes)
    scale = with_loops.sum(0).rsqrt().diag()
    expected = torch.linalg.matrix_power(scale @ with_loops @ scale, steps) @ x
    torch.testing.assert_close(smoothed_features(graphs, steps), expected, rtol=1e-4, atol=1e-5)


def test_graphs_of_a_set_stay_apart() -> None:
    """A pair and a node alone."""
    graphs = Graphs.pack(torch.tensor([[1.0], [3], [5]]), torch.tensor([[0, 1], [1, 0]]), torch.tensor([2, 1]))
    torch.testing.assert_close(smoothed_features(graphs), torch.tensor([[2.0], [2], [5]]))
