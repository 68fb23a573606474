"""Training: phases, groups, freezing, clipping, stopping, what is logged, and going on after an interruption."""

from __future__ import annotations

import copy
import logging
import math
import re
import signal
import sys
import threading
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.optim.optimizer import register_optimizer_step_post_hook
from torch.utils.data import DataLoader, IterableDataset
from toy_runs import rows_but_seconds
from toy_training import BATCH, STEPS, Head, config, data, make_head, make_jepa, make_loader

from jepakit.core import JEPA, Views, diagnose
from jepakit.errors import ConfigError, MissingExtraError, ModelError
from jepakit.training import FitConfig, RunFolder, fit
from jepakit.training.module import FINITE_EVERY
from jepakit.training.storage.checkpoint import read_checkpoint
from jepakit.training.trainer import parameter_groups
from processes import LIMIT


class InterruptionError(Exception):
    """Stands for whatever ends a run between two epochs."""


def stops_at(epoch: int, error: type[BaseException] = InterruptionError) -> Any:
    """An ``embed`` that fails at its ``epoch``-th look, which with ``diagnose_every=1`` is that epoch's end."""
    looks = iter(range(1000))

    def embed() -> tuple[Tensor, None]:
        if next(looks) == epoch:
            raise error
        return data(), None

    return embed


class Snapshots:
    """An ``embed`` that copies a module's parameters at every look."""

    def __init__(self, module: nn.Module) -> None:
        self.module, self.taken = module, [copy.deepcopy(module.state_dict())]

    def __call__(self) -> tuple[Tensor, None]:
        self.taken.append(copy.deepcopy(self.module.state_dict()))
        return data(), None

    def moved(self, name: str) -> list[bool]:
        """Whether a tensor changed in each epoch."""
        values = [state[name] for state in self.taken]
        return [not torch.equal(a, b) for a, b in pairwise(values)]


def same_state(a: nn.Module, b: nn.Module) -> bool:
    ours, theirs = a.state_dict(), b.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


# What a run is


def test_a_run_is_a_function_of_its_seed(tmp_path: Path) -> None:
    jepas = [make_jepa() for _ in range(3)]
    for jepa, seed, name in zip(jepas, (0, 0, 1), "abc", strict=True):
        torch.manual_seed(len(name) + seed)
        fit(jepa, make_loader(seed), config(epochs=2), run=RunFolder(tmp_path / name))
    assert same_state(jepas[0], jepas[1])
    assert not same_state(jepas[0], jepas[2])
    assert rows_but_seconds(tmp_path / "a") == rows_but_seconds(tmp_path / "b")


def test_the_callers_generators_are_untouched() -> None:
    # Not Python's own: the type checks of the tests draw from it.
    torch.manual_seed(3)
    np.random.seed(3)  # noqa: NPY002 -- the global one is what is watched
    before = torch.random.get_rng_state(), str(np.random.get_state())  # noqa: NPY002
    fit(make_jepa(), make_loader(), config(epochs=2))
    with pytest.raises(InterruptionError):
        fit(make_jepa(), make_loader(), config(epochs=2, diagnose_every=1), embed=stops_at(0))
    assert torch.equal(torch.random.get_rng_state(), before[0])
    assert str(np.random.get_state()) == before[1]  # noqa: NPY002


def test_without_a_run_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    fit(make_jepa(), make_loader(), config(epochs=2))
    assert list(tmp_path.iterdir()) == []


def test_the_result_counts_epochs_and_steps_and_has_the_last_row(tmp_path: Path) -> None:
    result = fit(make_jepa(), make_loader(), config(epochs=3), run=RunFolder(tmp_path))
    last = rows_but_seconds(tmp_path)[-1]
    assert (result.epochs, result.steps, result.stopped_early) == (3, 3 * STEPS, False)
    assert result.metrics == {name: pytest.approx(float(last[name]), rel=1e-6) for name in last if "/" in name}
    assert {"train/total", "train/predict", "train/sigreg", "train/loss_jepa"} <= result.metrics.keys()


class Stream(IterableDataset[Tensor]):
    """Rows that no length is known of."""

    def __iter__(self) -> Iterator[Tensor]:
        return iter(data())


class Passes:
    """Batches made anew on each pass, as many as the passes before."""

    def __init__(self) -> None:
        self.count = 0

    def __iter__(self) -> Iterator[Views]:
        self.count += 1
        return iter(list(make_loader()))


def _both(rows: list[Tensor]) -> Views:
    return Views(torch.stack(rows), torch.stack(rows))


def test_any_iterable_of_batches_trains() -> None:
    of_loader, of_list = make_jepa(), make_jepa()
    fit(of_loader, make_loader(), config(epochs=1))
    result = fit(of_list, list(make_loader()), config(epochs=1))
    assert (result.epochs, result.steps) == (1, STEPS)
    assert all(torch.equal(a, b) for a, b in zip(of_loader.parameters(), of_list.parameters(), strict=True))
    passes = Passes()
    assert fit(make_jepa(), passes, config(epochs=2)).steps == 2 * STEPS
    assert passes.count >= 3  # one to count them, and one an epoch
    for rows in (list(data()), Stream()):
        batches = DataLoader(rows, batch_size=BATCH, collate_fn=_both)
        assert fit(make_jepa(), batches, config(epochs=2)).steps == 2 * STEPS


@pytest.mark.parametrize(
    ("batches", "changes", "message"),
    [
        (iter([1]), {}, "loader = 'list_iterator': expected a list, a DataLoader"),
        ([], {}, "loader = 'no batches'"),
        ([1], {"devices": 2}, "devices = 2: expected 1, or an EpochLoader"),
    ],
)
def test_batches_that_do_not_last_are_refused(batches: Any, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        fit(make_jepa(), batches, config(**changes))


def test_every_epoch_logs_the_mean_of_its_own_steps(tmp_path: Path) -> None:
    head = make_head(make_jepa().context_encoder)
    fit(None, make_loader(), config(epochs=4), task=head, run=RunFolder(tmp_path))
    rows = rows_but_seconds(tmp_path)
    means = torch.tensor(head.losses).reshape(4, STEPS).mean(1)
    assert [(row["epoch"], row["step"]) for row in rows] == [(str(e), str((e + 1) * STEPS)) for e in range(4)]
    torch.testing.assert_close(torch.tensor([float(row["train/total"]) for row in rows]), means)
    assert len(set(means.tolist())) == 4


def test_every_epoch_sees_every_example_in_an_order_of_its_own() -> None:
    seen: list[Tensor] = []

    class Watching(Scripted):
        def forward(self, views: Views) -> Tensor:
            seen.append(views.target[:, 0])
            return super().forward(views)

    for _ in range(2):  # a loader that has been through a run begins the next at its first epoch
        seen.clear()
        loader = make_loader()
        fit(None, loader, config(epochs=2), task=Watching(by_epoch(1, 1)))
        fit(None, loader, config(epochs=1), task=Watching(by_epoch(1)))
    first, second, again = (torch.cat(seen[e * STEPS : (e + 1) * STEPS]) for e in range(3))
    assert not torch.equal(first, second)
    assert torch.equal(first, again)
    for values in (first, second):
        assert torch.equal(values.sort().values, data()[:, 0].sort().values)


def test_the_embeddings_are_looked_at_first_last_and_every_few_epochs(tmp_path: Path) -> None:
    jepa = make_jepa()
    seen: list[Tensor] = []

    def embed() -> tuple[Tensor, None]:
        jepa.eval()
        seen.append(jepa.context_encoder(data()).detach())
        jepa.train()
        return seen[-1], None

    fit(jepa, make_loader(), config(epochs=8, diagnose_every=3), run=RunFolder(tmp_path), embed=embed)
    rows = rows_but_seconds(tmp_path)
    looked = [int(row["epoch"]) for row in rows if row["diagnostics/effective_rank"]]
    assert looked == [0, 3, 6, 7]
    for epoch, embeddings in zip(looked, seen, strict=True):
        for name, value in diagnose(embeddings).values.items():
            assert float(rows[epoch][f"diagnostics/{name}"]) == pytest.approx(value, rel=1e-6)


# Two phases


def test_jepa_alone_then_both(tmp_path: Path) -> None:
    jepa = make_jepa()
    head = make_head(jepa.context_encoder)
    snapshots = Snapshots(head)
    settings = config(epochs=5, jepa_pretrain_epochs=2, jepa_weight=0.25, diagnose_every=1)
    fit(jepa, make_loader(), settings, task=head, run=RunFolder(tmp_path), embed=snapshots)
    rows = rows_but_seconds(tmp_path)
    assert [bool(row["train/task"]) for row in rows] == [False, False, True, True, True]
    for row in rows:
        task = 0.25 * float(row["train/loss_jepa"]) + float(row["train/task"] or 0)
        expected = task if row["train/task"] else float(row["train/loss_jepa"])
        assert float(row["train/total"]) == pytest.approx(expected, rel=1e-5)
        assert float(row["train/loss_jepa"]) == pytest.approx(
            float(row["train/predict"]) + 0.1 * float(row["train/sigreg"]), rel=1e-5
        )
    assert len(head.losses) == 3 * STEPS
    assert snapshots.moved("head.weight") == [False, False, True, True, True]
    assert snapshots.moved("encoder.first.weight") == [True] * 5


def test_the_total_is_task_plus_weight_times_jepa_to_the_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    from jepakit.training import module as training_module

    totals: list[tuple[Tensor, dict[str, Tensor]]] = []
    losses = training_module.FitModule.losses

    def recorded(self: Any, batch: Any) -> tuple[Tensor, dict[str, Tensor]]:
        totals.append(losses(self, batch))
        return totals[-1]

    monkeypatch.setattr(training_module.FitModule, "losses", recorded)
    jepa = make_jepa()
    fit(
        jepa,
        make_loader(),
        config(epochs=2, jepa_pretrain_epochs=1, jepa_weight=0.3),
        task=make_head(jepa.context_encoder),
    )
    assert all(torch.equal(total, terms["loss_jepa"]) for total, terms in totals[:STEPS])
    assert all(torch.equal(total, terms["task"] + 0.3 * terms["loss_jepa"]) for total, terms in totals[STEPS:])


def test_named_losses_of_a_task_are_summed_and_never_mistaken_for_others(tmp_path: Path) -> None:
    class Two(Head):
        def forward(self, views: Views) -> Any:
            loss = super().forward(views)
            return {"total": loss, "predict": 2 * loss}

    jepa = make_jepa()
    fit(jepa, make_loader(), config(epochs=1), task=Two(jepa.context_encoder), run=RunFolder(tmp_path))
    row = {name: float(value) for name, value in rows_but_seconds(tmp_path)[0].items()}
    assert row["train/task/predict"] == pytest.approx(2 * row["train/task/total"])
    assert row["train/total"] == pytest.approx(3 * row["train/task/total"] + row["train/loss_jepa"], rel=1e-5)


@pytest.mark.parametrize("jepa_pretrain_epochs", [0, 2])
def test_the_ema_moves_once_a_step_with_the_momentum_of_that_step(jepa_pretrain_epochs: int) -> None:
    asked: list[int] = []

    def momentum(step: int) -> float:
        asked.append(step)
        return 0.5

    jepa = make_jepa(momentum)
    online, slow = jepa.context_encoder.second, jepa.target.encoder.second
    trail = [slow.weight.clone()]
    # After the optimiser's step and before the next one: the forward pass sees the weights the EMA has just read.
    jepa.context_encoder.register_forward_pre_hook(lambda *_: trail.append(online.weight.detach().clone()))
    task = make_head(jepa.context_encoder) if jepa_pretrain_epochs else None
    settings = config(epochs=3, jepa_pretrain_epochs=jepa_pretrain_epochs, batch_size=BATCH)
    result = fit(jepa, make_loader(), settings, task=task)
    assert asked == list(range(result.steps))
    assert int(jepa.target.step) == result.steps == 3 * STEPS
    if task is None:
        expected = trail[0]
        for weight in [*trail[2:], online.weight]:
            expected = expected.lerp(weight, 0.5)
        torch.testing.assert_close(slow.weight, expected)


# Parameters


def test_each_prefix_has_its_rate() -> None:
    jepa = make_jepa()
    before = {name: value.detach().clone() for name, value in jepa.named_parameters()}
    rates = {"context_encoder": 1e-4, "context_encoder.second": 1e-5}
    loader = make_loader()
    loader.batch_size = loader.size
    fit(jepa, loader, config(epochs=1, weight_decay=0.0, warmup_epochs=0, learning_rates=rates, learning_rate=1e-2))
    # The first step of Adam moves a parameter by its rate, whatever the size of the gradient.
    for prefix, rate in {"context_encoder.first": 1e-4, "context_encoder.second": 1e-5, "predictor": 1e-2}.items():
        steps = [(p.detach() - before[n]).abs().max() for n, p in jepa.named_parameters() if n.startswith(prefix)]
        assert float(max(steps)) == pytest.approx(rate, rel=0.02), prefix


def test_weight_decay_shrinks_matrices_and_nothing_else() -> None:
    groups = parameter_groups(nn.ModuleDict({"jepa": make_jepa()}), config(learning_rates={"predictor": 0.5}))
    assert {(group["lr"], group["weight_decay"]) for group in groups} == {
        (0.5, 0.05),
        (0.5, 0.0),
        (1e-3, 0.05),
        (1e-3, 0.0),
    }
    for group in groups:
        assert all((parameter.ndim > 1) == (group["weight_decay"] > 0) for parameter in group["params"])
    ids = [id(parameter) for group in groups for parameter in group["params"]]
    trained = [p for name, p in make_jepa().named_parameters() if not name.startswith("target.")]
    assert len(ids) == len(set(ids)) == len(trained)


def test_frozen_parameters_stay_to_the_bit_until_they_are_unfrozen() -> None:
    jepa = make_jepa()
    snapshots = Snapshots(jepa)
    frozen = ["context_encoder.first", "predictor"]
    fit(jepa, make_loader(), config(epochs=5, freeze=frozen, unfreeze_epoch=2, diagnose_every=1), embed=snapshots)
    assert snapshots.moved("context_encoder.first.weight") == [False, False, True, True, True]
    assert snapshots.moved("context_encoder.second.weight") == [True] * 5
    assert snapshots.moved(next(name for name in jepa.state_dict() if name.startswith("predictor"))) == [
        False,
        False,
        True,
        True,
        True,
    ]


def test_what_was_frozen_can_be_trained_again_afterwards() -> None:
    jepa = make_jepa()
    first = jepa.context_encoder.first.weight
    before = first.detach().clone()
    fit(jepa, make_loader(), config(epochs=2, freeze=["context_encoder"]))
    assert torch.equal(first, before)
    assert first.requires_grad
    assert not jepa.target.encoder.first.weight.requires_grad
    fit(jepa, make_loader(), config(epochs=1))
    assert not torch.equal(first, before)


def test_what_the_caller_froze_stays_frozen() -> None:
    jepa = make_jepa()
    first = jepa.context_encoder.first.weight.requires_grad_(False)
    before = first.detach().clone()
    fit(jepa, make_loader(), config(epochs=2, freeze=["context_encoder.first"], unfreeze_epoch=0))
    assert torch.equal(first, before)
    assert not first.requires_grad


def test_gradients_are_clipped_to_the_norm() -> None:
    def norms(**changes: Any) -> list[float]:
        taken: list[float] = []

        def look(optimizer: torch.optim.Optimizer, *_: object) -> None:
            gradients = [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
            taken.append(float(torch.stack([gradient.norm() for gradient in gradients]).norm()))

        handle = register_optimizer_step_post_hook(look)
        fit(make_jepa(), make_loader(), config(epochs=1, **changes))
        handle.remove()
        assert len(taken) == STEPS
        return taken

    free = norms(clip_norm=0)
    assert min(free) > 0.05
    assert norms(clip_norm=0.05) == pytest.approx([0.05] * STEPS, rel=1e-3)


def test_mixed_precision_computes_in_bfloat16_and_keeps_weights_in_float32() -> None:
    jepa = make_jepa()
    result = fit(jepa, make_loader(), config(epochs=2, precision="bf16-mixed"))
    assert jepa.context_encoder.dtypes == {torch.bfloat16}
    assert {p.dtype for p in jepa.parameters()} == {torch.float32}
    assert 0 < result.metrics["train/total"] < 100


# Stopping


class Scripted(nn.Module):
    """A task whose loss at each step is what the script says, with a gradient of zero."""

    def __init__(self, script: Iterator[float]) -> None:
        super().__init__()
        self.weight, self.script, self.steps = nn.Parameter(torch.ones(1)), script, 0

    def forward(self, views: Views) -> Tensor:
        self.steps += 1
        return (self.weight * 0).sum() + next(self.script)


def by_epoch(*losses: float) -> Iterator[float]:
    return iter([loss for loss in losses for _ in range(STEPS)])


def test_patience_counts_epochs_without_a_fall_and_a_stopped_run_stays_stopped(tmp_path: Path) -> None:
    run, settings = RunFolder(tmp_path), config(epochs=20, patience=2)
    task = Scripted(by_epoch(3, 2, 2.5, 1, 1.5, 1, 99))
    result = fit(None, make_loader(), settings, task=task, run=run)
    assert (result.epochs, result.steps, result.stopped_early) == (6, 6 * STEPS, True)
    rows = rows_but_seconds(tmp_path)
    assert [float(row["train/total"]) for row in rows] == [3, 2, 2.5, 1, 1.5, 1]
    again = fit(None, make_loader(), settings, task=Scripted(iter(())), run=run, resume=True)
    assert (again.epochs, again.steps, again.stopped_early) == (6, 6 * STEPS, True)
    assert again.metrics == {"train/task": 1.0, "train/total": 1.0}
    assert rows_but_seconds(tmp_path) == rows


def test_a_run_stops_when_the_loss_is_low_enough_and_stays_stopped(tmp_path: Path) -> None:
    run, settings = RunFolder(tmp_path), config(epochs=20, stop_loss=1.5)
    result = fit(None, make_loader(), settings, task=Scripted(by_epoch(3, 4, 1.5, 2, 1.4, 99)), run=run)
    assert (result.epochs, result.stopped_early) == (5, True)
    again = fit(None, make_loader(), settings, task=Scripted(iter(())), run=run, resume=True)
    assert (again.epochs, again.stopped_early) == (5, True)


def test_the_patience_of_a_resumed_run_has_already_waited(tmp_path: Path) -> None:
    run, settings = RunFolder(tmp_path), config(epochs=20, patience=3, diagnose_every=1)
    with pytest.raises(InterruptionError):
        fit(None, make_loader(), settings, task=Scripted(by_epoch(1, 2, 2, 2)), run=run, embed=stops_at(3))
    result = fit(None, make_loader(), settings, task=Scripted(by_epoch(2, 2)), run=run, resume=True)
    assert (result.epochs, result.stopped_early) == (4, True)


def test_patience_waits_for_the_task(tmp_path: Path) -> None:
    # Without a rate the loss of JEPA only wavers, and that of the task is far above it: neither may end the run.
    task = Scripted(by_epoch(1000, 999, 998, 998))
    settings = config(epochs=12, jepa_pretrain_epochs=5, patience=1, learning_rate=1e-30, jepa_weight=0)
    result = fit(make_jepa(), make_loader(), settings, task=task, run=RunFolder(tmp_path))
    rows = [float(row["train/total"]) for row in rows_but_seconds(tmp_path)]
    assert any(after >= before for before, after in pairwise(rows[:5]))
    assert (result.epochs, result.stopped_early) == (9, True)
    assert task.steps == 4 * STEPS


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number_ends_the_run_and_leaves_the_last_good_epoch(bad: float, tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    task = Scripted(by_epoch(2, bad, 1, 1))
    with pytest.raises(ModelError, match=r"^epoch 1: the loss or a weight is no longer a finite number; lower learni"):
        fit(None, make_loader(), config(), task=task, run=run)
    assert task.steps == 2 * STEPS
    assert [row["epoch"] for row in rows_but_seconds(tmp_path)] == ["0"]
    assert not list(tmp_path.rglob("*.partial"))
    assert all(value.isfinite().all() for value in read_checkpoint(run.checkpoint)["state_dict"].values())
    result = fit(None, make_loader(), config(), task=Scripted(by_epoch(1, 1, 1, 1, 1)), run=run, resume=True)
    assert result.epochs == 6


def test_a_long_epoch_is_not_waited_for() -> None:
    loader = make_loader()
    loader.batch_size = 1
    losses = iter([1.0, float("nan")] + [1.0] * loader.size)
    task = Scripted(losses)
    with pytest.raises(ModelError, match="epoch 0"):
        fit(None, loader, config(), task=task)
    assert task.steps == FINITE_EVERY < len(loader)


def test_a_weight_that_is_no_number_is_never_saved(tmp_path: Path) -> None:
    class InfiniteGradient(Scripted):
        def forward(self, views: Views) -> Tensor:
            # The square root of zero: the loss is 0, its gradient is not a number.
            self.steps += 1
            return (self.weight - self.weight.detach()).sqrt().sum() if self.steps == STEPS else (self.weight**2).sum()

    run = RunFolder(tmp_path)
    with pytest.raises(ModelError, match="epoch 0: the loss or a weight"):
        fit(None, make_loader(), config(clip_norm=0), task=InfiniteGradient(iter(())), run=run)
    assert not run.checkpoint.exists()


# Going on


def whole_and_resumed(tmp_path: Path, settings: FitConfig, *, with_task: bool, stop: int = 3) -> tuple[Any, Any]:
    models: list[nn.ModuleDict] = []
    for name in ("whole", "resumed"):
        run = RunFolder(tmp_path / name)
        for error in (True, False) if name == "resumed" else (False,):
            jepa = make_jepa()
            task = make_head(jepa.context_encoder) if with_task else None
            embed = stops_at(stop if error else 1000)
            arguments: dict[str, Any] = {"run": run, "task": task, "embed": embed, "resume": not error}
            if error:
                with pytest.raises(InterruptionError):
                    fit(jepa, make_loader(), settings, **arguments)
                assert len(rows_but_seconds(run.path)) == stop
            else:
                result = fit(jepa, make_loader(), settings, **arguments)
                assert result.steps == settings.epochs * STEPS
        models.append(nn.ModuleDict({"jepa": jepa} | ({"task": task} if task else {})))
    return models[0], models[1]


@pytest.mark.parametrize("stop", [1, 4])
@pytest.mark.parametrize(
    ("with_task", "changes"),
    [
        (False, {}),
        (True, {"jepa_pretrain_epochs": 3, "jepa_weight": 0.5}),
        (False, {"freeze": ["predictor"], "unfreeze_epoch": 4, "learning_rates": {"predictor": 1e-4}}),
        (False, {"checkpoint_every": 2, "patience": 5}),
        (False, {"precision": "bf16-mixed"}),
    ],
)
def test_a_resumed_run_is_the_uninterrupted_run(
    with_task: bool, changes: dict[str, Any], stop: int, tmp_path: Path
) -> None:
    settings = config(diagnose_every=1, **changes)
    whole, resumed = whole_and_resumed(tmp_path, settings, with_task=with_task, stop=stop)
    assert same_state(whole, resumed)
    assert rows_but_seconds(tmp_path / "whole") == rows_but_seconds(tmp_path / "resumed")


def test_a_finished_run_that_is_resumed_has_its_weights_and_numbers(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    trained, restored = make_jepa(), make_jepa(seed=9)
    first = fit(trained, make_loader(), config(), run=run)
    rows = run.metrics.read_text()
    second = fit(restored, make_loader(), config(), run=run, resume=True)
    assert same_state(trained, restored)
    assert (second.epochs, second.steps, second.stopped_early) == (first.epochs, first.steps, False)
    assert second.metrics == {name: pytest.approx(value, rel=1e-6) for name, value in first.metrics.items()}
    assert run.metrics.read_text() == rows


def test_resuming_where_nothing_was_saved_begins(tmp_path: Path) -> None:
    assert fit(make_jepa(), make_loader(), config(epochs=2), run=RunFolder(tmp_path), resume=True).epochs == 2


def test_a_checkpoint_of_another_model_names_the_tensor_and_is_kept(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    fit(make_jepa(), make_loader(), config(epochs=1), run=run)
    written = run.checkpoint.read_bytes()
    wider = make_jepa(width=7)
    with pytest.raises(ModelError, match=r"last\.safetensors: .*encoder\.first\.weight \(8, 6\) .*\(8, 7\)"):
        fit(wider, make_loader(), config(epochs=1), run=run, resume=True)
    with pytest.raises(ModelError, match=r"last\.safetensors: .*missing: task\.weight; unexpected: jepa\."):
        fit(None, make_loader(), config(epochs=1), task=Scripted(iter(())), run=run, resume=True)
    assert run.checkpoint.read_bytes() == written


@pytest.mark.parametrize(
    "changes",
    [
        {"learning_rate": 0.5},
        {"weight_decay": 0.5},
        {"freeze": ["predictor"]},
        {"learning_rates": {"predictor": 0.1}},
        {"epochs": 9},
    ],
)
def test_a_checkpoint_trained_otherwise_is_not_gone_on_with(changes: dict[str, Any], tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    fit(make_jepa(), make_loader(), config(epochs=1), run=run)
    with pytest.raises(ConfigError) as raised:
        fit(make_jepa(), make_loader(), config(**{"epochs": 1, **changes}), run=run, resume=True)
    assert (raised.value.field, raised.value.value) == ("resume", True)
    assert str(run.checkpoint) in raised.value.expected


@pytest.mark.parametrize("keep", [0, 5, 1000, -1])
def test_a_damaged_checkpoint_is_an_error_that_says_what_to_do(keep: int, tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    fit(make_jepa(), make_loader(), config(epochs=1), run=run)
    written, rows = run.checkpoint.read_bytes()[:keep], run.metrics.read_bytes()
    run.checkpoint.write_bytes(written)
    with pytest.raises(ModelError, match=rf"^{run.checkpoint}: .*delete it, and --resume begins the run again"):
        fit(make_jepa(), make_loader(), config(epochs=1), run=run, resume=True)
    assert (run.checkpoint.read_bytes(), run.metrics.read_bytes()) == (written, rows)


def test_ctrl_c_reaches_the_caller_and_works_again_afterwards(tmp_path: Path) -> None:
    run, settings = RunFolder(tmp_path), config(diagnose_every=1)
    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        fit(make_jepa(), make_loader(), settings, run=run, embed=stops_at(2, KeyboardInterrupt))
    assert signal.getsignal(signal.SIGINT) is handler
    assert fit(make_jepa(), make_loader(), settings, run=run, resume=True, embed=stops_at(1000)).epochs == 6


def test_an_exit_of_the_callers_own_stays_an_exit() -> None:
    with pytest.raises(SystemExit):
        fit(make_jepa(), make_loader(), config(diagnose_every=1), embed=stops_at(1, SystemExit))


@pytest.mark.parametrize("bad", [False, True])
def test_the_loggers_of_lightning_keep_their_levels(bad: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    names = {"pytorch_lightning": logging.WARNING, "lightning_fabric": logging.DEBUG}
    for name, level in names.items():
        monkeypatch.setattr(logging.getLogger(name), "level", level)
    if bad:
        with pytest.raises(ConfigError):
            fit(make_jepa(), make_loader(), config(epochs=1, precision="16-mixed"))
    else:
        fit(make_jepa(), make_loader(), config(epochs=1))
    assert {name: logging.getLogger(name).level for name in names} == names


def test_it_runs_in_a_thread() -> None:
    results: list[int] = []
    thread = threading.Thread(target=lambda: results.append(fit(make_jepa(), make_loader(), config(epochs=1)).steps))
    thread.start()
    thread.join(LIMIT)
    assert results == [STEPS]


# Options that do not fit


@pytest.mark.parametrize(
    "changes",
    [
        *[{name: 0} for name in ("epochs", "batch_size", "devices", "patience", "checkpoint_every", "diagnose_every")],
        *[{name: -1} for name in ("seed", "unfreeze_epoch", "jepa_pretrain_epochs", "clip_norm", "jepa_weight")],
        {"seed": 2**63},
        {"learning_rate": 0.0},
        {"stop_loss": 0.0},
        {"learning_rate": math.nan},
        {"learning_rates": {"encoder": math.inf}},
        {"weight_decay": math.nan},
        {"warmup_epochs": math.inf},
        {"unfreeze_epoch": 2},  # of nothing that is frozen
    ],
)
def test_options_outside_their_range(changes: dict[str, Any]) -> None:
    with pytest.raises(ConfigError) as raised:
        FitConfig(**changes)
    ((field, value),) = changes.items()
    if isinstance(value, dict):
        field, value = f"{field}.encoder", value["encoder"]
    assert (raised.value.field, str(raised.value.value)) == (field, str(value))


@pytest.mark.parametrize(
    ("parts", "changes", "message"),
    [
        ("", {}, "^jepa = None: expected an objective, a task, or both$"),
        ("jepa", {"jepa_pretrain_epochs": 2}, "^jepa_pretrain_epochs = 2: expected 0 where there is no task$"),
        ("jepa", {"jepa_weight": 0.5}, "^jepa_weight = 0.5: expected 1.0 where there is no task$"),
        ("task", {"jepa_pretrain_epochs": 2}, "^jepa_pretrain_epochs = 2: expected 0 where there is no objective$"),
        ("jepa task", {"jepa_pretrain_epochs": 6}, "^jepa_pretrain_epochs = 6: expected below epochs = 6$"),
        (
            "jepa",
            {"freeze": ["decoder"]},
            "^freeze = 'decoder': expected the beginning of a parameter's name: context_en",
        ),
        ("jepa", {"freeze": ["context"]}, "^freeze = 'context': expected the beginning"),
        ("jepa", {"learning_rates": {"head": 1.0}}, "^learning_rates = 'head': expected the beginning of a param"),
        ("jepa", {"freeze": ["context_encoder", "predictor"]}, "^freeze = .*: expected something left to train$"),
        (
            "jepa task",
            {"jepa_pretrain_epochs": 2, "freeze": ["context_encoder", "predictor"]},
            "something left to train$",
        ),
        ("jepa", {"precision": "16-mixed"}, "^precision = '16-mixed': expected bf16-mixed or 32-true on a CPU$"),
        ("jepa", {"logger": "tensorboard"}, "^logger = 'tensorboard': expected none where there is no run folder$"),
    ],
)
def test_options_that_do_not_go_together(parts: str, changes: dict[str, Any], message: str) -> None:
    jepa: JEPA | None = make_jepa() if "jepa" in parts else None
    task = make_head(make_jepa().context_encoder) if "task" in parts else None
    with pytest.raises(ConfigError, match=message):
        fit(jepa, make_loader(), config(**changes), task=task)


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_a_device_that_is_not_there() -> None:
    with pytest.raises(ConfigError, match=r"^accelerator = 'gpu × 1': expected devices that this machine has"):
        fit(make_jepa(), make_loader(), config(accelerator="gpu"))


# Loggers


def test_tensorboard_gets_the_numbers_of_metrics_csv(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    fit(make_jepa(), make_loader(), config(epochs=3, logger="tensorboard"), run=RunFolder(tmp_path))
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    logged = [event.value for event in events.Scalars("train/total")]
    assert logged == [pytest.approx(float(row["train/total"])) for row in rows_but_seconds(tmp_path)]


@pytest.mark.parametrize("logger", ["tensorboard", "wandb"])
def test_a_logger_that_is_not_installed_names_its_extra(
    logger: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, logger, None)  # type: ignore[arg-type]
    with pytest.raises(MissingExtraError, match=rf"^{logger} is not installed; .*'jepakit\[{logger}\]'$"):
        fit(make_jepa(), make_loader(), config(logger=logger), run=RunFolder(tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_wandb_works_offline_and_each_run_is_one_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wandb = pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    for name in ("first", "second"):
        run = RunFolder(tmp_path / name)
        fit(make_jepa(), make_loader(), config(epochs=2, logger="wandb"), run=run)
        assert len(list(run.path.rglob("*.wandb"))) == 1
        assert len(rows_but_seconds(run.path)) == 2
        assert wandb.run is None
