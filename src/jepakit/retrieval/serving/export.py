"""Export of an adapter and its base as one sentence-transformers model, which works without jepakit.

::

    base modules -> Normalize -> Router: query    -> Dense, ..., Normalize
                                         document -> Dense, ..., Normalize

The adapter becomes ``Dense`` layers with GELU between them, exactly. A residual connection is carried through an
activation by ``GELU(x) - GELU(-x) = x``.
"""

from __future__ import annotations

import copy
import json
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from jepakit.core import MLPPredictor
from jepakit.errors import ConfigError
from jepakit.files import whole_folder
from jepakit.retrieval.encoder import Adapter
from jepakit.retrieval.ranking import SearchSettings
from jepakit.retrieval.serving.model_folder import PROBES, require_torch, require_vectors
from jepakit.retrieval.serving.searcher import require_base
from jepakit.text import Kind, SentenceEncoder
from jepakit.text.quiet import quiet

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Module


def left_out(adapter: Adapter, settings: SearchSettings) -> tuple[str, ...]:
    """The parts of a run's search that an exported model lacks: it gives vectors, and does not search."""
    parts = {
        f"sentences (weight {settings.sentences:g})": settings.sentences,
        f"feedback (weight {settings.feedback:g})": settings.feedback,
        f"BM25 (weight {settings.words:g})": settings.words,
        f"BM25 in other collections (weight {settings.words_elsewhere:g})": settings.words_elsewhere,
        "the fall back to the base model for queries and documents unlike the training data": len(
            adapter.familiar_documents
        ),
    }
    return tuple(name for name, there in parts.items() if there)


def export_sentence_transformer(
    adapter: Adapter,
    encoder: SentenceEncoder,
    folder: str | Path,
    *,
    dataset: str | None = None,
    settings: SearchSettings | None = None,
) -> Path:
    """Writes a model folder for ``sentence_transformers.SentenceTransformer``. A failure leaves no partial folder.

    ``encode_query`` and ``encode_document`` of the exported model equal ``adapter.queries`` and ``adapter.documents``
    of the encoder's vectors, without familiarity and without zero vectors for blank texts; weights are float32.

    Args:
        adapter: trained.
        encoder: the base of the adapter.
        folder: a new or empty folder.
        dataset: the training data, for the model card.
        settings: weights of the run's search, for what the model card says is left out.

    Returns:
        ``folder``.

    Raises:
        ConfigError: the adapter predicts in both directions, or the base does not run in torch.
        ModelError: the adapter was trained on another base, the folder is not empty or cannot be written.
    """
    require_base(adapter, encoder)
    if adapter.config.direction == "both":
        way_out = "query or document for an export; search with jepakit.retrieval.Searcher, or train with one of them"
        raise ConfigError("direction", "both", way_out)
    require_torch(encoder.model)
    with whole_folder(Path(folder)) as partial:
        card = _card(
            adapter, Path(folder).expanduser().resolve().name, dataset, left_out(adapter, settings or SearchSettings())
        )
        (partial / "README.md").write_text(card, "utf-8")
        # Layers are initialised at random before they get their values; the caller's random state must not change.
        with quiet(), torch.random.fork_rng(devices=[]):
            _joined(adapter, encoder.model).save(str(partial), create_model_card=False)
            # Some modules of a base may not be saved correctly.
            queries, documents = encoder.encode(PROBES, "query"), encoder.encode(PROBES, "document")
            require_vectors(partial, encoder, adapter.queries(queries), adapter.documents(documents))
    return Path(folder)


def _joined(adapter: Adapter, base: SentenceTransformer) -> SentenceTransformer:
    """The modules of the base, then a router with a route for queries and one for documents."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Router
    from sentence_transformers.sentence_transformer.modules import Normalize

    if base.dtype != torch.float32:
        # Otherwise the library would convert the adapter to the half precision of the base as well.
        base = copy.deepcopy(base).float()
    router = Router.for_query_document(
        query_modules=_route(adapter, "query"), document_modules=_route(adapter, "document"), default_route="document"
    )
    return SentenceTransformer(
        modules=[*base.children(), *_truncation(base), Normalize(), router],
        device=str(base.device),
        prompts={name: prompt for name, prompt in base.prompts.items() if prompt is not None},
        default_prompt_name=base.default_prompt_name,
        similarity_fn_name="cosine",
    )


def _truncation(base: SentenceTransformer) -> list[Module]:
    """The truncation of the base's vectors as a module: it must precede the adapter."""
    from sentence_transformers.sentence_transformer.modules import Dense

    if base.truncate_dim is None:
        return []
    with base.truncate_embeddings(None):
        width = base.get_embedding_dimension()
    assert width is not None
    kept = torch.eye(min(base.truncate_dim, width), width)
    return [Dense(width, len(kept), bias=False, activation_function=None, init_weight=kept)]


def _route(adapter: Adapter, kind: Kind) -> list[Module]:
    from sentence_transformers.sentence_transformer.modules import Dense, Normalize

    layers = _unrolled(adapter, kind)
    return [
        *(
            Dense(
                layer.shape[1] - 1,
                len(layer),
                activation_function=None if layer is layers[-1] else nn.GELU(),
                init_weight=layer[:, :-1].float(),
                init_bias=layer[:, -1].float(),
            )
            for layer in layers
        ),
        Normalize(),
    ]


def _unrolled(adapter: Adapter, kind: Kind) -> list[Tensor]:
    """One side of the adapter as affine maps, with GELU between them and a normalisation after them.

    A map ``x -> W x + b`` is the matrix ``[W b]``, in float64, so that products stay exact in float32. ``start`` (the
    resized base vector) and ``now`` (the output of the networks so far) are maps from the output of the last layer.
    """
    turn = adapter.towers.start.detach().cpu()
    start = now = _linear(turn.T if turn.numel() else torch.eye(adapter.dim))
    networks = adapter.towers.networks(kind)
    if adapter.config.direction == kind:
        networks.append(adapter.predictor)
    networks = [network for network in networks if isinstance(network, MLPPredictor)]
    if not networks and not turn.numel():
        return []
    layers: list[Tensor] = []
    for network in networks:
        *hidden, last = (layer for layer in network.layers if isinstance(layer, nn.Linear))
        inner = now
        for layer in hidden:
            carried = [start] if start is now else [start, now]
            outer = _after(layer, inner)
            layers.append(torch.cat([outer, *carried, *(-kept for kept in carried)]))
            inner, *read = _read(len(outer), [len(kept) for kept in carried])
            start, now = read[0], read[-1]
        now = _after(last, inner) + now if network.residual else _after(last, inner)
    strength = float(adapter.strength)
    return [*layers, start * (1 - strength) + now * strength]


def _linear(weight: Tensor) -> Tensor:
    return F.pad(weight.double(), (0, 1))


def _after(layer: nn.Linear, first: Tensor) -> Tensor:
    """The map ``first``, then the layer."""
    product = layer.weight.detach().double().cpu() @ first
    product[:, -1] += layer.bias.detach().double().cpu()
    return product


def _read(hidden: int, carried: list[int]) -> list[Tensor]:
    """Maps from ``GELU([h, c1, ..., -c1, ...])`` to ``GELU(h)`` and to each ``c``."""
    identity = torch.eye(hidden + 2 * sum(carried))
    plus, minus = identity[hidden:].tensor_split(2)
    return [_linear(rows) for rows in (identity[:hidden], *(plus - minus).split(carried))]


def _card(adapter: Adapter, name: str, dataset: str | None, missing: tuple[str, ...]) -> str:
    lacks = "".join(f"- Left out of jepakit's search: {part}.\n" for part in missing)
    trained_on = "not recorded" if dataset is None else " ".join(dataset.split())
    return f"""\
---
library_name: sentence-transformers
pipeline_tag: sentence-similarity
tags:
- sentence-transformers
- sentence-similarity
- feature-extraction
- jepakit
---

# {name}

A sentence encoder for search: {adapter.base} with an adapter that jepakit trained on top of it.

- **Base:** {adapter.base}
- **Trained on:** {trained_on}
- **Strength of the adapter:** {float(adapter.strength):.3g}
- **Written by:** jepakit {version("jepakit")}, sentence-transformers {version("sentence-transformers")}

## How to use it

```python
from sentence_transformers import SentenceTransformer

model = SentenceTransformer({json.dumps(name, ensure_ascii=False)})
queries = model.encode_query(["how do I read a file"])
documents = model.encode_document(["open() returns a file object."])
scores = model.similarity(queries, documents)
```

Queries and documents are encoded differently. `encode` always encodes documents, even with the prompt of a query.

## Limits

{lacks}- This model applies the full strength of the adapter to every query.
- jepakit encodes a blank text as a vector of zeros. This model does not: do not index blank texts.
"""
