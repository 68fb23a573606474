"""One flipped bit anywhere in what was written is noticed on load or changes nothing, and `verify` names the file."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from jepakit.errors import DataError, JepakitError, ModelError
from jepakit.files import read_json, write_json
from jepakit.files.tensors import read_tensors, write_tensors
from jepakit.files.verify import verify
from jepakit.training import load_encoder, save_encoder
from jepakit.training.storage.checkpoint import read_checkpoint, write_checkpoint

FLIPS = 60


def flipped(folder: Path, load: Callable[[], object]) -> int:
    """Flips bits at random places, one at a time; returns how many loads were refused. The others loaded the same."""
    draw = random.Random(0)
    before = load()
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.stat().st_size)
    refused = 0
    for _ in range(FLIPS):
        file = draw.choice(files)
        content = file.read_bytes()
        damaged = bytearray(content)
        damaged[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
        file.write_bytes(damaged)
        try:
            assert load() == before, file
        except JepakitError as error:
            refused += file.name in str(error) or pytest.fail(f"{file} is not named: {error}")
        file.write_bytes(content)
    assert load() == before
    return refused


def values(module: nn.Module) -> dict[str, list[float]]:
    return {name: tensor.flatten().tolist() for name, tensor in module.state_dict().items()}


def test_a_flipped_bit_in_an_encoder_folder(tmp_path: Path) -> None:
    folder = tmp_path / "encoder"
    save_encoder(nn.Linear(3, 4), folder, config={"in_features": 3, "out_features": 4})
    (folder / "README.md").unlink()
    assert flipped(folder, lambda: values(load_encoder(folder, encoder_class=nn.Linear))) > FLIPS // 2


def test_a_flipped_bit_in_a_checkpoint(tmp_path: Path) -> None:
    file = tmp_path / "last.safetensors"
    write_checkpoint({"epoch": 3, "state": {"w": torch.arange(50.0)}, "best": float("inf")}, file)

    def load() -> object:
        content = read_checkpoint(file)
        return [content["epoch"], content["state"]["w"].tolist(), content["best"]]

    assert flipped(tmp_path, load) > FLIPS * 3 // 4


def test_a_flipped_bit_in_results(tmp_path: Path) -> None:
    write_json(tmp_path / "results.json", {"rows": [{"value": 0.8125, "note": "x"}] * 10})
    assert flipped(tmp_path, lambda: read_json(tmp_path / "results.json")["rows"]) > FLIPS * 3 // 4


def test_the_same_tensors_give_the_same_bytes(tmp_path: Path) -> None:
    tensors = {"b": torch.ones(2, 3, dtype=torch.bfloat16), "a": torch.zeros((), dtype=torch.int64), "c": torch.ones(0)}
    metadata = {f"key {number}": "{}" for number in range(20)}
    write_tensors(tmp_path / "1.safetensors", tensors, metadata)
    write_tensors(tmp_path / "2.safetensors", dict(reversed(tensors.items())), dict(reversed(metadata.items())))
    assert (tmp_path / "1.safetensors").read_bytes() == (tmp_path / "2.safetensors").read_bytes()
    loaded, stated = read_tensors(tmp_path / "1.safetensors")
    assert stated == metadata
    assert {name: (t.dtype, t.tolist()) for name, t in loaded.items()} == {
        name: (t.dtype, t.tolist()) for name, t in tensors.items()
    }


def test_verify_names_what_is_damaged_or_missing(tmp_path: Path) -> None:
    folder = tmp_path / "encoder"
    save_encoder(nn.Linear(3, 4), folder, config={"in_features": 3, "out_features": 4})
    found = verify(tmp_path)
    assert (found.files, found.with_digest, found.faults) == (3, 2, ())
    weights = folder / "model.safetensors"
    content = weights.read_bytes()
    weights.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert all(str(weights) in fault for fault in verify(tmp_path).faults)
    assert verify(tmp_path).faults
    weights.unlink()
    (fault,) = verify(tmp_path).faults
    assert str(weights) in fault
    with pytest.raises(ModelError, match="nowhere"):
        verify(tmp_path / "nowhere")


def test_an_object_that_was_edited_is_refused_until_its_digest_is_deleted(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    write_json(file, {"a": 1})
    file.write_text(file.read_text().replace('"a": 1', '"a": 2'))
    with pytest.raises(DataError, match=r"a\.json: .*sha256"):
        read_json(file)
    file.write_text('{"a": 2}')
    assert read_json(file) == {"a": 2}
