"""Texts to adapted vectors, as a scikit-learn transformer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self, cast

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted

from jepakit.errors import DataError
from jepakit.retrieval.data import Pairs, Queries, RetrievalDataset
from jepakit.retrieval.encoder import Adapter
from jepakit.retrieval.pretrain import PretrainConfig, pretrain
from jepakit.search.documents import Documents
from jepakit.sklearn.rows import texts_of
from jepakit.text import DEFAULT_ENCODER, TextConfig, TextEncoder, load_cached_encoder
from jepakit.training.presets import with_options

Texts = Sequence[str]


class TextAdapter(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Adapts a frozen sentence encoder to pairs of queries and documents, and encodes texts.

    ``fit(queries, documents)`` reads pairs: ``documents[i]`` answers ``queries[i]``. Whether the adapter is used is
    decided on pairs that are held out; where it is not surely better, the vectors are those of the base model.

    Args:
        base: the sentence encoder, by id or folder, or an encoder that is loaded already.
        epochs: passes over the pairs.
        batch_size: pairs in a step.
        learning_rate: of AdamW.
        options: other options of `jepakit.retrieval.PretrainConfig`: dotted name -> value, such as
            ``{"adapter.direction": "both"}``.
        cache: keep the base model's vectors on disk, so that no text is encoded twice.
        random_state: seed of training.

    Attributes:
        encoder_: the base model.
        adapter_: the `jepakit.retrieval.Adapter`; its ``strength`` is 0 where it is not used.
        choice_: what was chosen on the held-out pairs, in words in ``choice_.sentence``.
    """

    encoder_: TextEncoder
    adapter_: Adapter
    _n_features_out: int

    def __init__(
        self,
        *,
        base: str | TextEncoder = DEFAULT_ENCODER,
        epochs: int = 10,
        batch_size: int = 128,
        learning_rate: float = 1e-3,
        options: Mapping[str, Any] | None = None,
        cache: bool = True,
        random_state: int = 0,
    ) -> None:
        self.base, self.epochs, self.batch_size, self.learning_rate = base, epochs, batch_size, learning_rate
        self.options, self.cache, self.random_state = options, cache, random_state

    def fit(self, X: Texts, y: Texts) -> Self:
        """Trains on pairs.

        Args:
            X: queries.
            y: a document that answers each of them; the same text may answer several.

        Raises:
            ConfigError: an option has a value it cannot have.
            DataError: the two differ in length, or there are too few pairs to hold some out.
            ModelError: there is no such sentence encoder.
        """
        dataset = _dataset(texts_of("X", X), texts_of("y", y))
        own = {name: getattr(self, name) for name in ("epochs", "batch_size", "learning_rate")}
        config = PretrainConfig(progress=False, seed=self.random_state)
        config = with_options(config, {**own, **(self.options or {})})
        base = self.base
        self.encoder_ = load_cached_encoder(TextConfig(base, cache=self.cache)) if isinstance(base, str) else base
        pretrained = pretrain(dataset, self.encoder_, config)
        self.adapter_, self.choice_ = pretrained.encoder, pretrained.choice
        self._n_features_out = self.adapter_.out_dim
        return self

    @torch.no_grad()
    def transform(self, X: Texts) -> NDArray[np.float32]:
        """The vectors of queries, ``[Q, D]``, of length 1.

        Raises:
            NotFittedError: `fit` was not called.
            DataError: ``X`` are no texts.
        """
        check_is_fitted(self)
        return self.adapter_.queries(self.encoder_.encode(texts_of("X", X), "query")).numpy()

    @torch.no_grad()
    def transform_documents(self, documents: Texts) -> NDArray[np.float32]:
        """The vectors of documents, ``[N, D]``: their products with those of queries are cosines.

        Raises:
            NotFittedError: `fit` was not called.
            DataError: they are no texts.
        """
        check_is_fitted(self)
        return self.adapter_.documents(self.encoder_.encode(texts_of("documents", documents), "document")).numpy()

    def score(self, X: Texts, y: Texts) -> float:
        """Mean reciprocal rank of each query's document among all that are given, from 0 to 1."""
        dataset = _dataset(texts_of("X", X), texts_of("y", y))
        similar = self.transform(X) @ self.transform_documents(dataset.documents.texts).T
        own = similar[np.arange(len(similar)), dataset.splits["train"].document.numpy()]
        return float((1 / (similar >= own[:, None]).sum(1)).mean())

    def __sklearn_tags__(self) -> Tags:
        tags = cast(Tags, super().__sklearn_tags__())
        tags.input_tags.two_d_array, tags.input_tags.string, tags.no_validation = False, True, True
        tags.target_tags.required = True
        return tags


def _dataset(queries: list[str], documents: list[str]) -> RetrievalDataset:
    """The pairs as a collection, in which each different document stands once."""
    if len(queries) != len(documents):
        raise DataError(
            "not a document each", field="y", value=len(documents), expected=f"{len(queries)}, as many as X"
        )
    texts = tuple(dict.fromkeys(documents))
    row = {text: place for place, text in enumerate(texts)}
    count = len(texts)
    corpus = Documents(tuple(map(str, range(count))), texts, ("",) * count, ({},) * count)
    asked = Queries(tuple(map(str, range(len(queries)))), tuple(queries))
    pairs = Pairs.of(range(len(queries)), [row[text] for text in documents])
    return RetrievalDataset("pairs", corpus, asked, {"train": pairs})
