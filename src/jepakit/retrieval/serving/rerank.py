"""Re-ranking of search results by a cross-encoder, which reads query and document together: slower, more exact."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np
import torch
from safetensors import SafetensorError

from jepakit.errors import ConfigError, ModelError, in_one_line, require_at_least
from jepakit.retrieval.serving.searcher import Found
from jepakit.text.encoder import readable
from jepakit.text.load import LOAD_ERRORS, folder_files, hub_files, positions, require_no_pickles
from jepakit.text.quiet import quiet

if TYPE_CHECKING:
    from sentence_transformers import CrossEncoder


_EXAMPLE = "cross-encoder/ms-marco-MiniLM-L6-v2"


class CrossEncoderReranker:
    """A cross-encoder of sentence-transformers (Nogueira & Cho 2019): one score for query and document together.

    Search for 50 or 100 documents and re-rank these. Several threads may use one re-ranker.

    Args:
        model: a folder, or a sentence-transformers id (``cross-encoder/ms-marco-MiniLM-L6-v2``, ...).
        batch_size: pairs scored at a time.
        max_length: tokens after which a pair is cut; None: the limit of the model.

    Raises:
        ModelError: there is no such model, it cannot be downloaded, it is damaged, or it is no cross-encoder.
        ConfigError: ``batch_size`` or ``max_length`` is less than 1, or ``max_length`` exceeds the model's limit.
    """

    def __init__(self, model: str | Path, batch_size: int = 32, max_length: int | None = None) -> None:
        self.name, self.batch_size, self.max_length = str(model), batch_size, max_length
        require_at_least(self, batch_size=1, max_length=1)
        self._model = _load(model)
        # Each batch reconfigures the tokeniser, which is not thread-safe.
        self._lock = Lock()
        if max_length is not None:
            most = positions(self._model)
            if most is not None and max_length > most:
                raise ConfigError("max_length", max_length, f"at most {most}, the number of positions of the model")
            self._model.max_seq_length = max_length

    def rerank(self, query: str, found: Sequence[Found], k: int) -> list[Found]:
        """The best ``k``, best first, with the scores of the cross-encoder; equal scores keep their order.

        Raises:
            ConfigError: ``k`` is less than 1.
            ModelError: the model fails, or a score is not finite.
        """
        if k < 1:
            raise ConfigError("k", k, "at least 1")
        if not found:
            return []
        pairs = [(readable(query, None), readable(f"{hit.title} {hit.text}".strip(), None)) for hit in found]
        try:
            with self._lock:
                scores = self._model.predict(pairs, batch_size=self.batch_size, show_progress_bar=False)
        except (RuntimeError, LookupError) as error:
            raise ModelError(f"{self.name}: cannot score {len(pairs)} pairs ({in_one_line(error)})") from error
        scores = np.asarray(scores, np.float32)
        if scores.shape != (len(pairs),) or not np.isfinite(scores).all():
            raise ModelError(f"{self.name}: gave no finite score for each of {len(pairs)} pairs")
        order = np.argsort(-scores, kind="stable")[:k]
        return [replace(found[place], score=float(scores[place])) for place in order]


def _load(source: str | Path) -> CrossEncoder:
    from sentence_transformers import CrossEncoder

    names = folder_files(Path(source)) if Path(source).is_dir() else hub_files(str(source))
    require_no_pickles(str(source), names or ())
    try:
        with quiet(), torch.random.fork_rng(devices=[]):
            # The alternative is a pickle.
            model = CrossEncoder(str(source), model_kwargs={"use_safetensors": True})
    except (*LOAD_ERRORS, SafetensorError) as error:
        way_out = f"give a folder with a cross-encoder, or an id that can be fetched, such as {_EXAMPLE}"
        raise ModelError(f"{source}: cannot be loaded ({in_one_line(error)}); {way_out}") from error
    network = model.transformers_model
    kind = type(network).__name__
    # The library loads any transformer, and gives one without a classification head a random head.
    if network is not None and kind.endswith("ForSequenceClassification"):
        saved = network.config.architectures or []
        if kind not in saved:
            raise ModelError(f"{source}: no cross-encoder but {', '.join(saved) or 'a model'}; give one as {_EXAMPLE}")
    if model.num_labels != 1:
        raise ModelError(f"{source}: gives {model.num_labels} scores for a pair; give one as {_EXAMPLE}")
    model.eval().requires_grad_(False)
    return model
