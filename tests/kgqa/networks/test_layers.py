"""Layers equal their formulas, written out edge by edge."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from jepakit.graph.networks.messages import Messages
from jepakit.kgqa.networks.layers import (
    RelationalGAT,
    RelationalGCN,
    RelationalGCNBases,
    RelationalGIN,
    RelationalTransformer,
)
from kg_samples import features_of, graph_of, whole

STEPS, DIM, HEADS = 6, 8, 2
LAYERS: dict[str, Callable[[], nn.Module]] = {
    "gat": lambda: RelationalGAT(DIM, HEADS, STEPS),
    "rgcn": lambda: RelationalGCNBases(DIM, 3, STEPS),
    "transformer": lambda: RelationalTransformer(DIM, HEADS, STEPS),
    "gin": lambda: RelationalGIN(DIM, STEPS, lambda _: nn.Identity()),
    "gcn": lambda: RelationalGCN(DIM, STEPS),
}


def messages() -> Messages:
    """Two relations between the same entities, a self-loop, an isolated entity, a third relation in one direction."""
    graph = graph_of([(0, 0, 1), (0, 1, 1), (2, 0, 1), (1, 2, 3), (3, 0, 3), (0, 0, 2), (4, 0, 1)], 6, 3)
    return Messages(whole(graph, features_of(graph)))


def attended(scores: list[Tensor], values: list[Tensor]) -> Tensor:
    weight = torch.stack(scores).softmax(0)
    return (weight[:, :, None] * torch.stack(values).unflatten(1, (HEADS, -1))).sum(0).flatten()


def gat(layer: RelationalGAT, x: Tensor, i: int, edges: list[tuple[int, int]]) -> Tensor:
    sent = [layer.source(x[j]) + layer.edges.table.weight[r] for j, r in edges]
    scores = [
        (nn.functional.leaky_relu(m + layer.target(x[i]), 0.2).view(HEADS, -1) * layer.score).sum(1) for m in sent
    ]
    return layer.own(x[i]) + (attended(scores, sent) if edges else 0)


def rgcn(layer: RelationalGCNBases, x: Tensor, i: int, edges: list[tuple[int, int]]) -> Tensor:
    out = layer.own(x[i])
    bases = layer.bases.weight.view(DIM, 3, DIM)
    for r in {r for _, r in edges}:
        sources = [j for j, s in edges if s == r]
        matrix = torch.einsum("b,ibj->ij", layer.coefficient.weight[r], bases)
        out = out + matrix @ x[sources].mean(0)
    return out


def transformer(layer: RelationalTransformer, x: Tensor, i: int, edges: list[tuple[int, int]]) -> Tensor:
    normed, table = layer.norm_attention(x), layer.edges.table.weight
    query = layer.query(normed[i]).view(HEADS, -1)
    pairs = [layer.key_value(normed[j]) + table[r].repeat(2) for j, r in edges]
    scores = [(query * pair[:DIM].view(HEADS, -1)).sum(1) / (DIM / HEADS) ** 0.5 for pair in pairs]
    got = attended(scores, [pair[DIM:] for pair in pairs]) if edges else x.new_zeros(DIM)
    h = x[i] + layer.merge(got)
    return h + layer.mlp(layer.norm_mlp(h))


def gin(layer: RelationalGIN, x: Tensor, i: int, edges: list[tuple[int, int]]) -> Tensor:
    sent = sum((x[j] + layer.edges.table.weight[r]).relu() for j, r in edges)
    return layer.layer.mlp((1 + layer.layer.eps) * x[i] + sent)


def gcn(layer: RelationalGCN, x: Tensor, i: int, edges: list[tuple[int, int]]) -> Tensor:
    degree = messages().graphs.in_degree + 1
    sent = sum((x[j] + layer.edges.table.weight[r]) / (degree[i] * degree[j]) ** 0.5 for j, r in edges)
    return layer.layer.linear(sent + x[i] / degree[i])


@pytest.mark.parametrize(
    ("name", "formula"), [("gat", gat), ("rgcn", rgcn), ("transformer", transformer), ("gin", gin), ("gcn", gcn)]
)
def test_a_layer_is_its_formula_with_gradients(name: str, formula: Callable[..., Tensor]) -> None:
    torch.manual_seed(0)
    layer, batch = LAYERS[name]().double(), messages()
    x = torch.randn(6, DIM, dtype=torch.double)
    source, target = batch.graphs.edge_index.tolist()
    kind = batch.graphs.edge_type
    assert kind is not None
    given, expected_from = x.clone().requires_grad_(), x.clone().requires_grad_()
    found = layer(given, batch)
    edges = [[(j, r) for j, t, r in zip(source, target, kind.tolist(), strict=True) if t == i] for i in range(6)]
    expected = torch.stack([formula(layer, expected_from, i, edges[i]) for i in range(6)])
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
    above = torch.randn(6, DIM, dtype=torch.double)
    parameters = list(layer.parameters())
    first = torch.autograd.grad((found * above).sum(), [given, *parameters])
    second = torch.autograd.grad((expected * above).sum(), [expected_from, *parameters])
    for one, other in zip(first, second, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", LAYERS)
def test_the_relation_and_its_direction_change_the_message(name: str) -> None:
    torch.manual_seed(0)
    layer = LAYERS[name]()
    outputs = []
    for triple in ((0, 0, 1), (0, 1, 1), (1, 0, 0)):
        graph = graph_of([triple, (2, 2, 2)], 3, 3)
        x = torch.arange(3.0 * DIM).view(3, DIM) / 10
        outputs.append(layer(x, Messages(whole(graph, features_of(graph))))[:2].detach())
    assert not torch.allclose(outputs[0], outputs[1])
    assert not torch.allclose(outputs[0], outputs[2])
