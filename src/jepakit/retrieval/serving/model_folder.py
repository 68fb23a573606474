"""Model folders of sentence-transformers: what can be written as one, and whether it was written right."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from jepakit.errors import ConfigError, ModelError
from jepakit.text import SentenceEncoder
from jepakit.text.encoder import in_one_line

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

__all__ = ["PROBES", "require_torch", "require_vectors"]

PROBES = ["how do I read a file", "open() returns a file object, and readlines() its lines."]
"""Texts by which a model that was written is compared with the one it was made of."""


def require_torch(model: SentenceTransformer) -> None:
    """Raises ConfigError where another library runs the model, and its weights are not at hand."""
    from sentence_transformers.base.modules import Transformer
    from transformers import PreTrainedModel

    if isinstance(model[0], Transformer) and not isinstance(model[0].model, PreTrainedModel):
        raise ConfigError("backend", type(model[0].model).__name__, "torch, in training too: others hold no weights")


def require_vectors(folder: Path, encoder: SentenceEncoder, queries: Tensor, documents: Tensor) -> None:
    """Raises ModelError where the model in a folder does not give these vectors, by direction, of `PROBES`.

    Args:
        folder: a model that was written.
        encoder: what it was made of.
        queries: ``[2, D]``, rows of length 1.
        documents: the same of documents.
    """
    from sentence_transformers import SentenceTransformer

    try:
        written = SentenceTransformer(str(folder), device=str(encoder.model.device), local_files_only=True)
        encode = (written.encode_query, written.encode_document)
        found = [one(PROBES, convert_to_tensor=True, show_progress_bar=False).float().cpu() for one in encode]
    except (AttributeError, ImportError, LookupError, RuntimeError, TypeError, ValueError) as error:
        raise ModelError(f"{encoder.name}: written, it cannot be loaded again ({in_one_line(error)})") from error
    # A base in half precision is written in single.
    tolerance = 1e-4 if encoder.model.dtype == torch.float32 else 5e-2
    near = [
        one.shape == other.shape and torch.allclose(F.normalize(one, dim=-1), other, rtol=0, atol=tolerance)
        for one, other in zip(found, (queries, documents), strict=True)
    ]
    if not all(near):
        raise ModelError(f"{encoder.name}: written and loaded again, it gives other vectors; it cannot be kept")
