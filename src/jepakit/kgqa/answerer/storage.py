"""An answerer on disk: a folder with what was trained; the language model is named in it, not copied.

``config.json`` has the configuration, name and fingerprint of the language model, and the fingerprint of the graph;
``model.safetensors`` the fusion and the trained weights of the language model; ``encoder/`` is the folder of the graph
encoder; ``README.md`` the card.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path

import torch
from torch import Tensor

from jepakit.errors import ModelError
from jepakit.files import digest_of, read_json, reading, stated_digest, whole_folder, write_json, write_text
from jepakit.files.tensors import read_tensors, write_tensors
from jepakit.kgqa.answerer.answering import AnswerSettings
from jepakit.kgqa.answerer.config import AnswererConfig, build_answerer
from jepakit.kgqa.answerer.language_model import Dtype, LanguageModel, load_language_model
from jepakit.kgqa.answerer.model import Answerer
from jepakit.kgqa.data import KnowledgeGraph
from jepakit.kgqa.encoder import KnowledgeEncoder
from jepakit.training import load_encoder_as, save_encoder
from jepakit.training.checked import checked
from jepakit.training.storage.weights import require_shapes

_FORMAT_VERSION = 1
_CONFIG, _WEIGHTS, _ENCODER, _CARD = "config.json", "model.safetensors", "encoder", "README.md"
_IN_ENCODER = "encoder."


@dataclass(frozen=True)
class _Description:
    """``config.json``, but for versions and digests."""

    answerer: AnswererConfig
    settings: AnswerSettings
    dim: int
    llm_fingerprint: str
    graph: str
    graph_fingerprint: str


@dataclass(frozen=True)
class SavedAnswerer:
    """What a folder holds.

    Args:
        answerer: in eval mode.
        config: what it was built from.
        settings: how it ranks and when it abstains.
    """

    answerer: Answerer
    config: AnswererConfig
    settings: AnswerSettings


def save_answerer(
    answerer: Answerer,
    folder: Path,
    *,
    config: AnswererConfig,
    settings: AnswerSettings,
    graph: KnowledgeGraph,
    dim: int,
    card: Mapping[str, object] | None = None,
) -> None:
    """Writes the folder, whole or not at all, over an earlier one.

    Args:
        answerer: its encoder, where it has one, is a `KnowledgeEncoder`.
        folder: where to.
        config: what the answerer was built from.
        settings: how it ranks and when it abstains.
        graph: the graph it was trained on.
        dim: width of the encoder's embeddings.
        card: further lines of the card.

    Raises:
        ModelError: the encoder is none of jepakit's, or the folder cannot be written.
    """
    config, encoder = replace(config, llm_model=answerer.language_model.name), answerer.encoder
    if encoder is not None and not isinstance(encoder, KnowledgeEncoder):
        raise ModelError(f"{folder}: an encoder of class {type(encoder).__name__} cannot be saved with an answerer")
    state: dict[str, Tensor] = {k: v for k, v in answerer.state_dict().items() if not k.startswith(_IN_ENCODER)}
    with whole_folder(folder, replace=True) as unfinished:
        write_tensors(unfinished / _WEIGHTS, state, {"format": "pt"})
        if encoder is not None:
            save_encoder(encoder, unfinished / _ENCODER, config=encoder.arguments)
        described = _Description(
            config, settings, dim, answerer.language_model.fingerprint, graph.name, graph.fingerprint
        )
        about = {"format_version": _FORMAT_VERSION, "jepakit_version": version("jepakit")}
        digests = {_WEIGHTS: digest_of(unfinished / _WEIGHTS)}
        write_json(unfinished / _CONFIG, {**about, **asdict(described), "digests": digests})
        write_text(unfinished / _CARD, _card(described, card or {}))


def load_answerer(
    folder: Path,
    graph: KnowledgeGraph,
    *,
    language_model: LanguageModel | None = None,
    device: str | torch.device = "auto",
    dtype: Dtype = "auto",
) -> SavedAnswerer:
    """Gives a saved answerer back.

    Args:
        folder: the folder.
        graph: the graph it is asked about: the one it was trained on.
        language_model: loaded already, without additions; None loads the one that the folder names.
        device: where to put it; ``auto`` is a GPU if there is one. A given language model stays where it is.
        dtype: see `load_language_model`.

    Raises:
        ModelError: the folder is missing, incomplete, damaged, or of another graph; or the language model cannot be
            loaded, or is not the one it was trained with.
        MissingExtraError: a package is missing.
    """
    missing = [name for name in (_CONFIG, _WEIGHTS) if not (folder / name).is_file()]
    if missing:
        raise ModelError(f"{folder} is not a complete folder of an answerer: {' and '.join(missing)} is missing")
    content = read_json(folder / _CONFIG, ModelError)
    if content.get("format_version") != _FORMAT_VERSION:
        found = content.get("format_version")
        raise ModelError(f"{folder / _CONFIG}: format_version is {found!r}; this jepakit reads {_FORMAT_VERSION}")
    with reading(folder / _CONFIG, ModelError):
        saved = checked(_Description, content)
    if content.get("digests") != {_WEIGHTS: stated_digest(folder / _WEIGHTS)}:
        raise ModelError(f"{folder / _WEIGHTS}: not the weights of this {_CONFIG}")
    if saved.graph_fingerprint != graph.fingerprint:
        trained, given = (f"{name} ({mark})" for name, mark in _graphs(saved, graph))
        raise ModelError(f"{folder}: was trained on the graph {trained}, not on {given}; fine-tune on this graph")
    config = saved.answerer
    model = language_model or load_language_model(config.llm_model, device=device, dtype=dtype)
    if model.fingerprint != saved.llm_fingerprint:
        raise ModelError(f"{folder}: was trained with another version of the language model {config.llm_model}")
    encoder = load_encoder_as(KnowledgeEncoder, folder / _ENCODER) if config.fusion.name != "prompt" else None
    with torch.random.fork_rng(devices=[]):
        answerer = build_answerer(config, model, encoder, saved.dim)
    state, _ = read_tensors(folder / _WEIGHTS)
    built = answerer.state_dict()
    if encoder is not None:
        state |= {name: value for name, value in built.items() if name.startswith(_IN_ENCODER)}
    shapes = {name: tuple(value.shape) for name, value in state.items()}
    require_shapes(answerer, shapes, folder / _WEIGHTS)
    answerer.load_state_dict(state)
    return SavedAnswerer(answerer.to(model.model.device).eval(), config, saved.settings)


def _graphs(saved: _Description, graph: KnowledgeGraph) -> tuple[tuple[str, str], tuple[str, str]]:
    return (saved.graph, saved.graph_fingerprint), (graph.name, graph.fingerprint)


def _card(saved: _Description, card: Mapping[str, object]) -> str:
    config, settings = saved.answerer, saved.settings
    lines = {
        "Graph": f"{saved.graph} ({saved.graph_fingerprint})",
        "Language model": f"{config.llm_model}, {config.tuning}; its own weights are not in this folder",
        "Soft tokens": f"{config.fusion.count}, by {config.fusion.name}",
        "Ranking": f"weight {settings.weight} of the language model beside the retriever",
        "Abstention": f"below a probability of {settings.threshold:.3g}, chosen on held-out questions",
        **card,
    }
    listed = "\n".join(f"- **{name}:** {' '.join(str(value).split())}" for name, value in lines.items())
    front = "---\nlibrary_name: jepakit\ntags: [jepakit, graph-question-answering]\n---\n"
    return f"{front}\n# An answerer of questions over a knowledge graph\n\n{listed}\n"
