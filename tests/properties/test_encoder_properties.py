"""Encoders do not see the numbering of nodes or the order and company of graphs, whatever they are made of."""

from dataclasses import replace
from typing import get_args

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from graph_samples import EDGE_FEATURES, FEATURES, five_graphs, graph_sets, renumbered
from jepakit.graph import GraphEncoder, Graphs
from jepakit.graph.networks.encoding import Encoding
from jepakit.graph.networks.layers import LAYERS

TOLERANCE = {"rtol": 1e-3, "atol": 1e-4}


def encoder_for(conv: str, edge_features: bool, **options: object) -> GraphEncoder:
    torch.manual_seed(0)
    common = {"hidden": 8, "layers": 2, "heads": 2, "norm": "batch", "dropout": 0.0, "position_size": 5}
    encoder = GraphEncoder(FEATURES, EDGE_FEATURES * edge_features, conv=conv, **common | options)
    sample = encoder.prepare(five_graphs(edge_features=edge_features))
    encoder.calibrate(sample)
    encoder.fit_readout(sample)
    return encoder.eval()


@pytest.mark.parametrize("position", get_args(Encoding))
@pytest.mark.parametrize("edge_features", [False, True])
@pytest.mark.parametrize("conv", LAYERS)
def test_renumbering_nodes_renumbers_their_embeddings_and_nothing_else(
    conv: str, edge_features: bool, position: str
) -> None:
    encoder = encoder_for(conv, edge_features, position=position, prototypes=3)

    @given(graph_sets(edge_features=edge_features), st.integers(0, 10**6))
    @settings(max_examples=10)
    def holds(graphs: Graphs, seed: int) -> None:
        hidden = torch.rand(graphs.num_nodes, generator=torch.Generator().manual_seed(seed)) < 0.3
        graphs = replace(graphs, hidden_nodes=hidden)
        other, place = renumbered(graphs, seed)
        graphs, other = encoder.prepare(graphs), encoder.prepare(other)
        ours, theirs = encoder(graphs), encoder(other)
        torch.testing.assert_close(theirs["node"][place], ours["node"], **TOLERANCE)
        torch.testing.assert_close(theirs["graph"], ours["graph"], **TOLERANCE)
        torch.testing.assert_close(encoder.embed(other), encoder.embed(graphs), **TOLERANCE)

    holds()


@pytest.mark.parametrize("pooling", ["sum", "mean", "max"])
@pytest.mark.parametrize("conv", LAYERS)
@given(graphs=graph_sets(edge_features=True), data=st.data())
@settings(max_examples=10)
def test_a_graph_is_embedded_the_same_in_any_company(
    conv: str, pooling: str, graphs: Graphs, data: st.DataObject
) -> None:
    encoder = encoder_for(conv, True, pooling=pooling, position="random_walk", prototypes=0)
    ids = torch.tensor(data.draw(st.lists(st.integers(0, len(graphs) - 1), min_size=1, max_size=5)))
    prepared = encoder.prepare(graphs)
    expected = encoder(prepared)["graph"][ids]
    torch.testing.assert_close(encoder(prepared[ids])["graph"], expected, **TOLERANCE)
    torch.testing.assert_close(encoder(encoder.prepare(graphs[ids]))["graph"], expected, **TOLERANCE)
