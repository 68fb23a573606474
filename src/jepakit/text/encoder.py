"""Sentence encoders: texts -> unit vectors."""

from __future__ import annotations

import re
from collections.abc import Sequence
from threading import Lock
from typing import TYPE_CHECKING, Any, Literal, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from jepakit.errors import ModelError, in_one_line, require_choice, shorten
from jepakit.text.fingerprint import model_fingerprint

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer


Kind = Literal["query", "document"]
"""The role of a text: many models encode queries and documents differently."""

#: Any character but white space, control characters and characters without width: a tokeniser may ignore these.
_VISIBLE = re.compile(r"[^\s\x00-\x1f\x7f-\x9f\u00ad\u200b-\u200f\u2060\ufeff]")
_SURROGATE = re.compile(r"[\ud800-\udfff]")
#: Texts are cut to this before they are tokenised, which takes time for megabytes; tokens are shorter in any script.
_CHARACTERS_PER_TOKEN = 64


class TextEncoder(Protocol):
    """The interface of a text encoder."""

    @property
    def name(self) -> str:
        """The name that the user gave."""
        ...

    @property
    def dim(self) -> int:
        """Width of a vector."""
        ...

    @property
    def fingerprint(self) -> str:
        """Identifies everything that the vectors depend on: weights, tokeniser, prompts, length, backend."""
        ...

    def encode(self, texts: Sequence[str], kind: Kind) -> Tensor:
        """Unit vectors ``[N, dim]``, float32 on the CPU; a blank text has a row of zeros."""
        ...


class SentenceEncoder:
    """A frozen sentence-transformers model, safe for concurrent threads.

    Vectors are normalised to length 1 for every model, so that their dot product is the cosine.

    Args:
        model: the model, with its prompts for queries and documents if it has any.
        name: the name that the user gave.
        batch_size: texts per batch.
        fingerprint: computed from the model if None; given if the weights are not parameters of ``model``.

    Raises:
        ModelError: a weight is not finite, or the model does not state the width of its vectors.
    """

    def __init__(
        self, model: SentenceTransformer, *, name: str, batch_size: int = 32, fingerprint: str | None = None
    ) -> None:
        self.model, self.name, self.batch_size = model, name, batch_size
        dim = model.get_embedding_dimension()
        if dim is None:
            raise ModelError(f"{name}: the model does not state the width of its vectors")
        self.dim = int(dim)
        _check_weights(model, name)
        self.fingerprint = fingerprint or model_fingerprint(model)
        # A tokeniser is reconfigured for each kind of text, and a compiled model has buffers for one batch.
        self._lock = Lock()

    def __getstate__(self) -> dict[str, Any]:
        # A lock is of its process.
        return {name: value for name, value in vars(self).items() if name != "_lock"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._lock = Lock()

    def encode(self, texts: Sequence[str], kind: Kind) -> Tensor:
        """See `TextEncoder.encode`; equal texts have equal vectors.

        A text is blank if it has only white space, control characters and characters without width. Lone surrogates are
        read as U+FFFD. Texts are cut to the model's longest input, and to 64 characters for each of its tokens.

        Raises:
            ConfigError: ``kind`` is unknown.
            ModelError: the model fails, or a vector is not finite.
        """
        require_choice("kind", kind, ("query", "document"))
        vectors = torch.zeros(len(texts), self.dim)
        rows = [row for row, text in enumerate(texts) if _VISIBLE.search(text)]
        if not rows:
            return vectors
        index = {text: number for number, text in enumerate(dict.fromkeys(texts[row] for row in rows))}
        encoded = self._encode(list(index), kind)
        vectors[rows] = encoded[[index[texts[row]] for row in rows]]
        return vectors

    def _encode(self, texts: list[str], kind: Kind) -> Tensor:
        tokens = longest(self.model, kind)
        encode = self.model.encode_query if kind == "query" else self.model.encode_document
        try:
            with self._lock:
                vectors = encode(
                    [readable(text, tokens) for text in texts],
                    batch_size=self.batch_size,
                    convert_to_tensor=True,
                    show_progress_bar=False,
                )
        except (RuntimeError, LookupError) as error:
            advice = "; a smaller batch_size needs less memory" if isinstance(error, torch.OutOfMemoryError) else ""
            raise ModelError(f"{self.name}: cannot encode {len(texts)} texts ({in_one_line(error)}){advice}") from error
        if vectors.shape != (len(texts), self.dim):
            raise ModelError(
                f"{self.name}: vectors of shape {list(vectors.shape)}, expected [{len(texts)}, {self.dim}]"
            )
        vectors = F.normalize(vectors.float().cpu(), dim=-1)
        finite = vectors.isfinite().all(-1)
        if not finite.all():
            text = texts[int((~finite).nonzero()[0])]
            raise ModelError(f"{self.name}: its vector is not finite for the text {shorten(text[:80])}")
        return vectors


def longest(model: SentenceTransformer, kind: Kind) -> int | None:
    """The most tokens of a text that the model reads; None if it has no limit."""
    from sentence_transformers.base.modules import Transformer

    length, first = model.max_seq_length, model[0]
    if isinstance(first, Transformer):
        length = (first.query_length if kind == "query" else first.document_length) or length
    # For a model of static embeddings the length is infinite.
    return int(length) if length is not None and length < 2**31 else None


def readable(text: str, tokens: int | None) -> str:
    """The text as input of a tokeniser, cut to 64 characters for each of ``tokens``.

    Pairs of surrogates become the character that they encode, lone surrogates become U+FFFD.
    """
    text = text if tokens is None else text[: _CHARACTERS_PER_TOKEN * tokens]
    if not _SURROGATE.search(text):
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _check_weights(model: SentenceTransformer, name: str) -> None:
    # A sum is much faster than a test of each weight. It is finite if all weights are, unless some are huge.
    suspects = [pair for pair in model.named_parameters() if not pair[1].sum(dtype=torch.float32).isfinite()]
    broken = [key for key, weight in suspects if not weight.isfinite().all()]
    if broken:
        raise ModelError(f"{name}: weights are not finite: {', '.join(broken[:5])}{', …' if len(broken) > 5 else ''}")
