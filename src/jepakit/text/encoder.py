"""Sentence encoders: texts in, unit vectors out."""

from __future__ import annotations

import re
from collections.abc import Sequence
from threading import Lock
from typing import TYPE_CHECKING, Literal, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from jepakit.errors import ModelError, require_choice, shorten
from jepakit.text.fingerprint import model_fingerprint

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

__all__ = ["Kind", "SentenceEncoder", "TextEncoder", "in_one_line", "readable"]

Kind = Literal["query", "document"]
"""What a text is: many models encode the two sides differently."""

#: Anything but white space, control characters and characters of no width: what a tokeniser may make a token of.
_VISIBLE = re.compile(r"[^\s\x00-\x1f\x7f-\x9f\u00ad\u200b-\u200f\u2060\ufeff]")
_SURROGATE = re.compile(r"[\ud800-\udfff]")
#: More than any writing needs: a tokeniser works through all of a text, be it of megabytes, and then cuts.
_CHARACTERS_PER_TOKEN = 64


class TextEncoder(Protocol):
    """Anything that turns texts into vectors."""

    @property
    def name(self) -> str:
        """What the user calls it."""
        ...

    @property
    def dim(self) -> int:
        """Width of a vector."""
        ...

    @property
    def fingerprint(self) -> str:
        """Changes whenever the vector of any text may change: weights, tokeniser, prompts, length, backend."""
        ...

    def encode(self, texts: Sequence[str], kind: Kind) -> Tensor:
        """``[N, dim]`` float32 on the CPU, rows of length 1; a blank text is a row of zeros."""
        ...


class SentenceEncoder:
    """A sentence-transformers model, frozen; several threads may use one at once.

    Whatever similarity the model was trained for, its vectors are brought to length 1 and compared by cosine.

    Args:
        model: the model; its prompts for queries and documents are used where it has any.
        name: what the user calls it.
        batch_size: texts at a time.
        fingerprint: for a model whose weights are not its own parameters; None: made from the model.

    Raises:
        ModelError: a weight is not finite, or the model does not say how wide its vectors are.
    """

    def __init__(
        self, model: SentenceTransformer, *, name: str, batch_size: int = 32, fingerprint: str | None = None
    ) -> None:
        self.model, self.name, self.batch_size = model, name, batch_size
        self.dim = _dimension(model, name)
        _check_weights(model, name)
        self.fingerprint = fingerprint or model_fingerprint(model)
        # Tokenisers are set up for each kind of text, and a compiled model has room for one batch.
        self._lock = Lock()

    def encode(self, texts: Sequence[str], kind: Kind) -> Tensor:
        """See `TextEncoder.encode`; equal texts get equal vectors.

        A text is blank where it holds nothing but white space, control characters and characters of no width. Lone
        surrogates count as U+FFFD. What lies behind the model's longest input is left out, and so is what lies behind
        64 characters for each of its tokens.

        Raises:
            ConfigError: no such kind.
            ModelError: the model fails, or its vector of a text is not finite.
        """
        require_choice("kind", kind, ("query", "document"))
        vectors = torch.zeros(len(texts), self.dim)
        rows = [row for row, text in enumerate(texts) if _VISIBLE.search(text)]
        if not rows:
            return vectors
        place = {text: number for number, text in enumerate(dict.fromkeys(texts[row] for row in rows))}
        found = self._encode(list(place), kind)
        vectors[rows] = found[[place[texts[row]] for row in rows]]
        return vectors

    def _encode(self, texts: list[str], kind: Kind) -> Tensor:
        tokens = _longest(self.model)
        encode = self.model.encode_query if kind == "query" else self.model.encode_document
        try:
            with self._lock:
                found = encode(
                    [readable(text, tokens) for text in texts],
                    batch_size=self.batch_size,
                    convert_to_tensor=True,
                    show_progress_bar=False,
                )
        except (RuntimeError, LookupError) as error:
            advice = "; a smaller batch_size needs less memory" if isinstance(error, torch.OutOfMemoryError) else ""
            raise ModelError(f"{self.name}: cannot encode {len(texts)} texts ({in_one_line(error)}){advice}") from error
        if found.shape != (len(texts), self.dim):
            raise ModelError(f"{self.name}: vectors of shape {list(found.shape)}, expected [{len(texts)}, {self.dim}]")
        found = F.normalize(found.float().cpu(), dim=-1)
        sound = found.isfinite().all(-1)
        if not sound.all():
            text = texts[int((~sound).nonzero()[0])]
            raise ModelError(f"{self.name}: its vector is not finite for the text {shorten(text[:80])}")
        return found


def _longest(model: SentenceTransformer) -> int | None:
    """Tokens of the longest input that the model reads; None where there is no limit."""
    from sentence_transformers.base.modules import Transformer

    lengths, first = [model.max_seq_length], model[0]
    if isinstance(first, Transformer):
        options = first.get_config_dict()
        lengths += [options.get("query_length"), options.get("document_length")]
    # A model of static embeddings gives infinity.
    given = [int(length) for length in lengths if length is not None and length < 2**31]
    return max(given) if given else None


def readable(text: str, tokens: int | None) -> str:
    """What a tokeniser is given of a text: so much that ``tokens`` are surely in it, and nothing it cannot read.

    Pairs of surrogates become the character they stand for, and lone ones U+FFFD.
    """
    text = text if tokens is None else text[: _CHARACTERS_PER_TOKEN * tokens]
    if not _SURROGATE.search(text):
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _dimension(model: SentenceTransformer, name: str) -> int:
    dim = model.get_embedding_dimension()
    if dim is None:
        raise ModelError(f"{name}: the model does not say how wide its vectors are")
    return int(dim)


def _check_weights(model: SentenceTransformer, name: str) -> None:
    # Looking at each takes much longer than a sum, which is finite where all of them are and none is huge.
    doubtful = [pair for pair in model.named_parameters() if not pair[1].sum(dtype=torch.float32).isfinite()]
    broken = [key for key, weight in doubtful if not weight.isfinite().all()]
    if broken:
        raise ModelError(f"{name}: weights are not finite: {', '.join(broken[:5])}{', …' if len(broken) > 5 else ''}")


def in_one_line(error: BaseException) -> str:
    """What an error says, for a message that has to stay readable."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 300 else f"{text[:299]}…"
