"""Encoders: what goes in is used, what is hidden is not, graphs keep to themselves, faults name the option."""

import copy
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch_geometric.nn import GCNConv

from graph_samples import EDGE_FEATURES, FEATURES, five_graphs, star_of
from jepakit.errors import ConfigError, DataError
from jepakit.graph import EncoderConfig, GraphEncoder, Graphs, concatenate
from jepakit.graph.networks.layers import LAYERS, BatchNorm
from jepakit.graph.networks.messages import Messages
from jepakit.graph.words import POWERS, word_weights

SMALL: dict[str, object] = {
    **{"conv": "gin", "hidden": 8, "layers": 2, "heads": 2, "norm": "batch", "dropout": 0.0, "residual": False},
    **{"jumping": "concat", "pooling": "sum", "position": "none", "position_size": 4, "prototypes": 0},
}


def encoder_for(graphs: Graphs, **options: object) -> GraphEncoder:
    """A small encoder in eval mode whose batch normalisation has seen the graphs."""
    torch.manual_seed(0)
    encoder = GraphEncoder.for_data(graphs, EncoderConfig(**SMALL | options))
    encoder.calibrate(encoder.prepare(graphs))
    return encoder.eval()


def assert_rows_differ(a: Tensor, b: Tensor) -> None:
    assert ((a - b).abs().amax(1) > 1e-6).all()


@pytest.mark.parametrize("position", ["none", "random_walk"])
@pytest.mark.parametrize("edge_features", [False, True])
@pytest.mark.parametrize("conv", LAYERS)
def test_adding_a_graph_changes_no_other_embedding(conv: str, edge_features: bool, position: str) -> None:
    graphs = five_graphs(edge_features=edge_features)
    encoder = encoder_for(graphs, conv=conv, position=position)
    graphs = encoder.prepare(graphs)
    together = encoder(graphs)
    for g in range(len(graphs)):
        alone = encoder(graphs[g])
        torch.testing.assert_close(alone["node"], together["node"][graphs.graph_of_node == g], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(alone["graph"], together["graph"][[g]], rtol=1e-4, atol=1e-5)


def test_a_gcn_has_one_weight_matrix_a_layer() -> None:
    """Against PyTorch Geometric's two-layer GCN, whose first layer maps the features to the hidden width itself."""
    graphs = five_graphs(edge_features=False)
    encoder = encoder_for(graphs, conv="gcn", norm="none", jumping="last")
    nn.init.zeros_(encoder.features.bias)  # theirs is added after the neighbours
    layers = [GCNConv(FEATURES, 8), GCNConv(8, 8)]
    layers[0].lin.weight = encoder.features.weight
    last = encoder.layers[1].linear
    layers[1].lin.weight, layers[1].bias = last.weight, last.bias
    expected = layers[1](layers[0](graphs.x, graphs.edge_index).relu(), graphs.edge_index)
    torch.testing.assert_close(encoder(graphs)["node"], expected)


def test_scaled_rows_forget_how_many_words_a_node_has() -> None:
    graphs = five_graphs(edge_features=False)
    factors = torch.rand(graphs.num_nodes, 1) + 0.5
    more = replace(graphs, x=graphs.x * factors)
    scaled, plain = encoder_for(graphs, scale_rows=True, norm="none"), encoder_for(graphs, norm="none")
    torch.testing.assert_close(scaled(more)["node"], scaled(graphs)["node"])
    assert_rows_differ(plain(more)["node"], plain(graphs)["node"])
    unit = graphs.x / graphs.x.square().mean(1, keepdim=True).sqrt().clamp(min=1e-12)
    torch.testing.assert_close(scaled(graphs)["node"], plain(replace(graphs, x=unit))["node"])


def test_rare_words_weigh_as_in_the_data_of_pre_training() -> None:
    """The encoder's own weights, on whatever graph it reads; what is no bag of words is left as it is."""
    generator = torch.Generator().manual_seed(0)
    words = (torch.rand(60, 150, generator=generator) < torch.linspace(0.01, 0.12, 150)).float()
    edges = torch.randint(60, (2, 90), generator=generator)
    graphs = Graphs.pack(words, edges, torch.tensor([60]))
    weighted, plain = encoder_for(graphs, rare_words=0.5, norm="none"), encoder_for(graphs, norm="none")
    other = Graphs.pack(words[:20], edges[:, :0], torch.tensor([20]))
    expected = plain(replace(other, x=other.x * word_weights(words, 0.5)))["node"]
    torch.testing.assert_close(weighted(other)["node"], expected)
    assert_rows_differ(weighted(other)["node"], plain(other)["node"])
    assert encoder_for(graphs, rare_words=None).config.rare_words in POWERS
    again = GraphEncoder(**weighted.arguments).eval()
    again.load_state_dict(weighted.state_dict())
    assert torch.equal(again(other)["node"], weighted(other)["node"])
    dense = five_graphs()
    assert torch.equal(encoder_for(dense, rare_words=1.0)(dense)["node"], encoder_for(dense)(dense)["node"])


def test_a_linear_map_is_spread_over_the_graph() -> None:
    graphs = five_graphs(edge_features=False)
    encoder = encoder_for(graphs, conv="gcn", layers=0, spread=3, restart=0.25)
    nn.init.zeros_(encoder.features.bias)
    expected = encoder.features(Messages(graphs).spread(graphs.x, 3, 0.25))
    torch.testing.assert_close(encoder(graphs)["node"], expected)


@pytest.mark.parametrize("conv", LAYERS)
def test_edge_features_reach_the_nodes_they_lead_to(conv: str) -> None:
    graphs = five_graphs()
    encoder = encoder_for(graphs, conv=conv, layers=1, position="none", jumping="last", norm="layer")
    assert graphs.edge_attr is not None
    edge = int((graphs.edge_index == torch.tensor([[2], [3]])).all(0).nonzero())
    changed = graphs.edge_attr.clone()
    changed[edge] += 1.0
    before, after = encoder(graphs), encoder(replace(graphs, edge_attr=changed))
    moved = ((before["node"] - after["node"]).abs().amax(1) > 1e-6).nonzero().flatten().tolist()
    assert moved == [3]
    assert_rows_differ(before["graph"][[0]], after["graph"][[0]])
    torch.testing.assert_close(before["graph"][1:], after["graph"][1:])


@pytest.mark.parametrize("position", ["none", "combined"])
@pytest.mark.parametrize("conv", LAYERS)
def test_features_of_hidden_nodes_are_not_seen(conv: str, position: str) -> None:
    graphs = five_graphs()
    encoder = encoder_for(graphs, conv=conv, position=position)
    hidden = torch.tensor([1, 3, 5, 6, 11])
    graphs = encoder.prepare(graphs)
    graphs = replace(graphs, hidden_nodes=torch.zeros(14, dtype=torch.bool).index_fill(0, hidden, True))
    corrupted = replace(graphs, x=graphs.x.index_fill(0, hidden, 1e6))
    before, after = encoder(graphs), encoder(corrupted)
    assert torch.equal(before["node"], after["node"])
    assert torch.equal(before["graph"], after["graph"])
    seen = replace(graphs, hidden_nodes=None)
    assert_rows_differ(encoder(seen)["node"][hidden], before["node"][hidden])


def test_a_hidden_node_is_a_learned_token_at_its_place() -> None:
    graphs = five_graphs()
    encoder = encoder_for(graphs, layers=1, position="random_walk", position_size=4, jumping="concat", norm="none")
    graphs = encoder.prepare(graphs)
    hidden = torch.zeros(14, dtype=torch.bool).index_fill(0, torch.tensor([1, 13]), True)
    entered = encoder(replace(graphs, hidden_nodes=hidden))["node"][:, :8]
    assert encoder.position is not None
    place = encoder.position(graphs.position)
    torch.testing.assert_close(entered[hidden], encoder.mask_token + place[hidden])
    torch.testing.assert_close(entered[~hidden], encoder.features(graphs.x)[~hidden] + place[~hidden])
    entered[1].sum().backward()
    assert encoder.mask_token.grad is not None
    assert encoder.mask_token.grad.abs().min() > 0


def test_the_structural_encoding_is_used() -> None:
    graphs = five_graphs()
    encoder = encoder_for(graphs, position="random_walk", position_size=4)
    prepared = encoder.prepare(graphs)
    assert prepared.position is not None
    shifted = replace(prepared, position=prepared.position + 0.5)
    assert_rows_differ(encoder(prepared)["node"], encoder(shifted)["node"])


def test_pooling_by_hand() -> None:
    """Over graphs of one, three and no nodes."""
    graphs = star_of(1, 3, 2)
    graphs = graphs.induced(torch.arange(6) < 4)
    for pooling in ("sum", "mean", "max"):
        out = encoder_for(star_of(1, 3, 2), pooling=pooling)(graphs)
        node = out["node"]
        of_three = {"sum": node[1:].sum(0), "mean": node[1:].mean(0), "max": node[1:].amax(0)}[pooling]
        torch.testing.assert_close(out["graph"], torch.stack([node[0], of_three, torch.zeros_like(of_three)]))


def test_jumping_and_residuals_by_their_definition() -> None:
    graphs = five_graphs()
    encoder = encoder_for(graphs, residual=True, jumping="concat", layers=2)
    messages = Messages(graphs)
    assert encoder.edges is not None
    x, edges = encoder.features(graphs.x), encoder.edges(graphs.edge_attr)
    expected = [x]
    for layer, norm in zip(encoder.layers, encoder.norms, strict=True):
        x = x + torch.relu(norm(layer(x, messages, edges)))
        expected.append(x)
    torch.testing.assert_close(encoder(graphs)["node"], torch.cat(expected, dim=1))
    last = GraphEncoder(**encoder.arguments | {"jumping": "last"}).eval()
    last.load_state_dict(encoder.state_dict())
    # What is handed out alone has both signs.
    final = expected[1] + encoder.norms[1](encoder.layers[1](expected[1], messages, edges))
    torch.testing.assert_close(last(graphs)["node"], final)
    assert (encoder.config.width, encoder.config.parts, last.config.width, last.config.parts) == (24, 3, 8, 1)


@pytest.mark.parametrize("mixed", [False, True])
def test_wide_and_almost_empty_features_are_multiplied_like_any_others(mixed: bool) -> None:
    """Bags of words: 600 columns of which a node has at most three; the gradient too, and a batch without nodes."""
    graphs = five_graphs(edge_features=False)
    words = torch.randint(0, 600, (14, 3), generator=torch.Generator().manual_seed(0))
    graphs = replace(graphs, x=torch.zeros(14, 600).scatter(1, words, 1.0))
    encoder = encoder_for(graphs, layers=1, norm="none")
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=mixed):
        entered = encoder(graphs)["node"][:, :8]
        assert encoder(graphs[[]])["graph"].shape == (0, 16)
    tolerance = {"rtol": 1e-2, "atol": 1e-2} if mixed else {}
    torch.testing.assert_close(entered.float(), encoder.features(graphs.x), **tolerance)
    found = torch.autograd.grad(entered.square().sum(), encoder.features.weight)[0]
    expected = torch.autograd.grad(encoder.features(graphs.x).square().sum(), encoder.features.weight)[0]
    torch.testing.assert_close(found, expected, **tolerance)


def test_dropout_acts_in_training_only() -> None:
    graphs = five_graphs()
    encoder = encoder_for(graphs, dropout=0.5, norm="layer")
    assert torch.equal(encoder(graphs)["node"], encoder(graphs)["node"])
    encoder.train()
    assert not torch.equal(encoder(graphs)["node"], encoder(graphs)["node"])


@pytest.mark.parametrize("conv", LAYERS)
def test_odd_graphs_are_embedded_and_trained_on(conv: str) -> None:
    """A single node, isolated nodes, no edges in the whole batch, one row in all, nothing at all."""
    graphs = five_graphs()
    encoder = encoder_for(graphs, conv=conv).train()
    for odd in (
        graphs[[2]],
        graphs[[3]],
        graphs[[2, 3]],
        graphs[[]],
        graphs.induced(torch.zeros(14, dtype=torch.bool)),
    ):
        encoder.zero_grad()
        out = encoder(odd)
        assert out["node"].shape == (odd.num_nodes, encoder.config.width)
        assert out["graph"].shape == (len(odd), encoder.config.width)
        out["graph"].square().sum().backward()
        for name, parameter in encoder.named_parameters():
            assert parameter.grad is None or torch.isfinite(parameter.grad).all(), name


@pytest.mark.parametrize("key", ["node", "graph"])
def test_embedding_in_batches_is_embedding_at_once(key: str) -> None:
    graphs = concatenate([five_graphs()] * 4)
    encoder = encoder_for(graphs, position="random_walk", dropout=0.5)
    at_once = encoder(encoder.prepare(graphs))[key].detach()
    encoder.train()
    for batch_nodes in (1, 5, 17, 10_000):
        found = encoder.embed(graphs, key=key, batch_nodes=batch_nodes)
        torch.testing.assert_close(found, at_once, rtol=1e-4, atol=1e-5)
        assert not found.requires_grad
    assert encoder.training
    torch.testing.assert_close(encoder.embed(encoder.prepare(graphs), key=key), at_once, rtol=1e-4, atol=1e-5)


def test_embedding_no_graph_gives_no_row() -> None:
    encoder = encoder_for(five_graphs())
    assert encoder.embed(five_graphs()[[]]).shape == (0, encoder.config.width)


def test_prototypes_read_out_graphs_one_by_one_and_without_labels() -> None:
    graphs = concatenate([five_graphs()] * 10)
    labelled = replace(graphs, y=torch.arange(len(graphs)), node_y=torch.arange(graphs.num_nodes))
    encoder, again = (GraphEncoder(FEATURES, EDGE_FEATURES, **SMALL | {"prototypes": 4}).eval() for _ in range(2))
    again.load_state_dict(encoder.state_dict())
    pooled = encoder.embed(graphs)
    encoder.fit_readout(graphs, seed=3)
    again.fit_readout(labelled, seed=3)
    read_out = encoder.embed(graphs)
    assert read_out.shape == (len(graphs), 3 * 4)
    assert torch.equal(again.embed(graphs), read_out)
    torch.testing.assert_close(encoder.embed(graphs, batch_nodes=3), read_out, rtol=1e-4, atol=1e-4)
    assert torch.equal(encoder.embed(graphs, key="node"), encoder(graphs)["node"])
    torch.testing.assert_close(encoder(graphs)["graph"], pooled)  # training pools


def test_calibration_sets_the_statistics_of_the_data_and_no_parameter() -> None:
    graphs = concatenate([five_graphs(), star_of(3, 5, features=(1.0, -2.0, 0.5))])
    torch.manual_seed(0)
    encoder = GraphEncoder(FEATURES, 0, conv="gcn", hidden=8, layers=1, norm="batch", dropout=0.0)
    encoder(graphs)  # statistics of earlier data, which must not stay
    before = copy.deepcopy(encoder.state_dict())
    random_state = torch.get_rng_state()
    encoder.calibrate(graphs, batch_graphs=100)
    assert torch.equal(torch.get_rng_state(), random_state)
    assert encoder.training
    inputs = encoder.layers[0](encoder.features(graphs.x), Messages(graphs)).detach()
    (norm,) = (module for module in encoder.modules() if isinstance(module, BatchNorm))
    torch.testing.assert_close(norm.running_mean, inputs.mean(0))
    torch.testing.assert_close(norm.running_var, inputs.var(0))
    assert norm.momentum == 0.1
    for name, parameter in encoder.named_parameters():
        assert torch.equal(parameter, before[name]), name


def test_calibration_averages_over_batches_in_an_order_of_its_own() -> None:
    graphs = concatenate([five_graphs()] * 5)
    encoder = encoder_for(graphs, layers=1)
    results = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        encoder.calibrate(graphs, batch_graphs=4)
        results.append(copy.deepcopy(encoder.state_dict()))
    for name, value in results[0].items():
        assert torch.equal(value, results[1][name]), name
    # Seven batches, the last of one graph; a batch of one node has no variance and is passed over.
    assert encoder.edges is not None
    order = torch.randperm(25, generator=torch.Generator().manual_seed(0))
    layer = copy.deepcopy(encoder.layers[0]).train()
    batches = [graphs[ids] for ids in order.split(4)]
    rows = [layer(encoder.features(b.x), Messages(b), encoder.edges(b.edge_attr)) for b in batches if b.num_nodes > 1]
    norm = encoder.norms[0]
    torch.testing.assert_close(norm.running_mean, torch.stack([r.mean(0) for r in rows]).mean(0).detach())


def test_calibration_passes_over_a_last_batch_of_one_node() -> None:
    graphs = concatenate([five_graphs()] * 3)[[2] * 3]
    encoder = encoder_for(five_graphs())
    encoder.calibrate(graphs, batch_graphs=2)
    assert all(torch.isfinite(value).all() for value in encoder.state_dict().values())


@pytest.mark.parametrize("edge_features", [False, True])
@pytest.mark.parametrize("conv", LAYERS)
def test_the_arguments_rebuild_the_encoder(conv: str, edge_features: bool) -> None:
    graphs = five_graphs(edge_features=edge_features)
    encoder = encoder_for(graphs, conv=conv, position="degree", prototypes=3)
    again = GraphEncoder(**encoder.arguments).eval()
    again.load_state_dict(encoder.state_dict())
    assert torch.equal(again.embed(graphs), encoder.embed(graphs))


def test_mixed_precision_is_close_to_full_precision() -> None:
    graphs = five_graphs()
    for conv in LAYERS:
        encoder = encoder_for(graphs, conv=conv)
        full = encoder(graphs)["graph"].detach()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            mixed = encoder(graphs)["graph"]
        assert mixed.dtype == torch.float32
        assert float((mixed.detach() - full).norm() / full.norm()) < 0.05, conv
        mixed.square().sum().backward()
        assert all(torch.isfinite(p.grad).all() for p in encoder.parameters() if p.grad is not None)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": torch.zeros(14, 5)}, r"graphs\.x: not the features .*found '5 columns'.*expected 3 columns"),
        ({"edge_attr": None}, r"graphs\.edge_attr: not the features .*found '0 columns'.*expected 2 columns"),
        ({"edge_attr": torch.zeros(16, 7)}, r"graphs\.edge_attr: .*'7 columns'.*expected 2 columns"),
        ({"position": None}, r"graphs\.position: .*'0 columns'.*expected 4 columns"),
        ({"position": torch.zeros(14, 9)}, r"graphs\.position: .*'9 columns'.*expected 4 columns"),
    ],
)
def test_other_features_than_the_encoder_was_made_for_are_refused(change: dict[str, Tensor], message: str) -> None:
    graphs = five_graphs()
    encoder = encoder_for(graphs, position="degree", position_size=4)
    with pytest.raises(DataError, match=message):
        encoder(replace(encoder.prepare(graphs), **change))


def test_features_the_encoder_has_no_use_for_do_no_harm() -> None:
    plain = five_graphs(edge_features=False)
    encoder = encoder_for(plain)
    with_more = replace(five_graphs(), position=torch.ones(14, 2))
    assert torch.equal(encoder(with_more)["graph"], encoder(plain)["graph"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"conv": "gatt"}, r"^conv = 'gatt': expected one of .*did you mean 'gat'"),
        ({"norm": "batchnorm"}, r"^norm = 'batchnorm'.*batch"),
        ({"jumping": "cat"}, r"^jumping = 'cat'.*concat, last"),
        ({"pooling": "avg"}, r"^pooling = 'avg'"),
        ({"position": "rw"}, r"^position = 'rw'.*random_walk"),
        ({"hidden": 0}, r"^hidden = 0: expected at least 1"),
        ({"layers": -1}, r"^layers = -1"),
        ({"layers": 0}, r"^layers = 0: expected at least 1 where spread = 0"),
        ({"spread": -1}, r"^spread = -1"),
        ({"restart": 0.0}, r"^restart = 0\.0: expected a number in \(0, 1\]"),
        ({"rare_words": -0.5}, r"^rare_words = -0\.5"),
        ({"heads": 0}, r"^heads = 0"),
        ({"position_size": 0}, r"^position_size = 0"),
        ({"prototypes": -1}, r"^prototypes = -1"),
        ({"dropout": 1.0}, r"^dropout = 1\.0: expected a number in \[0, 1\)"),
        ({"dropout": float("nan")}, r"^dropout = nan"),
        ({"conv": "gat", "hidden": 10, "heads": 4}, r"^heads = 4: expected a divisor of hidden = 10"),
        ({"conv": "gps", "hidden": 9, "heads": 2}, r"^heads = 2: expected a divisor of hidden = 9"),
    ],
)
def test_bad_options_name_themselves(options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        EncoderConfig(**options)
    with pytest.raises(ConfigError, match=message):
        GraphEncoder(FEATURES, EDGE_FEATURES, **options)


def test_only_asked_for_norms_are_there() -> None:
    kinds = {"batch": BatchNorm, "layer": nn.LayerNorm, "none": nn.Identity}
    for name, kind in kinds.items():
        encoder = encoder_for(five_graphs(), norm=name, conv="gps")
        assert {type(norm) for norm in encoder.norms} == {kind}
        assert type(encoder.layers[0].norm_mlp) is kind
