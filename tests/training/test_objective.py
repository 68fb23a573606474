"""The objective as options: names are keys of tables, what is added there can be chosen, bad values are named."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from jepakit.core import (
    LOSSES,
    PREDICTORS,
    REGULARIZERS,
    TARGETS,
    CosineSchedule,
    EMATarget,
    IdentityPredictor,
    MLPPredictor,
    SharedTarget,
    UnitRows,
)
from jepakit.errors import ConfigError
from jepakit.training import ObjectiveConfig, RegularizerConfig
from jepakit.training.objective import build_predictor, build_regularizers, build_target


def test_every_regulariser_has_a_weight_and_every_weight_a_regulariser() -> None:
    assert {field.name for field in fields(RegularizerConfig)} == REGULARIZERS.keys()


def test_a_loss_that_is_added_to_the_table_can_be_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    def absolute(prediction: Tensor, target: Tensor) -> Tensor:
        return (prediction - target).abs().mean()

    with pytest.raises(ConfigError) as caught:
        ObjectiveConfig(loss="absolute")
    assert (caught.value.field, caught.value.value) == ("loss", "absolute")
    monkeypatch.setitem(LOSSES, "absolute", absolute)
    assert ObjectiveConfig(loss="absolute").loss == "absolute"


@pytest.mark.parametrize(
    ("options", "field", "nearest"),
    [
        ({"loss": "smoth_l1"}, "loss", "smooth_l1"),
        ({"target": "simsiamese"}, "target", "simsiam"),
        ({"predictor": "cross_atention"}, "predictor", "cross_attention"),
        ({"predictor_depth": 0}, "predictor_depth", None),
        ({"momentum": float("nan")}, "momentum", None),
        *[({name: -1.0}, name, None) for name in REGULARIZERS],
        ({"loss": "hyperbolic", "predictor": "none"}, "loss", None),
        ({"target": "lejepa"}, "sigreg", None),
    ],
)
def test_bad_values_are_named_with_the_nearest_name(options: dict[str, Any], field: str, nearest: str | None) -> None:
    with pytest.raises(ConfigError) as caught:
        ObjectiveConfig(**options)
    assert caught.value.field == field
    if nearest is not None:
        assert f"{nearest!r}" in caught.value.expected


@pytest.mark.parametrize("name", TARGETS)
def test_targets_are_those_of_their_names(name: str) -> None:
    encoder = nn.Linear(3, 3)
    target = build_target(ObjectiveConfig(target=name, sigreg=0.1), encoder, total_steps=4)
    assert target.trains is (name == "lejepa")
    assert isinstance(target, EMATarget if name == "ema" else SharedTarget)
    target.check(encoder)


def test_the_momentum_follows_a_schedule_where_the_steps_are_known() -> None:
    config, encoder = ObjectiveConfig(momentum=0.9), nn.Linear(3, 3)
    scheduled, constant = build_target(config, encoder, total_steps=4), build_target(config, encoder)
    assert isinstance(scheduled, EMATarget)
    assert isinstance(constant, EMATarget)
    assert scheduled.momentum == CosineSchedule(0.9, 1.0, 4)
    assert constant.momentum == 0.9


def test_regularisers_have_the_weights_that_are_above_0() -> None:
    config = ObjectiveConfig(vicreg=0.5, isotropy=0.25)
    assert {name: weight for name, (weight, _) in build_regularizers(config).items()} == {
        "vicreg": 0.5,
        "isotropy": 0.25,
    }
    assert all(isinstance(term, UnitRows) for _, term in build_regularizers(config, UnitRows).values())


@pytest.mark.parametrize("name", PREDICTORS)
@pytest.mark.parametrize(("loss", "width"), [("mse", 6), ("hyperbolic", 2)])
def test_a_predictor_has_the_width_of_its_loss(name: str, loss: str, width: int) -> None:
    if (name, loss) == ("none", "hyperbolic"):
        return
    config = ObjectiveConfig(loss=loss, predictor=name, predictor_depth=3)
    predictor = build_predictor(config, 6, hidden=8, position_dim=2, heads=2)
    if isinstance(predictor, IdentityPredictor):
        return
    outputs = [layer.out_features for layer in predictor.modules() if isinstance(layer, nn.Linear)]
    assert outputs[-1] == width
    if isinstance(predictor, MLPPredictor):
        assert outputs == [16, 16, width]
        assert predictor(torch.randn(4, 6)).shape == (4, width)
