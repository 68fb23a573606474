"""Tuning the base as a stage of a run, which is done once and before everything else.

::

    run/tuning/   metrics of the stage, its checkpoint until it is complete, and what came of it
    run/base/     the tuned base, where it is surely better: from then on the base of everything in the run
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

from jepakit.files import read_json, reading, write_json
from jepakit.retrieval.adapter.tuning import Tuned, save_base, tune
from jepakit.retrieval.data import RetrievalDataset
from jepakit.retrieval.pretrain import TrainConfig
from jepakit.text import SentenceEncoder, TextConfig, TextEncoder
from jepakit.training import RunFolder

__all__ = ["base_of", "read_verdict", "stage_of", "tune_in_run"]


def stage_of(run: RunFolder) -> RunFolder:
    """The stage's part of a run; it is there as soon as an epoch is."""
    return RunFolder(run.path / "tuning")


def base_of(run: RunFolder, text: TextConfig) -> TextConfig:
    """What a run's vectors are made with: ``text`` itself, or the base in the run, running in the same way."""
    folder = _base(run)
    return replace(text, base=str(folder)) if folder.is_dir() else text


def tune_in_run(
    run: RunFolder,
    dataset: RetrievalDataset,
    encoder: SentenceEncoder,
    config: TrainConfig,
    *,
    cached: TextEncoder | None = None,
    resume: bool = False,
) -> str:
    """Tunes the base by ``config.strategy``, and keeps it where it is surely better.

    Args:
        run: the run, not the stage.
        dataset: with splits train and dev.
        encoder: the base, in torch.
        config: strategy, recipe and how sure is sure.
        cached: the same base with a cache of vectors.
        resume: go on from the checkpoint of the stage.

    Returns:
        What came of it, as a sentence.

    Raises:
        ConfigError, DataError, MissingExtraError: see `jepakit.retrieval.adapter.tuning.tune`.
        ModelError: the tuned base cannot be written.
    """
    stage = stage_of(run)
    confidence = config.selection.confidence
    tuned = tune(
        dataset,
        encoder,
        config.recipe,
        config.tuning,
        config.strategy,
        cached=cached,
        confidence=confidence,
        run=stage,
        resume=resume,
    )
    write_json(_verdict(run), _as_json(tuned))
    if tuned.strength:
        save_base(tuned.encoder, _base(run))
    # Last of all: until here a killed run goes on from it.
    shutil.rmtree(stage.checkpoint.parent, ignore_errors=True)
    return tuned.sentence


def read_verdict(run: RunFolder) -> str | None:
    """What came of the stage, as a sentence; None where it is not complete.

    Raises:
        DataError: the file that says so is damaged.
    """
    file = _verdict(run)
    if not file.exists():
        return None
    way_out = "the outcome of tuning; delete it: tuning goes on then"
    verdict = read_json(file, expected=way_out)
    with reading(file, expected=way_out):
        strength, sentence = float(verdict["strength"]), str(verdict["sentence"])
    # The base is written after the verdict.
    return sentence if not strength or _base(run).is_dir() else None


def _base(run: RunFolder) -> Path:
    return run.path / "base"


def _verdict(run: RunFolder) -> Path:
    return stage_of(run).path / "tuned.json"


def _as_json(tuned: Tuned) -> dict[str, Any]:
    values = {name: value for name, value in vars(tuned).items() if name != "encoder"}
    return {**values, "sentence": tuned.sentence}
