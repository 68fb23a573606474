"""Model folders of sentence-transformers: what can be written as one, and writing it whole and right or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from torch import Tensor

from jepakit.errors import ConfigError, ModelError
from jepakit.text import SentenceEncoder
from jepakit.text.encoder import in_one_line

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

__all__ = ["PROBES", "require_torch", "require_vectors", "whole_folder"]

PROBES = ["how do I read a file", "open() returns a file object, and readlines() its lines."]
"""Texts by which a model that was written is compared with the one it was made of."""


@contextmanager
def whole_folder(folder: Path) -> Generator[Path]:
    """A folder to write into, which takes the name ``folder`` when all that was written is on the disk.

    Raises:
        ModelError: ``folder`` is there and not empty, or cannot be written.
    """
    target = folder.expanduser().resolve()
    if target.exists() and not (target.is_dir() and not any(target.iterdir())):
        raise ModelError(f"{target}: is there already; give a new folder, or remove it first")
    partial = target.parent / f".{target.name}.{uuid4().hex[:8]}.partial"
    try:
        partial.mkdir(parents=True)
        mode = partial.stat().st_mode & 0o666
        yield partial
        _finish(partial, mode)
        partial.rename(target)
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{target}: the model could not be written ({error})") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


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


def _finish(folder: Path, mode: int) -> None:
    """Files that others may read too, and that are on the disk when the folder gets its name."""
    # safetensors makes files that only their owner can read, whatever the umask says.
    for path in folder.rglob("*"):
        if path.is_file():
            path.chmod(mode)
            with path.open("rb+") as opened:
                os.fsync(opened.fileno())
