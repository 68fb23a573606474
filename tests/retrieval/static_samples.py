"""A static encoder of a made-up language whose words are known to a tokeniser, trained in a second."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from tiny_model import tiny_tokenizer
from toy_collection import WordEncoder

from jepakit.retrieval.static.config import StaticConfig
from jepakit.retrieval.static.texts import TrainingTexts
from jepakit.retrieval.static.training import TrainedStatic, fit_static
from jepakit.search.static.features import without_settings

WORDS = tuple(f"d{number}" for number in range(40))
#: The last words of the language occur in no text of training.
KNOWN = WORDS[:30]
QUICK = {"epochs": 3, "batch_size": 64, "megabytes": 1.0, "hidden": 0.5}


def rules() -> str:
    return without_settings(tiny_tokenizer(WORDS).backend_tokenizer.to_str())


def sentences(count: int, *, words: tuple[str, ...] = KNOWN, seed: int = 0) -> tuple[str, ...]:
    draw = np.random.default_rng(seed)
    return tuple(dict.fromkeys(" ".join(draw.choice(words, draw.integers(2, 8))) for _ in range(count)))


@cache
def training_of(count: int = 1500) -> TrainingTexts:
    texts = sentences(count)
    return TrainingTexts(texts, WordEncoder().encode(texts, "document"))


@cache
def trained(**options: object) -> TrainedStatic:
    config = StaticConfig(**{**QUICK, **options})  # pyright: ignore[reportArgumentType]
    with torch.random.fork_rng(devices=[]):
        return fit_static(training_of(), WordEncoder(), config, rules=rules(), documents="words-1")
