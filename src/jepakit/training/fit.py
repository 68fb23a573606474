"""Train a JEPA, a task, or both, in a run folder that survives being killed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from torch import Tensor, nn

from jepakit.core import JEPA
from jepakit.errors import ConfigError, requires_extra
from jepakit.progress import shown
from jepakit.training.fit_config import FitConfig, FitResult
from jepakit.training.loader import Batches, EpochLoader
from jepakit.training.run import RunFolder, require_launcher


def fit(
    jepa: JEPA | None,
    loader: Iterable[Any],
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
        loader: the views of each step: `EpochLoader`, or any iterable of batches. Each pass over it is an epoch.
        config: epochs, rates, devices, ...
        run: where metrics and checkpoints go; None keeps nothing.
        task: a module from views to a loss, or to named losses that are summed.
        embed: ``() -> (embeddings, groups or None)`` of a fixed sample, for the diagnostics.
        resume: continue from the last checkpoint of the run, where it has one.

    Raises:
        ConfigError: neither an objective nor a task is given, an option does not fit the model, or there are no batches
            for each epoch.
        ModelError: the checkpoint is damaged or of another architecture, the loss is no longer finite, or another
            process of the training has ended.
        MissingExtraError: Lightning is not installed.
    """
    # Lightning takes seconds to import, and is not needed to solve, search or embed.
    with requires_extra("training"):
        from jepakit.training.trainer import fit_with_lightning

    if not isinstance(loader, EpochLoader):
        if config.processes > 1:
            field = "devices" if config.devices > 1 else "num_nodes"
            expected = "1, or an EpochLoader, which shares each batch among the processes"
            raise ConfigError(field, config.processes, expected)
        loader = Batches(loader, seed=config.seed)
    require_launcher(config.num_nodes)
    with shown(config.progress):
        return fit_with_lightning(jepa, loader, config, run=run, task=task, embed=embed, resume=resume)
