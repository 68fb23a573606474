"""Stages of a run that trains more than once; each is a folder in the run, with a checkpoint while it trains."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from jepakit.core.distributed import is_distributed
from jepakit.files import read_json, reading, write_json
from jepakit.training.run import RunFolder, is_first_process


def finish_stage(
    stage: RunFolder,
    outcome: str,
    work: Callable[[], dict[str, Any]],
    *,
    products: Callable[[dict[str, Any]], list[Path]],
    devices: int,
    resume: bool,
) -> dict[str, Any]:
    """The outcome of a stage; a resumed run reads it from its file if the stage is finished.

    Args:
        stage: the folder of the stage.
        outcome: name of the file in it that holds the outcome; it is written last.
        work: trains, in every process, and returns the outcome, which JSON can hold; the first process writes the
            products of the stage.
        products: outcome -> these files or folders; where one is missing, the stage is not finished.
        devices: how many train.
        resume: whether a finished stage counts.

    Raises:
        DataError: the file of the outcome is damaged.
    """
    file = stage.path / outcome
    if resume and file.exists():
        way_out = "the outcome of a finished stage; delete it: the stage goes on then"
        finished: dict[str, Any] = read_json(file, expected=way_out)
        with reading(file, expected=way_out):
            if all(path.exists() for path in products(finished)):
                _remove_checkpoint(stage, devices)
                return finished
    values = work()
    if is_first_process(devices):
        write_json(file, values)
    # Removed last: a run killed before this point resumes from it, one killed at it leaves it to the next.
    _remove_checkpoint(stage, devices)
    if devices > 1 and is_distributed():
        torch.distributed.barrier()
    return values


def _remove_checkpoint(stage: RunFolder, devices: int) -> None:
    if is_first_process(devices):
        shutil.rmtree(stage.checkpoint.parent, ignore_errors=True)
