"""Tensors in the cache: a file that is not what was written is built again, and the cache is never needed."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from jepakit.datasets.cache import Stored, cached_tensors


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "jepakit"


def toy() -> Stored:
    tensors = {"values": torch.tensor([1.5, torch.nan, -0.0]), "rows": torch.tensor([[2, 1]])}
    return tensors, {"source": "made by hand", "labels": ["a", "ä"]}


def never() -> Stored:
    raise AssertionError("the cache was not used")


def assert_toy(stored: Stored) -> None:
    tensors, header = toy()
    assert stored[1] == header
    assert stored[0].keys() == tensors.keys()
    for name, tensor in tensors.items():
        torch.testing.assert_close(stored[0][name], tensor, rtol=0, atol=0, equal_nan=True)


def test_what_comes_back_equals_what_was_built(folder: Path) -> None:
    assert_toy(cached_tensors("toy", toy))
    assert_toy(cached_tensors("toy", never))
    assert [file.name for file in folder.iterdir()] == ["toy.safetensors"]


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[:-3],
        lambda content: content[:5],
        lambda content: content[:0],
        lambda content: content[:8] + b"no header" + content[17:],
        lambda content: content[:-1] + bytes([content[-1] ^ 1]),
        lambda content: content.replace(b"made by hand", b"made by mind"),
    ],
    ids=["cut", "cut in the header", "empty", "no header", "one bit in a tensor", "one word in the header"],
)
def test_a_damaged_file_is_built_again(folder: Path, damage: Callable[[bytes], bytes]) -> None:
    cached_tensors("toy", toy)
    file = folder / "toy.safetensors"
    good = file.read_bytes()
    file.write_bytes(damage(good))
    assert file.read_bytes() != good
    with pytest.raises(AssertionError, match="not used"):
        cached_tensors("toy", never)
    assert_toy(cached_tensors("toy", toy))
    assert_toy(cached_tensors("toy", never))


def test_a_build_that_fails_leaves_nothing(folder: Path) -> None:
    with pytest.raises(AssertionError, match="not used"):
        cached_tensors("toy", never)
    assert not folder.exists()


def test_a_folder_that_cannot_be_written_costs_only_the_time(folder: Path) -> None:
    folder.write_text("a file stands where the folder should")
    assert_toy(cached_tensors("toy", toy))
    assert folder.is_file()
