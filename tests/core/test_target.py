"""Targets: who encodes, what moves, what gets a gradient."""

import copy

import pytest
import torch
from torch import nn

from jepakit.core import CosineSchedule, EMATarget, SeparateTarget, SharedTarget
from jepakit.errors import ConfigError


def encoder_with_buffers() -> nn.Sequential:
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.5))


def test_ema_moves_parameters_and_buffers_by_the_formula() -> None:
    online = encoder_with_buffers()
    target = EMATarget(online, momentum=0.9)
    before = copy.deepcopy(target.encoder.state_dict())
    online(torch.randn(8, 3) + 5)  # moves the running statistics
    with torch.no_grad():
        online[0].weight.add_(1.0)
    target.update(online)
    after, state = target.encoder.state_dict(), online.state_dict()
    for name in ("0.weight", "1.running_mean", "1.running_var"):
        torch.testing.assert_close(after[name], 0.9 * before[name] + 0.1 * state[name])
    assert int(after["1.num_batches_tracked"]) == 1
    assert int(target.step) == 1


def test_momentum_is_scheduled_per_step_and_survives_a_resume() -> None:
    online = nn.Linear(2, 2)
    target = EMATarget(online, CosineSchedule(0.5, 1.0, total_steps=4))
    used = []
    for _ in range(5):
        start = target.encoder.weight.clone()
        with torch.no_grad():
            online.weight.copy_(start + 1.0)
        target.update(online)
        used.append(1 - float((target.encoder.weight - start).mean()))
        resumed = EMATarget(online, CosineSchedule(0.5, 1.0, total_steps=4))
        resumed.load_state_dict(target.state_dict())
        target = resumed
    assert used == pytest.approx([0.5, 0.573223, 0.75, 0.926777, 1.0], abs=1e-5)


def test_the_ema_copy_stays_in_eval_mode_and_without_gradient() -> None:
    online = encoder_with_buffers()
    target = EMATarget(online).train()
    assert target.training
    assert not any(module.training for module in target.encoder.modules())
    x = torch.randn(8, 3)
    torch.testing.assert_close(target(x, online), target(x, online))  # dropout is off
    assert not target(x, online).requires_grad
    assert not any(p.requires_grad for p in target.parameters())


def test_simsiam_makes_no_copy_and_stops_the_gradient() -> None:
    target = SharedTarget()
    online = nn.Linear(3, 4)
    assert not list(target.parameters())
    embeddings = target(torch.randn(2, 3), online)
    assert not embeddings.requires_grad
    target.update(online)  # nothing to move


def test_a_shared_target_without_stop_gradient_trains_the_encoder() -> None:
    online = nn.Linear(3, 4)
    SharedTarget(stop_gradient=False)(torch.randn(2, 3), online).sum().backward()
    assert online.weight.grad is not None
    assert online.weight.grad.abs().sum() > 0


def test_a_separate_target_is_trained_or_frozen() -> None:
    online, other = nn.Linear(3, 4), nn.Linear(5, 4)
    assert SeparateTarget(other)(torch.randn(2, 5), online).requires_grad
    frozen = SeparateTarget(encoder_with_buffers(), stop_gradient=True).train()
    assert not frozen(torch.randn(4, 3), online).requires_grad
    assert not frozen.encoder.training


@pytest.mark.parametrize("momentum", [-0.1, 1.1, float("nan")])
def test_momentum_outside_its_range_is_refused(momentum: float) -> None:
    with pytest.raises(ConfigError, match="momentum"):
        EMATarget(nn.Linear(1, 1), momentum)
