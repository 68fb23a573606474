"""The base model of a run: frozen, or tuned in a first stage of the run.

::

    run/tuning/   metrics of the stage, its outcome, and its checkpoint until the stage is complete
    run/base/     the tuned base, if it is significantly better; the rest of the run then uses it
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from jepakit.progress import shown
from jepakit.retrieval.adapter.tuning import save_base, tune
from jepakit.retrieval.data import RetrievalDataset
from jepakit.retrieval.pretrain import PretrainConfig
from jepakit.text import CachedEncoder, EmbeddingCache, TextConfig, TextEncoder, load_cached_encoder, load_text_encoder
from jepakit.training import RunFolder, is_first_process
from jepakit.training.stages import finish_stage


def base_of(run: RunFolder, text: TextConfig) -> TextConfig:
    """The base model of a run: ``text`` itself, or with the tuned base of the run in its place."""
    folder = run.path / "base"
    return replace(text, base=str(folder)) if folder.is_dir() else text


def untuned(run: RunFolder, text: TextConfig) -> TextEncoder | None:
    """The base model before the run tuned it; None if the run did not tune it."""
    return None if base_of(run, text) == text else load_cached_encoder(text)


def tune_base(
    run: RunFolder, dataset: RetrievalDataset, text: TextConfig, config: PretrainConfig, *, resume: bool = False
) -> str:
    """Tunes the base ``text`` in a stage of ``run``, and keeps the tuned base if it is significantly better.

    With ``resume`` it continues from the checkpoint of the stage, or returns the outcome of a finished stage. For the
    other arguments and errors see `jepakit.retrieval.adapter.tuning.tune`.

    Returns:
        The outcome, as a sentence.

    Raises:
        DataError: the file of the outcome is damaged.
        ModelError: the tuned base cannot be written.
    """
    stage, base = RunFolder(run.path / "tuning"), run.path / "base"

    def work() -> dict[str, Any]:
        # Training needs the torch backend; the base vectors still come from the backend of ``text``.
        encoder = load_text_encoder(replace(text, backend="torch"))
        vectors = encoder if text.backend == "torch" else load_text_encoder(text)
        cached = CachedEncoder(vectors, EmbeddingCache()) if text.cache else vectors
        with shown(config.progress):
            tuned = tune(dataset, encoder, config, cached=cached, run=stage, resume=resume)
        if tuned.strength and is_first_process(config.processes):
            save_base(tuned.encoder, base)
        values = {name: value for name, value in vars(tuned).items() if name != "encoder"}
        return {**values, "sentence": tuned.sentence}

    def products(outcome: dict[str, Any]) -> list[Path]:
        return [base] if float(outcome["strength"]) else []

    outcome = finish_stage(stage, "tuned.json", work, products=products, devices=config.processes, resume=resume)
    return outcome["sentence"]
