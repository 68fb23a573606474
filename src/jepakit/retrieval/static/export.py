"""Export of a static encoder and its base as one sentence-transformers model, which works without jepakit.

::

    Router: query    -> StaticEmbedding, Normalize
            document -> modules of the base, Normalize

``StaticEmbedding`` averages the vectors of a text's tokens. It has no pairs of tokens and no perceptron, so these must
be left out in training.
"""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
import torch

from jepakit.errors import ConfigError, ModelError
from jepakit.files import whole_folder, write_text
from jepakit.retrieval.serving.model_folder import PROBES, require_torch, require_vectors
from jepakit.search.static.encoder import StaticEncoder
from jepakit.search.static.features import tokenizer_of
from jepakit.text import SentenceEncoder
from jepakit.text.quiet import quiet

if TYPE_CHECKING:
    from sentence_transformers.base.modules import Module

LEFT_OUT = "the gate: unfamiliar queries are not encoded by the base model"
"""What an exported model lacks."""


def export_static(static: StaticEncoder, encoder: SentenceEncoder, folder: str | Path) -> Path:
    """Writes a model folder for ``sentence_transformers.SentenceTransformer``. A failure leaves no partial folder.

    ``encode_query`` of the exported model equals the static encoder, for texts of at most 256 tokens;
    ``encode_document`` equals the base model. `LEFT_OUT` is lost.

    Args:
        static: trained without pairs and without a perceptron.
        encoder: its base.
        folder: a new or empty folder.

    Returns:
        ``folder``.

    Raises:
        ConfigError: the encoder has pairs or a perceptron, or the base does not run in torch.
        ModelError: it was trained on another base or for adapted documents, or the folder cannot be written.
    """
    if len(static.features.pairs):
        raise ConfigError("static.pairs", True, "false in training: StaticEmbedding has no vectors for pairs of tokens")
    if static.layers:
        raise ConfigError("static.hidden", len(static.layers[0][1]), "0 in training: StaticEmbedding has no perceptron")
    if static.documents != encoder.fingerprint:
        raise ModelError(f"the static encoder is for documents with other vectors than those of {encoder.name}")
    require_torch(encoder.model)
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Router
    from sentence_transformers.sentence_transformer.modules import Normalize, StaticEmbedding

    rows = static.features.tokens
    table = np.zeros((len(rows), static.dim), np.float32)
    vectors = static.table.astype(np.float32) * static.scale[:, None]
    vectors = vectors if static.widen is None else vectors @ static.widen.T
    table[rows >= 0] = vectors[rows[rows >= 0]]
    with whole_folder(Path(folder)) as partial, quiet(), torch.random.fork_rng(devices=[]):
        of_base = cast("list[Module]", list(encoder.model.children()))
        router = Router.for_query_document(
            query_modules=[StaticEmbedding(tokenizer_of(static.features.rules), table), Normalize()],
            document_modules=[*of_base, Normalize()],
            default_route="document",
        )
        # The static encoder reads queries without the base's prompt for them.
        prompts = {name: prompt for name, prompt in encoder.model.prompts.items() if prompt and name != "query"}
        model = SentenceTransformer(
            modules=[router], device=str(encoder.model.device), prompts=prompts, similarity_fn_name="cosine"
        )
        write_text(partial / "README.md", _card(static))
        model.save(str(partial), create_model_card=False)
        expected = torch.from_numpy(static.encode(PROBES))
        require_vectors(partial, encoder, expected, encoder.encode(PROBES, "document"))
    return Path(folder)


def _card(static: StaticEncoder) -> str:
    return f"""\
---
library_name: sentence-transformers
pipeline_tag: sentence-similarity
tags:
- sentence-transformers
- sentence-similarity
- jepakit
---

# Search with static queries

`encode_document` is {static.base}. `encode_query` averages token vectors that predict its vectors, and needs no
transformer. Use it for questions about the documents it was trained on.

- **Base:** {static.base}
- **Written by:** jepakit {version("jepakit")}, sentence-transformers {version("sentence-transformers")}
- **Left out of jepakit's search:** {LEFT_OUT}
"""
