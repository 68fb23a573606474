"""Checks of model folders of sentence-transformers: before writing, and after."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from jepakit.errors import ConfigError, ModelError, in_one_line
from jepakit.text import SentenceEncoder

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer


PROBES = ["how do I read a file", "open() returns a file object, and readlines() its lines."]
"""Texts on which a written model is compared with the original."""


def require_torch(model: SentenceTransformer) -> None:
    """Raises ConfigError if another backend runs the model, which then has no trainable weights."""
    from sentence_transformers.base.modules import Transformer
    from transformers import PreTrainedModel

    if isinstance(model[0], Transformer) and not isinstance(model[0].model, PreTrainedModel):
        raise ConfigError("backend", type(model[0].model).__name__, "torch, since other backends hold no weights")


def require_vectors(folder: Path, encoder: SentenceEncoder, queries: Tensor, documents: Tensor) -> None:
    """Raises ModelError if the model in a folder encodes `PROBES` to other directions than the original, ``encoder``.

    ``queries`` and ``documents``: the expected vectors of `PROBES` as these, ``[2, D]``, rows of length 1.
    """
    from sentence_transformers import SentenceTransformer

    try:
        written = SentenceTransformer(str(folder), device=str(encoder.model.device), local_files_only=True)
        encode = (written.encode_query, written.encode_document)
        vectors = [method(PROBES, convert_to_tensor=True, show_progress_bar=False).float().cpu() for method in encode]
    except (AttributeError, ImportError, LookupError, RuntimeError, TypeError, ValueError) as error:
        raise ModelError(f"{encoder.name}: the written model cannot be loaded ({in_one_line(error)})") from error
    # A base in half precision is written in single.
    tolerance = 1e-4 if encoder.model.dtype == torch.float32 else 5e-2
    near = [
        given.shape == expected.shape and torch.allclose(F.normalize(given, dim=-1), expected, rtol=0, atol=tolerance)
        for given, expected in zip(vectors, (queries, documents), strict=True)
    ]
    if not all(near):
        raise ModelError(f"{encoder.name}: the written model gives other vectors than the original")
