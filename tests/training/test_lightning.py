"""A Trainer of one's own: it trains as a bare loop does, and what watches it changes nothing."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from toy_training import Encoder

from jepakit.core import JEPA, EMATarget, MLPPredictor, SIGReg, Views, mse
from jepakit.core.diagnostics import effective_rank
from jepakit.errors import ConfigError
from jepakit.training import JEPAModule, OnlineProbe, RankMe
from jepakit.training.storage.checkpoint import SafetensorsCheckpointIO

ROWS, BATCH, EPOCHS = 48, 8, 3
CLASS = torch.arange(ROWS) % 2
DATA = torch.randn(ROWS, 6, generator=torch.Generator().manual_seed(0)) + 3 * CLASS[:, None]
NOISE = 0.1 * torch.randn(ROWS, 6, generator=torch.Generator().manual_seed(1))
#: The class of each row, which is unknown for a quarter.
LABELS = CLASS.where(torch.arange(ROWS) % 8 > 1, -1)
PARTS = zip((DATA + NOISE).split(BATCH), DATA.split(BATCH), LABELS.split(BATCH), strict=True)
BATCHES = [(Views(context, target), labels) for context, target, labels in PARTS]


class Loader:
    """Views and classes, as a user's own loader gives them."""

    def __iter__(self) -> Iterator[tuple[Views, Tensor]]:
        return iter(BATCHES)

    def __len__(self) -> int:
        return len(BATCHES)


def objective() -> JEPA:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        encoder = Encoder()
        return JEPA(encoder, EMATarget(encoder, 0.9), MLPPredictor(8), mse, {"sigreg": (0.1, SIGReg())})


def trained(jepa: JEPA, *callbacks: pl.Callback, **options: Any) -> pl.Trainer:
    quiet = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
    resumed = options.pop("ckpt_path", None)
    trainer = pl.Trainer(accelerator="cpu", callbacks=list(callbacks), **{"max_epochs": EPOCHS, **quiet, **options})
    module = JEPAModule(jepa, lambda parameters: torch.optim.SGD(parameters, lr=0.1), views=lambda batch: batch[0])
    with torch.random.fork_rng():
        torch.manual_seed(4)
        trainer.fit(module, Loader(), ckpt_path=resumed)
    return trainer


def probe_of(jepa: JEPA, **options: Any) -> OnlineProbe:
    def embed(batch: tuple[Views, Tensor]) -> tuple[Tensor, Tensor]:
        return jepa.context_encoder(batch[0].target), batch[1]

    return OnlineProbe(embed, 2, **options)


def assert_same(one: nn.Module, other: nn.Module) -> None:
    torch.testing.assert_close(one.state_dict(), other.state_dict(), rtol=0, atol=0)


@pytest.mark.parametrize("accumulated", [1, 2])
def test_it_trains_as_a_bare_loop_does(accumulated: int) -> None:
    jepa, bare = objective(), objective()
    trainer = trained(jepa, accumulate_grad_batches=accumulated)
    optimizer = torch.optim.SGD([p for p in bare.parameters() if p.requires_grad], lr=0.1)
    with torch.random.fork_rng():
        torch.manual_seed(4)
        for _ in range(EPOCHS):
            totals = []
            for number, (views, _) in enumerate(BATCHES, start=1):
                output = bare(views)
                (output.total / accumulated).backward()
                totals.append(output.total.detach())
                if number % accumulated == 0:
                    optimizer.step()
                    optimizer.zero_grad()
                    bare.after_step()
    assert_same(jepa, bare)
    assert float(trainer.callback_metrics["train/total"]) == pytest.approx(float(torch.stack(totals).mean()))
    assert {"train/predict", "train/sigreg"} <= trainer.callback_metrics.keys()


def test_what_watches_changes_nothing_and_measures() -> None:
    alone, watched = objective(), objective()
    trained(alone)
    encoder = watched.context_encoder
    probe = probe_of(watched, held_out=lambda: (encoder(DATA), CLASS), learning_rate=0.05)
    trainer = trained(watched, probe, RankMe(lambda: encoder(DATA)))
    assert_same(watched, alone)
    assert [part.training for part in watched.modules()] == [part.training for part in alone.modules()]
    metrics = trainer.callback_metrics
    assert float(metrics["probe/accuracy"]) > 0.9
    assert float(metrics["probe/held_out_accuracy"]) > 0.9
    with torch.no_grad():
        rank = effective_rank(copy.deepcopy(encoder).eval()(DATA))
    assert float(metrics["diagnostics/effective_rank"]) == pytest.approx(rank, rel=1e-4)


def test_a_probe_of_labels_that_mean_nothing_stays_at_chance() -> None:
    jepa = objective()
    shuffled = CLASS[torch.randperm(ROWS, generator=torch.Generator().manual_seed(0))]
    trainer = trained(jepa, probe_of(jepa, held_out=lambda: (jepa.context_encoder(DATA), shuffled), name="chance"))
    assert float(trainer.callback_metrics["chance/held_out_accuracy"]) < 0.75


def test_the_probe_goes_on_from_a_checkpoint(tmp_path: Path) -> None:
    whole, resumed = objective(), objective()
    through, after = probe_of(whole), probe_of(resumed)
    trained(whole, through)
    plugins = {"plugins": [SafetensorsCheckpointIO()]}
    first = trained(resumed, probe_of(resumed), max_epochs=1, **plugins)
    first.save_checkpoint(tmp_path / "first.safetensors")
    trained(resumed, after, ckpt_path=str(tmp_path / "first.safetensors"), **plugins)
    # Dropout of the resumed epochs differs, and so does the encoder; the probe has taken as many steps.
    steps = [int(one.state_dict()["optimizer"]["state"][0]["step"]) for one in (through, after)]
    assert steps == [EPOCHS * len(BATCHES)] * 2


def test_options_that_cannot_be() -> None:
    with pytest.raises(ConfigError, match="classes"):
        OnlineProbe(lambda batch: batch, 1)
    with pytest.raises(ConfigError, match="every"):
        RankMe(lambda: DATA, every=0)
