"""Nearest vectors, exact and by graph: against brute force, after changes, from a file, and with bad input."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch
from torch import Tensor

from jepakit.errors import ConfigError, DataError, MissingExtraError, ModelError
from jepakit.search.vectors import IndexConfig, VectorIndex

Kind = Literal["exact", "hnsw"]
kinds = pytest.mark.parametrize("kind", ["exact", "hnsw"])

# By angle, so that cosines can be read off.
NORTH, EAST, SOUTH, WEST = (0.0, 1.0), (1.0, 0.0), (0.0, -1.0), (-1.0, 0.0)


def units(count: int, dim: int = 16, seed: int = 0) -> Tensor:
    vectors = torch.randn(count, dim, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.normalize(vectors, dim=-1)


def nearest(queries: Tensor, vectors: Tensor, k: int, allowed: np.ndarray | None = None) -> list[list[int]]:
    scores = (queries.double() @ vectors.double().T).numpy()
    if allowed is not None:
        scores[:, ~allowed] = -2
    return np.argsort(-scores, axis=1)[:, :k].tolist()


def recall(found: Tensor, wanted: list[list[int]]) -> float:
    return float(np.mean([len(set(a) & set(b)) / len(b) for a, b in zip(found.tolist(), wanted, strict=True)]))


@kinds
def test_four_directions_by_hand(kind: Kind) -> None:
    index = VectorIndex.build(torch.tensor([NORTH, EAST, SOUTH, WEST]), IndexConfig(kind))
    hits = index.search(torch.tensor([(0.6, 0.8), (-0.8, 0.6)]), 2)
    assert hits.rows.tolist() == [[0, 1], [3, 0]]
    assert torch.allclose(hits.scores, torch.tensor([[0.8, 0.6], [0.8, 0.6]]))
    index.delete([0])
    hits = index.search(torch.tensor([NORTH]), 5)
    assert hits.rows.tolist() == [[1, 3, 2, -1, -1]]
    assert hits.scores.tolist() == [[0, 0, -1, -torch.inf, -torch.inf]]
    index.add(torch.tensor([(0.6, 0.8)]))
    assert (len(index), index.size) == (4, 5)
    assert index.search(torch.tensor([NORTH]), 1).rows.tolist() == [[4]]
    allowed = np.array([True, False, True, True, False])
    assert index.search(torch.tensor([NORTH]), 5, allowed).rows.tolist() == [[3, 2, -1, -1, -1]]
    assert index.vectors([4, 1]).tolist() == [pytest.approx([0.6, 0.8]), list(EAST)]


@pytest.mark.parametrize("share", [1.0, 0.6, 0.02])
def test_exact_is_brute_force(share: float) -> None:
    """With more rows than are scored at once, more queries too, and few or many rows allowed."""
    vectors, queries = units(40_000), units(300, seed=1)
    allowed = None if share == 1 else np.random.default_rng(0).random(len(vectors)) < share
    hits = VectorIndex.build(vectors).search(queries, 10, allowed)
    assert hits.rows.tolist() == nearest(queries, vectors, 10, allowed)
    assert torch.allclose(hits.scores, (vectors[hits.rows] * queries[:, None]).sum(-1), atol=1e-6)


@pytest.mark.parametrize("share", [1.0, 0.5, 0.3, 0.01])
def test_graph_finds_nearly_all_under_any_filter(share: float) -> None:
    vectors, queries = units(5_000, dim=8), units(100, dim=8, seed=1)
    allowed = None if share == 1 else np.random.default_rng(0).random(len(vectors)) < share
    index = VectorIndex.build(vectors, IndexConfig("hnsw", links=8, ef_construction=64, ef_search=64))
    hits = index.search(queries, 10, allowed)
    assert recall(hits.rows, nearest(queries, vectors, 10, allowed)) > 0.99
    assert allowed is None or allowed[hits.rows.numpy()].all()
    assert torch.allclose(hits.scores, (vectors[hits.rows] * queries[:, None]).sum(-1), atol=1e-6)


@kinds
def test_more_hits_than_candidates_of_the_graph(kind: Kind) -> None:
    vectors = units(300)
    index = VectorIndex.build(vectors, IndexConfig(kind, ef_search=8))
    assert index.search(vectors[:1], 300).rows[0].sort().values.tolist() == list(range(300))


@kinds
def test_equal_scores_come_in_the_order_of_rows(kind: Kind) -> None:
    index = VectorIndex.build(torch.tensor([EAST, NORTH, EAST, NORTH, EAST]), IndexConfig(kind))
    assert index.search(torch.tensor([EAST]), 5).rows.tolist() == [[0, 2, 4, 1, 3]]


@kinds
def test_blocks_give_what_the_whole_gives(kind: Kind) -> None:
    vectors, queries = units(1_000), units(20, seed=1)
    whole = VectorIndex.build(vectors.numpy(), IndexConfig(kind)).search(queries, 5)
    blocks = VectorIndex.build((vectors[at : at + 7] for at in range(0, 1_000, 7)), IndexConfig(kind)).search(
        queries, 5
    )
    assert torch.equal(whole.rows, blocks.rows)


def test_half_precision_is_close_enough_to_length_one() -> None:
    vectors = units(50, dim=384)
    hits = VectorIndex.build(vectors.half()).search(vectors, 1)
    assert hits.rows[:, 0].tolist() == list(range(50))


@kinds
def test_blank_texts_are_vectors_of_zeros(kind: Kind) -> None:
    vectors = torch.tensor([NORTH, (0.0, 0.0), SOUTH])
    hits = VectorIndex.build(vectors, IndexConfig(kind)).search(torch.tensor([(0.0, 0.0), NORTH]), 3)
    assert hits.rows.tolist() == [[-1, -1, -1], [0, 1, 2]]
    assert hits.scores[0].isneginf().all()


@kinds
def test_nothing_to_search_in_or_for(kind: Kind, tmp_path: Path) -> None:
    index = VectorIndex.build(torch.zeros(0, 2), IndexConfig(kind))
    assert index.search(torch.tensor([NORTH]), 2).rows.tolist() == [[-1, -1]]
    index.save(tmp_path)
    index = VectorIndex.load(tmp_path)
    index.add(torch.tensor([EAST]))
    assert index.search(torch.zeros(0, 2), 2).rows.shape == (0, 2)
    assert index.search(torch.tensor([NORTH]), 1, np.array([False])).rows.tolist() == [[-1]]
    index.delete([0])
    assert index.search(torch.tensor([EAST]), 1).rows.tolist() == [[-1]]
    assert index.compacted().size == 0


@kinds
def test_compaction_numbers_the_living_anew(kind: Kind) -> None:
    vectors = units(40)
    index = VectorIndex.build(vectors, IndexConfig(kind))
    index.delete(range(10))
    assert not index.sparse
    index.delete([39])
    assert index.sparse
    small = index.compacted()
    assert (len(small), small.size, small.sparse) == (29, 29, False)
    assert torch.equal(small.vectors(range(29)), vectors[10:39])
    assert small.search(vectors[20:22], 1).rows.tolist() == [[10], [11]]


@kinds
def test_files_are_mapped_linked_and_outlive_their_names(kind: Kind, tmp_path: Path) -> None:
    vectors, queries = units(500), units(20, seed=1)
    first, second, third = (tmp_path / name for name in ("first", "second", "third"))
    for folder in (first, second, third):
        folder.mkdir()
    index = VectorIndex.build(vectors, IndexConfig(kind, ef_search=77))
    index.save(first)
    loaded = VectorIndex.load(first)
    assert loaded.config == IndexConfig(kind, ef_search=77)
    assert torch.equal(loaded.search(queries, 5).rows, index.search(queries, 5).rows)
    loaded.delete([3])
    loaded.save(second)
    name = "vectors.npy" if kind == "exact" else "vectors.faiss"
    assert (second / name).samefile(first / name)
    changed = VectorIndex.load(second)
    changed.add(units(2, seed=2))
    changed.save(third)
    for file in (*first.iterdir(), *second.iterdir()):
        file.unlink()
    assert torch.equal(loaded.search(queries, 5).rows, changed.search(queries, 5, np.arange(502) < 500).rows)
    reopened = VectorIndex.load(third)
    assert (len(reopened), reopened.size) == (501, 502)
    assert reopened.search(units(2, seed=2), 1).rows.tolist() == [[500], [501]]
    assert torch.equal(reopened.vectors([0, 501]), torch.stack([vectors[0], units(2, seed=2)[1]]))


def test_a_change_leaves_the_mapped_file_alone(tmp_path: Path) -> None:
    VectorIndex.build(units(5)).save(tmp_path)
    before = (tmp_path / "vectors.npy").read_bytes()
    taken = VectorIndex.load(tmp_path).vectors([0])
    taken.zero_()
    assert (tmp_path / "vectors.npy").read_bytes() == before


BAD_VECTORS = {
    "nan": ([NORTH, (float("nan"), 0.0)], "vectors: row 3 (id 'd'): the vector is not finite"),
    "inf": ([NORTH, (float("inf"), 0.0)], "vectors: row 3 (id 'd'): the vector is not finite"),
    "long": ([(3.0, 4.0)], "vectors: row 2 (id 'c'): the vector is not of length 1 (found 5.0); expected unit vectors"),
    "short": ([NORTH, (0.1, 0.0)], "vectors: row 3 (id 'd'): the vector is not of length 1 (found 0.1"),
    "huge": ([(1e30, 1e30)], "vectors: row 2 (id 'c'): the vector is not of length 1"),
    "width": ([(1.0, 0.0, 0.0)], "vectors: vectors of another width (found (1, 3)); expected [N, 2]"),
    "one dimension": (NORTH, "vectors: vectors of another width (found (2,)); expected [N, 2]"),
}


@kinds
@pytest.mark.parametrize("name", BAD_VECTORS)
def test_bad_vectors_are_named_and_not_taken(kind: Kind, name: str) -> None:
    bad, message = BAD_VECTORS[name]
    index = VectorIndex.build(torch.tensor([NORTH, EAST]), IndexConfig(kind))
    with pytest.raises(DataError) as caught:
        index.add(torch.tensor(bad), names=["c", "d"])
    assert message in str(caught.value)
    assert (len(index), index.search(torch.tensor([EAST]), 2).rows.tolist()) == (2, [[1, 0]])


def test_faults_of_blocks_queries_rows_and_options() -> None:
    vectors = units(10)
    index = VectorIndex.build(vectors)
    bad = vectors.clone()
    bad[7] *= 2
    with pytest.raises(DataError, match=r"row 7 \(id 'seven'\): the vector is not of length 1"):
        VectorIndex.build((bad[at : at + 3] for at in (0, 3, 6)), names=[*"abcdefg", "seven"])
    with pytest.raises(DataError, match="blocks of vectors differ in width"):
        VectorIndex.build(iter([vectors, vectors[:, :3]]))
    with pytest.raises(DataError, match="there are no vectors"):
        VectorIndex.build(iter([]))
    with pytest.raises(DataError, match=r"queries: row 1: the vector is not finite"):
        index.search(torch.stack([vectors[0], vectors[1] * torch.nan]), 1)
    with pytest.raises(DataError, match=r"queries: vectors of another width \(found \(1, 3\)\); expected \[N, 16\]"):
        index.search(vectors[:1, :3], 1)
    with pytest.raises(ConfigError, match="k = 0: expected at least 1"):
        index.search(vectors, 0)
    index.delete([2])
    for rows in ([2], [10], [-1]):
        for use in (index.delete, index.vectors):
            with pytest.raises(
                DataError, match=rf"no such row \(found {rows[0]}\); expected rows from 0 to 9 that are not"
            ):
                use(rows)
    with pytest.raises(ConfigError, match=r"kind = 'hsnw': expected one of exact, hnsw \(did you mean 'hnsw'\?\)"):
        IndexConfig("hsnw")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ConfigError, match="links = 1: expected at least 2"):
        IndexConfig(links=1)


def test_a_graph_needs_faiss_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "faiss", None)
    assert len(VectorIndex.build(units(3))) == 3
    with pytest.raises(MissingExtraError, match=r"faiss-cpu is not installed; .*pip install 'jepakit\[retrieval\]'"):
        VectorIndex.build(units(3), IndexConfig("hnsw"))


@kinds
@pytest.mark.parametrize("damage", ["half", "header", "empty", "other"])
def test_damaged_files_are_named(kind: Kind, damage: str, tmp_path: Path) -> None:
    VectorIndex.build(units(200), IndexConfig(kind)).save(tmp_path)
    for file in tmp_path.iterdir():
        whole = file.read_bytes()
        halves = {"half": whole[: len(whole) // 2], "header": b"x" * 16 + whole[16:], "empty": b"", "other": b"[1, 2]"}
        file.write_bytes(halves[damage])
        with pytest.raises(ModelError, match=rf"{file.name}(:\d+)?: "):
            VectorIndex.load(tmp_path)
        file.write_bytes(whole)
    assert len(VectorIndex.load(tmp_path)) == 200
