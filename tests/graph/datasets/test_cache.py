"""The dataset cache: what comes out equals what went in, and a file that is not what was written is built again."""

from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import pytest
import torch

from jepakit.cache import cache_folder
from jepakit.graph.data import GraphDataset, Graphs
from jepakit.graph.datasets.cache import cached_dataset


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "jepakit"


def toy() -> GraphDataset:
    graphs = Graphs.pack(
        x=torch.tensor([[1.0, 0.0], [0.0, 1.0], [255.0, 3.0]]),
        edge_index=torch.tensor([[0, 1], [1, 0]]),
        nodes_per_graph=torch.tensor([2, 1]),
        edge_attr=torch.tensor([[-0.5], [256.0]]),
        y=torch.tensor([[1.0, torch.nan], [0.0, 1.0]]),
    )
    splits = {"train": torch.tensor([1]), "val": torch.tensor([], dtype=torch.long), "test": torch.tensor([0])}
    return GraphDataset("toy", graphs, "graph multilabel", ("a", "ä"), splits, "made by hand")


def never() -> GraphDataset:
    raise AssertionError("the cache was not used")


def assert_same(left: GraphDataset, right: GraphDataset) -> None:
    for name in ("name", "task", "label_names", "source"):
        assert getattr(left, name) == getattr(right, name)
    assert list(left.splits) == list(right.splits)
    pairs: list[tuple[torch.Tensor | None, torch.Tensor | None]]
    pairs = [(left.splits[name], right.splits[name]) for name in left.splits]
    pairs += [(getattr(left.graphs, f.name), getattr(right.graphs, f.name)) for f in fields(Graphs)]
    for a, b in pairs:
        assert (a is None) == (b is None)
        if a is not None and b is not None:
            assert a.dtype == b.dtype
            torch.testing.assert_close(a, b, rtol=0, atol=0, equal_nan=True)


def test_what_comes_back_equals_what_was_built(folder: Path) -> None:
    assert_same(cached_dataset("toy", toy), toy())
    assert_same(cached_dataset("toy", never), toy())
    assert [file.name for file in folder.iterdir()] == ["toy.safetensors"]


def test_whole_numbers_take_a_byte_each(folder: Path) -> None:
    def wide() -> GraphDataset:
        x = torch.eye(8)[torch.arange(1000) % 8]
        return GraphDataset("wide", Graphs.pack(x, torch.zeros(2, 0, dtype=torch.long), torch.tensor([1000])))

    assert_same(cached_dataset("wide", wide), wide())
    assert (folder / "wide.safetensors").stat().st_size < 1000 * 8 * 2


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
    cached_dataset("toy", toy)
    file = folder / "toy.safetensors"
    good = file.read_bytes()
    file.write_bytes(damage(good))
    assert file.read_bytes() != good
    with pytest.raises(AssertionError, match="not used"):
        cached_dataset("toy", never)
    assert_same(cached_dataset("toy", toy), toy())
    assert_same(cached_dataset("toy", never), toy())


def test_a_build_that_fails_leaves_nothing(folder: Path) -> None:
    with pytest.raises(AssertionError, match="not used"):
        cached_dataset("toy", never)
    assert not folder.exists()


def test_a_folder_that_cannot_be_written_costs_only_the_time(folder: Path) -> None:
    folder.write_text("a file stands where the folder should")
    assert_same(cached_dataset("toy", toy), toy())
    assert folder.is_file()


def test_without_the_variable_the_cache_is_below_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "jepakit"
