"""The objective built from options: predictors, targets, losses and regularisers are what the options say."""

from dataclasses import replace
from itertools import product

import pytest
import torch
import torch.nn.functional as F

from graph_samples import EDGE_FEATURES, FEATURES, MASKED, five_graphs
from jepakit.core import JEPA, JEPAOutput, Views, isotropy_penalty
from jepakit.core.loss import LOSSES, hyperbolic_coordinates
from jepakit.core.regularizer import standardize
from jepakit.errors import ConfigError
from jepakit.graph import (
    EncoderConfig,
    GraphEncoder,
    GraphViews,
    Masking,
    ObjectiveConfig,
    PretrainConfig,
    ViewConfig,
    build_jepa,
)

ENCODER: dict[str, object] = {
    **{"conv": "gin", "hidden": 8, "layers": 2, "heads": 2, "norm": "layer", "dropout": 0.0, "residual": False},
    **{"jumping": "concat", "pooling": "sum", "position": "random_walk", "position_size": 4, "prototypes": 0},
}
PLAIN: dict[str, object] = {
    **{"target": "ema", "predict": ["node"], "predictor": "mlp", "loss": "mse", "normalize_target": False},
    **{"sigreg": 0.0, "vicreg": 0.0, "isotropy": 0.0, "decorrelation": 0.0, "momentum": 0.9, "standardize": False},
}


def encoder_with(**options: object) -> GraphEncoder:
    torch.manual_seed(0)
    return GraphEncoder(FEATURES, EDGE_FEATURES, **ENCODER | options)


def objective(encoder: GraphEncoder, **options: object) -> JEPA:
    return build_jepa(encoder, ObjectiveConfig(**PLAIN | options), total_steps=10)


def views_for(encoder: GraphEncoder, context: str = "token", target: str = "whole") -> Views:
    graphs = encoder.prepare(five_graphs())
    return GraphViews(graphs, Masking(), ViewConfig(context=context, target=target)).of(graphs, MASKED)


def rows_differ(rows: torch.Tensor) -> bool:
    """Whether no two rows are the same."""
    return bool((torch.pdist(rows.detach().double()) > 1e-5).all())


@pytest.mark.parametrize("predict", [["node"], ["graph"], ["node", "graph"]])
@pytest.mark.parametrize(
    ("predictor", "context", "target"),
    [
        choice
        for choice in product(["mlp", "cross_attention"], ["token", "drop"], ["whole", "region"])
        if choice[:2] != ("mlp", "drop")
    ],
)
def test_every_valid_combination_predicts_each_masked_node_and_its_graph(
    predictor: str, context: str, target: str, predict: list[str]
) -> None:
    encoder = encoder_with()
    jepa = objective(encoder, predictor=predictor, predict=predict)
    views = views_for(encoder, context, target)
    output = jepa(views)
    wanted = encoder(views.target)
    node_rows = wanted["node"][MASKED] if target == "whole" else wanted["node"]
    expected = {"node": node_rows, "graph": wanted["graph"][[0, 1, 3, 4]]}
    assert list(output.prediction) == list(output.target) == predict
    for key in predict:
        assert output.prediction[key].shape == output.target[key].shape
        torch.testing.assert_close(output.target[key], expected[key])  # the copy is still the encoder itself
        assert rows_differ(output.prediction[key])
    by_hand = [F.mse_loss(output.prediction[key], expected[key]) for key in predict]
    torch.testing.assert_close(output.total, torch.stack(by_hand).mean())
    output.total.backward()
    assert encoder.features.weight.grad is not None
    assert encoder.features.weight.grad.abs().sum() > 0


@pytest.mark.parametrize("predictor", ["mlp", "cross_attention"])
def test_a_prediction_is_made_for_its_own_node(predictor: str) -> None:
    """Asking for the nodes one at a time gives what asking for all gives, row by row."""
    encoder = encoder_with().eval()
    jepa = objective(encoder, predictor=predictor).eval()
    views = views_for(encoder)
    together = jepa(views).prediction["node"]
    where = views.where["node"]
    for row in range(len(together)):
        one = replace(
            where,
            **{
                name: getattr(where, name)[[row]] for name in ("context_rows", "target_rows", "position", "query_group")
            },
        )
        alone = jepa(replace(views, where={"node": one}))
        torch.testing.assert_close(alone.prediction["node"], together[[row]], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("context", ["token", "drop"])
def test_cross_attention_reads_its_own_graph_and_its_position(context: str) -> None:
    encoder = encoder_with().eval()
    jepa = objective(encoder, predictor="cross_attention").eval()
    views = views_for(encoder, context)
    before = jepa(views).prediction["node"]
    group = views.where["node"].query_group

    other = replace(views.context, x=views.context.x + 5.0 * (views.context.graph_of_node == 0)[:, None])
    moved = (jepa(replace(views, context=other)).prediction["node"] - before).abs().amax(1) > 1e-6
    assert torch.equal(moved, group == 0)

    node = views.where["node"]
    position = node.position.clone()
    position[4] += 0.5
    elsewhere = jepa(replace(views, where={"node": replace(node, position=position)})).prediction["node"]
    assert ((elsewhere - before).abs().amax(1) > 1e-6).nonzero().flatten().tolist() == [4]


def test_simsiam_shares_the_encoder_and_stops_the_gradient() -> None:
    encoder = encoder_with()
    jepa = objective(encoder, target="simsiam")
    assert not list(jepa.target.parameters())
    assert not list(jepa.target.buffers())
    ours = {id(p) for p in jepa.parameters()}
    assert ours == {id(p) for module in (encoder, jepa.predictor) for p in module.parameters()}
    views = views_for(encoder)
    with torch.no_grad():
        encoder.features.weight.add_(1.0)  # an EMA copy would not follow at once
    output = jepa(views)
    torch.testing.assert_close(output.target["node"], encoder(views.target)["node"].detach()[MASKED])
    assert not output.target["node"].requires_grad


def gradient_through_target(output: JEPAOutput, encoder: GraphEncoder) -> torch.Tensor:
    loss = F.mse_loss(output.prediction["node"].detach(), output.target["node"])
    return torch.autograd.grad(loss, encoder.features.weight)[0]


def test_lejepa_lets_the_gradient_through_the_target() -> None:
    encoder = encoder_with()
    jepa = objective(encoder, target="lejepa", sigreg=1.0)
    assert not list(jepa.target.parameters())
    output = jepa(views_for(encoder))
    assert gradient_through_target(output, encoder).abs().sum() > 0
    for target in ("ema", "simsiam"):
        with pytest.raises(RuntimeError, match="does not require grad"):
            gradient_through_target(objective(encoder, target=target)(views_for(encoder)), encoder)


def test_the_ema_target_is_in_eval_mode_while_the_context_has_dropout() -> None:
    encoder = encoder_with(dropout=0.5, norm="batch")
    encoder.calibrate(encoder.prepare(five_graphs()))
    jepa = objective(encoder, target="ema").train()
    views = views_for(encoder)
    first, second = jepa(views), jepa(views)
    assert torch.equal(first.target["node"], second.target["node"])
    assert not torch.equal(first.context["node"], second.context["node"])


def test_the_ema_moves_by_its_schedule_once_a_step() -> None:
    """0.9 at the first of ten steps, 1 from the tenth: then it stands still."""
    encoder = encoder_with()
    jepa = objective(encoder, target="ema", momentum=0.9)
    rates = []
    for _ in range(12):
        slow = jepa.target.encoder.features.weight
        with torch.no_grad():
            encoder.features.weight.copy_(slow + 1.0)
        start = slow.clone()
        jepa.after_step()
        rates.append(float((slow - start).mean()))
    expected = [0.05 * (1 + torch.cos(torch.tensor(torch.pi * min(step, 10) / 10)).item()) for step in range(12)]
    assert rates == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("loss", sorted(set(LOSSES) - {"hyperbolic"}))
@pytest.mark.parametrize("jumping", ["concat", "last"])
def test_normalised_targets_are_normalised_layer_by_layer(loss: str, jumping: str) -> None:
    encoder = encoder_with(jumping=jumping)
    views = views_for(encoder)
    output = objective(encoder, loss=loss, normalize_target=True)(views)
    blocks = encoder(views.target)["node"][MASKED].split(8, dim=1)
    assert len(blocks) == (3 if jumping == "concat" else 1)
    wanted = torch.cat(
        [(b - b.mean(1, keepdim=True)) / (b.var(1, False, keepdim=True) + 1e-5).sqrt() for b in blocks], 1
    )
    torch.testing.assert_close(output.total, LOSSES[loss](output.prediction["node"], wanted))
    plain = objective(encoder, loss=loss, normalize_target=False)(views)
    torch.testing.assert_close(plain.total, LOSSES[loss](plain.prediction["node"], torch.cat(blocks, 1)))
    assert abs(float(plain.total.detach() - output.total.detach())) > 1e-4


@pytest.mark.parametrize("normalize_target", [False, True])
@pytest.mark.parametrize("predictor", ["mlp", "cross_attention"])
def test_hyperbolic_targets_are_points_of_the_hyperbola(predictor: str, normalize_target: bool) -> None:
    encoder = encoder_with(pooling="mean")
    options = {"predict": ["node", "graph"], "loss": "hyperbolic", "predictor": predictor}
    views = views_for(encoder, "token", "region")
    output = objective(encoder, **options, normalize_target=normalize_target)(views)
    assert output.prediction["node"].shape == (6, 2)
    assert output.prediction["graph"].shape == (4, 2)
    wanted = encoder(views.target)
    points = {key: hyperbolic_coordinates(rows) for key, rows in (("node", wanted["node"]), ("graph", wanted["graph"]))}
    points["graph"] = points["graph"][[0, 1, 3, 4]]
    terms = [F.smooth_l1_loss(output.prediction[key], points[key]) for key in ("node", "graph")]
    torch.testing.assert_close(output.total, torch.stack(terms).mean())


@pytest.mark.parametrize("predict", [["node"], ["graph"], ["node", "graph"]])
@pytest.mark.parametrize("target", ["ema", "simsiam", "lejepa"])
def test_regularisers_see_what_is_predicted_and_the_target_where_it_is_trained(target: str, predict: list[str]) -> None:
    """All rows of it, masked or not: nodes where nodes are predicted, graphs where graphs are."""
    encoder = encoder_with()
    views = views_for(encoder)
    output = objective(encoder, target=target, isotropy=0.5, predict=predict)(views)
    seen = [encoder(views.context)] + ([encoder(views.target)] if target == "lejepa" else [])
    expected = torch.stack([isotropy_penalty(part[key]) for part in seen for key in predict]).mean()
    loss = torch.stack([output.terms[f"predict/{key}"] for key in predict]).mean()
    torch.testing.assert_close(output.terms["isotropy"], expected.detach())
    torch.testing.assert_close(output.total.detach(), loss + 0.5 * expected.detach())


@pytest.mark.parametrize("name", ["sigreg", "vicreg", "isotropy", "decorrelation"])
def test_each_weight_switches_its_regulariser_on(name: str) -> None:
    encoder = encoder_with()
    views = views_for(encoder)
    output = objective(encoder, **{name: 2.0})(views)
    assert output.terms.keys() == {"predict/node", name}
    torch.testing.assert_close(output.total.detach(), output.terms["predict/node"] + 2 * output.terms[name])
    gradient = torch.autograd.grad(output.total, encoder.features.weight)[0]
    without = torch.autograd.grad(objective(encoder)(views).total, encoder.features.weight)[0]
    assert not torch.allclose(gradient, without)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"target": "byol"}, r"^target = 'byol': expected one of ema, lejepa, simsiam"),
        ({"predictor": "transformer"}, r"^predictor = 'transformer'"),
        ({"predictor_depth": 0}, r"^predictor_depth = 0: expected at least 1"),
        ({"loss": "l1"}, r"^loss = 'l1': expected one of .*smooth_l1"),
        ({"predict": ["edge"]}, r"^predict = 'edge'"),
        ({"predict": []}, r"^predict = \[\]: expected node, graph, or both"),
        ({"momentum": 1.5}, r"^momentum = 1\.5: expected a number in \[0, 1\]"),
        ({"momentum": float("nan")}, r"^momentum = nan"),
        ({"sigreg": -1.0}, r"^sigreg = -1\.0: expected at least 0"),
        ({"vicreg": float("nan")}, r"^vicreg = nan"),
        ({"isotropy": -0.1}, r"^isotropy = -0\.1"),
        ({"decorrelation": -0.1}, r"^decorrelation = -0\.1"),
        ({"loss": "hyperbolic", "predictor": "none"}, r"^loss = 'hyperbolic': expected another loss"),
        ({"loss": "hyperbolic", "standardize": True}, r"^loss = 'hyperbolic': expected another loss"),
    ],
)
def test_bad_options_name_themselves(options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ObjectiveConfig(**options)


def test_without_a_predictor_the_context_is_the_prediction() -> None:
    encoder = encoder_with()
    views = views_for(encoder)
    output = objective(encoder, predictor="none", predict=["node", "graph"])(views)
    context = encoder(views.context)
    torch.testing.assert_close(output.prediction["node"], context["node"][MASKED])
    torch.testing.assert_close(output.prediction["graph"], context["graph"][[0, 1, 3, 4]])


def test_standardised_losses_compare_standardised_columns() -> None:
    encoder = encoder_with()
    views = views_for(encoder)
    output = objective(encoder, standardize=True)(views)
    wanted = standardize(encoder(views.target)["node"][MASKED])
    torch.testing.assert_close(output.total, F.mse_loss(standardize(output.prediction["node"]), wanted))
    plain = objective(encoder, standardize=False)(views)
    assert abs(float(plain.total.detach() - output.total.detach())) > 1e-3


def test_two_contexts_predict_each_other_row_by_row() -> None:
    encoder = encoder_with()
    graphs = encoder.prepare(five_graphs())
    maker = GraphViews(graphs, Masking(strategy="random", ratio=0.5), ViewConfig(context="token", target="view"))
    views = maker(torch.arange(5), torch.Generator().manual_seed(0))
    output = objective(encoder, predict=["node", "graph"])(views)
    assert output.prediction["node"].shape == (14, 24)
    torch.testing.assert_close(output.target["node"], encoder(views.target)["node"])
    torch.testing.assert_close(output.target["graph"], encoder(views.target)["graph"])


def test_cross_attention_without_positions_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"objective\.predictor = 'cross_attention': .*encoder\.position, such as"):
        objective(encoder_with(position="none"), predictor="cross_attention")


def test_heads_that_do_not_divide_the_width_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"encoder\.heads = 3: expected a divisor of hidden = 8"):
        objective(encoder_with(heads=3), predictor="cross_attention")
    objective(encoder_with(heads=3), predictor="mlp")


def test_only_cross_attention_predicts_nodes_that_were_removed() -> None:
    views = ViewConfig(context="drop", target="whole")
    for predictor in ("mlp", "none"):
        message = rf"objective\.predictor = '{predictor}': expected cross_attention .*drop"
        for predict in (["node"], ["node", "graph"]):
            with pytest.raises(ConfigError, match=message):
                PretrainConfig(views=views, objective=ObjectiveConfig(predictor=predictor, predict=predict))
        PretrainConfig(views=views, objective=ObjectiveConfig(predictor=predictor, predict=["graph"]))
    PretrainConfig(
        views=views,
        objective=ObjectiveConfig(predictor="cross_attention", predict=["node"]),
        encoder=EncoderConfig(position="random_walk"),
    )


def test_cross_attention_is_for_masked_nodes_only() -> None:
    for views in (ViewConfig(context="all", drop_edges=0.2), ViewConfig(context="token", target="view")):
        with pytest.raises(ConfigError, match=r"objective\.predictor = 'cross_attention': expected mlp or none"):
            PretrainConfig(views=views, objective=ObjectiveConfig(predictor="cross_attention"))
        PretrainConfig(views=views, objective=ObjectiveConfig(predictor="none"))


def test_export_names_its_choices() -> None:
    with pytest.raises(ConfigError, match=r"export = 'ema': expected one of context, target"):
        PretrainConfig(export="ema")
