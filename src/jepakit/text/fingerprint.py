"""A digest of everything that the vectors of a sentence encoder depend on."""

from __future__ import annotations

import hashlib
import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer


#: Settings that record how a model was saved; vectors do not depend on them.
_BOOKKEEPING = ("transformers_version", "architectures", "dtype", "torch_dtype")


def model_fingerprint(model: SentenceTransformer) -> str:
    """32 hexadecimal digits: a digest of weights, their types, modules and their options (pooling, ...), tokeniser,
    prompts and longest input.

    It does not depend on the model's folder, its device, or earlier calls.
    """
    from sentence_transformers.base.modules import Module

    modules = [
        (name, type(module).__qualname__, module.get_config_dict())
        for name, module in model.named_modules()
        if isinstance(module, Module)
    ]
    transformer = {} if model.config is None else model.config.to_diff_dict()
    settings = {
        "modules": modules,
        "transformer": {key: value for key, value in transformer.items() if key not in _BOOKKEEPING},
        "tokenizer": _tokenizer_rules(model.tokenizer),
        "prompts": model.prompts,
        "default_prompt": model.default_prompt_name,
        "longest": model.max_seq_length,
        "dimensions": model.truncate_dim,
    }
    # Processors have instructions for SHA-256, which makes it the fastest digest for large weights.
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode())
    for name, weight in sorted(model.state_dict().items()):
        digest.update(f"{name} {weight.dtype} {list(weight.shape)}".encode())
        digest.update(weight.cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()[:32]


def _tokenizer_rules(tokenizer: Any) -> object:
    """The settings of a tokeniser that determine its tokens, as JSON values."""
    from sentence_transformers.sentence_transformer.modules.tokenizer import WordTokenizer
    from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

    if isinstance(tokenizer, WordTokenizer):
        with tempfile.TemporaryDirectory() as folder:
            tokenizer.save(folder)
            return {file.name: file.read_text("utf-8") for file in sorted(Path(folder).iterdir())}
    if not isinstance(tokenizer, PreTrainedTokenizerBase):
        # Models of static embeddings have a tokeniser of the library `tokenizers`.
        return _backend_rules(tokenizer)
    fast = isinstance(tokenizer, PreTrainedTokenizerFast)
    return {
        "rules": _backend_rules(tokenizer.backend_tokenizer) if fast else tokenizer.get_vocab(),
        "special": {name: str(token) for name, token in tokenizer.special_tokens_map.items()},
        "sides": [tokenizer.padding_side, tokenizer.truncation_side],
        "inputs": tokenizer.model_input_names,
    }


def _backend_rules(tokenizer: Any) -> object:
    rules = json.loads(tokenizer.to_str())
    # These two are set by each batch.
    return {name: rule for name, rule in rules.items() if name not in ("truncation", "padding")}
