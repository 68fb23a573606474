"""Train a JEPA, a task, or both, in a run folder that survives being killed."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from jepakit.core import JEPA
from jepakit.errors import ConfigError
from jepakit.training.fit_config import FitConfig, FitResult
from jepakit.training.loader import EpochLoader
from jepakit.training.run import RunFolder


def fit(
    jepa: JEPA | None,
    loader: EpochLoader,
    config: FitConfig,
    *,
    run: RunFolder | None = None,
    task: nn.Module | None = None,
    embed: Callable[[], tuple[Tensor, Tensor | None]] | None = None,
    resume: bool = False,
) -> FitResult:
    """Trains in place.

    Args:
        jepa: the objective; None trains the task alone.
        loader: the views.
        config: how.
        run: where metrics and checkpoints go; None keeps nothing.
        task: a module from views to a loss, or to named losses that are summed.
        embed: ``() -> (embeddings, groups or None)`` of a fixed sample, for the diagnostics.
        resume: go on from the run's last checkpoint, if there is one.

    Raises:
        ConfigError: there is neither an objective nor a task, or an option does not fit the model.
        ModelError: the checkpoint is damaged or of another architecture, or the loss is no longer finite.
    """
    _check_phases(jepa, task, config)
    # Lightning takes seconds to import, and is not needed to solve, search or embed.
    from jepakit.training.trainer import fit_with_lightning

    return fit_with_lightning(jepa, loader, config, run=run, task=task, embed=embed, resume=resume)


def _check_phases(jepa: JEPA | None, task: nn.Module | None, config: FitConfig) -> None:
    if jepa is None and task is None:
        raise ConfigError("jepa", None, "an objective, a task, or both")
    if jepa is None or task is None:
        alone = "where there is no task" if task is None else "where there is no objective"
        for name, only in (("jepa_pretrain_epochs", 0), ("jepa_weight", 1.0)):
            if getattr(config, name) != only:
                raise ConfigError(name, getattr(config, name), f"{only} {alone}")
    elif config.jepa_pretrain_epochs >= config.epochs:
        raise ConfigError("jepa_pretrain_epochs", config.jepa_pretrain_epochs, f"below epochs = {config.epochs}")
