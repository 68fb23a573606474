"""Train a JEPA, a task, or both, in a run folder that survives being killed."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from jepakit.core import JEPA
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
        config: epochs, rates, devices, ...
        run: where metrics and checkpoints go; None keeps nothing.
        task: a module from views to a loss, or to named losses that are summed.
        embed: ``() -> (embeddings, groups or None)`` of a fixed sample, for the diagnostics.
        resume: continue from the last checkpoint of the run, where it has one.

    Raises:
        ConfigError: neither an objective nor a task is given, or an option does not fit the model.
        ModelError: the checkpoint is damaged or of another architecture, or the loss is no longer finite.
    """
    # Lightning takes seconds to import, and is not needed to solve, search or embed.
    from jepakit.training.trainer import fit_with_lightning

    return fit_with_lightning(jepa, loader, config, run=run, task=task, embed=embed, resume=resume)
