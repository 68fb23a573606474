"""What a training run leaves: its encoder beside the untrained one, their diagnosis, a sample of embeddings."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from torch import Tensor, nn

from jepakit.core import Diagnosis
from jepakit.files import write_json
from jepakit.files.tensors import write_tensors
from jepakit.training.run import RunFolder, is_first_process
from jepakit.training.storage.encoder_folder import Role, save_encoder


def save_trained(
    run: RunFolder,
    encoder: nn.Module,
    random_encoder: nn.Module,
    *,
    devices: int,
    card: Mapping[str, object],
    diagnosis: Diagnosis,
    embeddings: Tensor,
    labels: Tensor | None = None,
    label_names: Sequence[str] = (),
    role: Role = "context",
) -> None:
    """Writes diagnosis, embeddings, ``random_encoder/`` and ``encoder/``; only the first process of several does.

    Args:
        run: the run.
        encoder: trained; its ``arguments`` are the keywords of its constructor.
        random_encoder: the same one before training.
        devices: how many trained it.
        card: what the model cards say.
        diagnosis: of ``embeddings``.
        embeddings: of a sample, ``[N, D]``.
        labels: a class of each, ``[N]``, for the map of the embeddings.
        label_names: names of the classes.
        role: which encoder of a JEPA ``encoder`` is.

    Raises:
        ModelError: a file cannot be written.
    """
    if not is_first_process(devices):
        return
    write_json(run.diagnosis, {"collapsed": diagnosis.collapsed, **asdict(diagnosis)})
    tensors = {"embedding": embeddings} | ({} if labels is None else {"label": labels})
    write_tensors(run.embeddings, tensors, {"label_names": json.dumps(list(label_names))})
    # `encoder/` comes last: where it is, the run is complete.
    save_encoder(random_encoder, run.random_encoder, config=_arguments(random_encoder), card=card)
    save_encoder(encoder, run.encoder, config=_arguments(encoder), card=card, role=role)


def _arguments(encoder: Any) -> dict[str, object]:
    return encoder.arguments
