"""The loss: each term by hand, where its gradient goes, and what a regulariser needs."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from toy_collection import WordEncoder, collection

from jepakit.core import (
    LOSSES,
    PREDICTION_WIDTHS,
    Contrast,
    ContrastiveJEPA,
    EMATarget,
    SIGReg,
    UnitRows,
    isotropy_penalty,
)
from jepakit.errors import ConfigError
from jepakit.retrieval.data import Pairs
from jepakit.retrieval.encoder import Adapter, AdapterConfig, Towers, build_predictor
from jepakit.retrieval.objective import ObjectiveConfig, build_jepa, fit_adapter
from jepakit.retrieval.pretrain import PretrainConfig
from jepakit.retrieval.views import RetrievalViews, ViewConfig
from objective_choices import every_choice

DIM = 6


def rows(count: int, seed: int) -> Tensor:
    return F.normalize(torch.randn(count, DIM, generator=torch.Generator().manual_seed(seed)), dim=-1)


QUERIES, DOCUMENTS = rows(4, 1), rows(5, 2)
PAIRS = Pairs.of([0, 1, 2, 3, 0], [0, 1, 2, 3, 4])


def objective(adapter: AdapterConfig | None = None, **options: object) -> ContrastiveJEPA:
    adapter = adapter or AdapterConfig()
    return build_jepa(Towers(DIM, adapter), build_predictor(DIM, adapter), ObjectiveConfig(**options))  # type: ignore[arg-type]


def batch() -> tuple[Contrast, ...]:
    views = RetrievalViews(QUERIES, DOCUMENTS, PAIRS, ViewConfig("corpus"))
    return views(torch.arange(4), torch.Generator())


def test_before_training_both_terms_are_the_base_models() -> None:
    output = objective(predictive=2.0, contrastive=3.0, temperature=0.1)(batch())
    distance = (QUERIES - DOCUMENTS[:4]).square().sum(-1).mean()
    logits = QUERIES @ DOCUMENTS.T / 0.1
    logits[0, 4] = -torch.inf  # the other right answer of query 0
    contrastive = F.cross_entropy(logits, torch.arange(4))
    torch.testing.assert_close(output.terms["predict"], distance)
    torch.testing.assert_close(output.terms["contrastive"], contrastive)
    torch.testing.assert_close(output.total, 2 * distance + 3 * contrastive)


@pytest.mark.parametrize("stop_gradient", [True, False])
def test_stop_gradient_keeps_the_predictive_term_from_moving_its_target(stop_gradient: bool) -> None:
    adapter = AdapterConfig(projection_depth=1, separate_projections=True)
    jepa = objective(adapter, contrastive=0.0, stop_gradient=stop_gradient)
    jepa(batch()).total.backward()
    (layer,) = jepa.context_encoder.projections["document"].layers  # type: ignore[index,union-attr]
    moved = layer.weight.grad is not None and bool(layer.weight.grad.abs().sum() > 0)
    assert moved is not stop_gradient
    (layer,) = jepa.context_encoder.projections["query"].layers  # type: ignore[index,union-attr]
    assert layer.weight.grad.abs().sum() > 0


def test_the_contrastive_term_moves_both_sides() -> None:
    jepa = objective(AdapterConfig(projection_depth=1, separate_projections=True), predictive=0.0)
    jepa(batch()).total.backward()
    for kind in ("query", "document"):
        (layer,) = jepa.context_encoder.projections[kind].layers  # type: ignore[index,union-attr]
        assert layer.weight.grad.abs().sum() > 0


def test_a_learned_temperature_is_learned_and_logged() -> None:
    jepa = objective(temperature=0.5, learn_temperature=True)
    output = jepa(batch())
    output.total.backward()
    assert jepa.log_temperature.grad is not None
    assert jepa.log_temperature.grad.abs() > 0
    assert float(output.terms["temperature"]) == pytest.approx(0.5)
    assert "temperature" not in objective()(batch()).terms


@pytest.mark.parametrize("term", ["sigreg", "covariance"])
def test_isotropy_tells_spread_unit_vectors_from_collapsed_ones(term: str) -> None:
    adapter = AdapterConfig(projection_depth=1)
    generator = torch.Generator().manual_seed(0)
    spread = F.normalize(torch.randn(300, DIM, generator=generator), dim=-1)
    collapsed = F.normalize(spread * torch.tensor([1.0, *[0.05] * (DIM - 1)]) + 0.5, dim=-1)
    pairs = Pairs.of(list(range(300)), list(range(300)))

    def value(vectors: Tensor) -> float:
        jepa = objective(adapter, isotropy=1.0, isotropy_term=term)
        contrasts = RetrievalViews(vectors, vectors, pairs, ViewConfig())(torch.arange(300), generator)
        return float(jepa(contrasts).terms["isotropy"])

    assert value(collapsed) > 5 * value(spread)


def test_variance_is_0_where_every_dimension_is_wide_enough_and_1_at_a_point() -> None:
    jepa = objective(AdapterConfig(projection_depth=1), variance=1.0)
    point = torch.ones(4, DIM) / DIM**0.5
    contrasts = RetrievalViews(point, point, Pairs.of([0, 1], [0, 1]), ViewConfig())(torch.arange(2), torch.Generator())
    assert float(jepa(contrasts).terms["variance"]) == pytest.approx(0.99, abs=0.01)


@pytest.mark.parametrize("choice", every_choice([name for name in LOSSES if name not in PREDICTION_WIDTHS]), ids=str)
def test_whatever_core_has_registered_can_be_trained_with(choice: dict[str, Any]) -> None:
    dataset = collection(24)
    encoder = WordEncoder()
    queries, documents = (encoder.encode(t, "query") for t in (dataset.queries.texts, dataset.documents.passages))
    network = AdapterConfig(projection_depth=1)
    adapter = Adapter(encoder.dim, base="words", fingerprint="1", **asdict(network))
    config = PretrainConfig(
        epochs=2,
        batch_size=8,
        progress=False,
        accelerator="cpu",
        adapter=network,
        objective=ObjectiveConfig(**choice, isotropy_term="covariance"),
    )
    before = {name: value.clone() for name, value in adapter.state_dict().items()}
    metrics = fit_adapter(adapter, queries, documents, dataset.splits["all"], config).metrics
    (regularizer,) = choice.keys() - {"loss", "target"}
    parts = [metrics[f"train/{name}"] for name in ("predict", "contrastive", regularizer)]
    assert metrics["train/total"] == pytest.approx(parts[0] + parts[1] + 0.1 * parts[2], rel=1e-4)
    assert any(not torch.equal(value, before[name]) for name, value in adapter.state_dict().items())


def test_an_ema_target_is_a_copy_that_moves_by_its_schedule() -> None:
    adapter = AdapterConfig(projection_depth=1)
    towers = Towers(DIM, adapter)
    jepa = build_jepa(towers, build_predictor(DIM, adapter), ObjectiveConfig(target="ema", momentum=0.5), total_steps=1)
    assert isinstance(jepa.target, EMATarget)
    with torch.no_grad():
        for parameter in towers.parameters():
            parameter.add_(1.0)
    jepa.after_step()
    slow, fast = (next(part.parameters()) for part in (jepa.target.encoder, towers))
    torch.testing.assert_close(slow, fast - 0.5)
    assert not jepa(batch()).target.requires_grad  # type: ignore[union-attr]


def test_isotropy_weighs_sigreg_unless_it_is_the_covariance() -> None:
    adapter = AdapterConfig(projection_depth=1)
    weight, weighed = objective(adapter, isotropy=0.5).regularizers["isotropy"]
    assert weight == 0.5
    assert isinstance(weighed, UnitRows)
    assert isinstance(weighed.function, SIGReg)
    _, covariance = objective(adapter, isotropy=0.5, isotropy_term="covariance").regularizers["isotropy"]
    assert isinstance(covariance, UnitRows)
    assert covariance.function is isotropy_penalty


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"isotropy": 1.0}, "isotropy = 1.0: expected 0 where projection_depth is 0"),
        ({"variance": 1.0}, "variance = 1.0: expected 0 where projection_depth is 0"),
        ({"predictive": 0.0, "contrastive": 0.0}, "contrastive = 0: expected above 0 where predictive is 0"),
        ({"temperature": 0.0}, "temperature = 0.0: expected a number above 0"),
        ({"loss": "hyperbolic"}, "loss = 'hyperbolic'"),
        ({"loss": "cosin"}, "loss = 'cosin': .*did you mean 'cosine'"),
        ({"target": "shared"}, "target = 'shared'"),
        ({"predictive": -1.0}, "predictive = -1.0: expected at least 0"),
    ],
)
def test_weights_that_make_no_sense_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match="^" + message):
        objective(**options)
