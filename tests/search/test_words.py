"""Search by words: a score computed by hand, bm25s as the reference, changes against an index built anew, real data."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path

import ir_measures
import numpy as np
import pytest
from bm25s import BM25
from ir_measures import Qrel, ScoredDoc, nDCG

from jepakit.errors import ConfigError, DataError, ModelError
from jepakit.search.words import BM25Config, LexicalIndex, tokenize

PASSAGES = (
    "A cat sat on the mat.",
    "Cats and dogs: the dog chased a cat, and the cat fled.",
    "",
    "Quantum field theory",
    "the of and",
    "The dog",
)


def scores_of(index: LexicalIndex, query: str) -> np.ndarray:
    """The score of every row, ``[N]``; 0 for those that are no hits."""
    hits = index.search([query], max(index.size, 1))
    scores = np.zeros(index.size, np.float32)
    scores[hits.rows[hits.found]] = hits.scores[hits.found]
    return scores


def random_passages(count: int, seed: int) -> list[str]:
    random = np.random.default_rng(seed)
    return [" ".join(f"w{word}" for word in random.zipf(1.5, random.integers(0, 30)) % 200) for _ in range(count)]


WORDS = {
    "The Cat's 3 mice": ["cat", "s", "3", "mice"],
    "snake_case, C3PO; naïve—Straße": ["snake_case", "c3po", "naïve", "straße"],
    "the of and": [],
    "": [],
    "日本語のテキスト": [*"日本語のテキスト"],
    "GPU東京": ["gpu", "東", "京"],
    "서울에서": [*"서울에서"],
    "हिन्दी में": ["हिन्दी", "में"],
    "cafe\u0301": ["café"],
    "Ｆｕｌｌ ﬁne": ["full", "fine"],
    "broken \ud83d half": ["broken", "half"],
}


@pytest.mark.parametrize("text", WORDS)
def test_words_of_a_text(text: str) -> None:
    assert tokenize(text) == WORDS[text]


def test_score_by_hand() -> None:
    index = LexicalIndex.build(["cat dog cat", "dog", "bird owl"], BM25Config(k1=1.5, b=0.5))
    # Three documents of 2 words on average; "cat" is in one, "dog" in two.
    cat = math.log(1 + 2.5 / 1.5) * 2 / (2 + 1.5 * (0.5 + 0.5 * 3 / 2))
    dog = math.log(1 + 1.5 / 2.5) * 1 / (1 + 1.5 * (0.5 + 0.5 * 3 / 2))
    assert scores_of(index, "Cat, dog or fish?").tolist() == pytest.approx(
        [cat + dog, dog * (1 + 1.875) / (1 + 1.125), 0]
    )
    assert scores_of(index, "cat cat").tolist() == pytest.approx([2 * cat, 0, 0])


def test_scores_are_those_of_bm25s() -> None:
    passages = random_passages(300, seed=0)
    index = LexicalIndex.build(passages, BM25Config(k1=0.9, b=0.4))
    reference = BM25(k1=0.9, b=0.4, method="lucene")
    reference.index([tokenize(passage, "english") for passage in passages], show_progress=False)
    for query in random_passages(30, seed=1):
        words = tokenize(query, "english")
        wanted = reference.get_scores(words) if words else np.zeros(300)
        assert scores_of(index, query) == pytest.approx(wanted, abs=1e-5)


def test_hits_have_a_word_of_the_query_and_ties_come_by_row() -> None:
    index = LexicalIndex.build(PASSAGES, BM25Config(stemmer="none"))
    hits = index.search(["dog", "the", "", "zebra", "cat theory"], 3)
    assert hits.rows.tolist() == [[5, 1, -1], [-1] * 3, [-1] * 3, [-1] * 3, [3, 0, 1]]
    assert hits.scores[1:4].isneginf().all()
    scores = scores_of(index, "dog")
    assert hits.scores[0, :2].tolist() == [scores[5], scores[1]]
    twins = LexicalIndex.build(["owl"] * 5)
    assert twins.search(["owl"], 2).rows.tolist() == [[0, 1]]


def test_few_hits_are_the_first_of_all_hits() -> None:
    random = np.random.default_rng(5)
    index = LexicalIndex.build(random_passages(400, seed=6))
    for query in random_passages(60, seed=7):
        allowed = random.random(400) < random.choice([0.02, 0.5, 1.0])
        scores = np.where(allowed, scores_of(index, query), 0)
        ranked = [row for row in np.argsort(-scores, kind="stable").tolist() if scores[row] > 0]
        k = int(random.integers(1, 12))
        hits = index.search([query], k, allowed)
        assert hits.rows[0][hits.found[0]].tolist() == ranked[:k]


def test_allowed_rows() -> None:
    index = LexicalIndex.build(PASSAGES)
    assert index.search(["dog"], 2, np.arange(6) < 5).rows.tolist() == [[1, -1]]
    assert index.search(["dog"], 1, np.zeros(6, bool)).rows.tolist() == [[-1]]


@pytest.mark.parametrize("passages", [[], [""], ["the", "of"]])
def test_without_any_word(passages: list[str], tmp_path: Path) -> None:
    LexicalIndex.build(passages).save(tmp_path)
    index = LexicalIndex.load(tmp_path)
    assert index.search(["cat", "the"], 2).rows.tolist() == [[-1, -1]] * 2
    assert scores_of(index, "cat").tolist() == [0] * len(passages)
    index.add(["a cat"])
    assert index.search(["cat"], 1).rows.tolist() == [[len(passages)]]
    index.delete(range(len(passages) + 1))
    assert index.search(["cat"], 1).rows.tolist() == [[-1]]


def test_after_any_changes_scores_are_those_of_an_index_built_anew(tmp_path: Path) -> None:
    random = np.random.default_rng(3)
    passages = random_passages(30, seed=2)
    index = LexicalIndex.build(passages)
    rows: list[int] = list(range(30))
    for step in range(12):
        more = random_passages(int(random.integers(0, 15)), seed=10 + step)
        index.add(more)
        rows += range(index.size - len(more), index.size)
        passages += more
        gone = random.choice(rows, int(random.integers(0, 10)), replace=False).tolist()
        index.delete(gone)
        rows = [row for row in rows if row not in gone]
        if step % 4 == 3:
            index, passages, rows = index.compacted(), [passages[row] for row in rows], list(range(len(rows)))
        if step % 3 == 2:
            folder = tmp_path / str(step)
            folder.mkdir()
            index.save(folder)
            index = LexicalIndex.load(folder)
        anew = LexicalIndex.build([passages[row] for row in rows])
        for query in random_passages(5, seed=100 + step):
            scores = scores_of(index, query)
            assert scores[rows] == pytest.approx(scores_of(anew, query), abs=1e-5)
            assert not np.delete(scores, rows).any()
        assert (len(index), index.size, np.flatnonzero(index.alive).tolist()) == (len(rows), len(passages), rows)


def test_from_a_folder_it_is_mapped_and_the_same(tmp_path: Path) -> None:
    passages = [*random_passages(50, seed=0), "odd \ud83d \u2028 東"]
    index = LexicalIndex.build(passages, BM25Config(k1=2))
    index.save(tmp_path)
    loaded = LexicalIndex.load(tmp_path)
    for file in tmp_path.iterdir():
        file.unlink()
    assert loaded.config == BM25Config(k1=2)
    assert loaded.search([*passages, "東"], 5).rows.tolist() == index.search([*passages, "東"], 5).rows.tolist()


@pytest.mark.parametrize("damage", ["half", "header", "empty", "other"])
def test_damaged_files_are_named(damage: str, tmp_path: Path) -> None:
    LexicalIndex.build(random_passages(50, seed=0)).save(tmp_path)
    for file in tmp_path.iterdir():
        whole = file.read_bytes()
        files = {"half": whole[: len(whole) // 2], "header": b"x" * 16 + whole[16:], "empty": b"", "other": b"[1, 2]"}
        file.write_bytes(files[damage])
        with pytest.raises(ModelError, match=rf"{file.name}(:\d+)?: "):
            LexicalIndex.load(tmp_path)
        file.write_bytes(whole)
    assert len(LexicalIndex.load(tmp_path)) == 50


@pytest.mark.parametrize("name", ["rows", "counts", "weights", "starts", "lengths", "alive"])
def test_arrays_that_do_not_belong_together(name: str, tmp_path: Path) -> None:
    LexicalIndex.build(random_passages(50, seed=0)).save(tmp_path)
    array = np.load(tmp_path / f"{name}.npy")
    np.save(tmp_path / f"{name}.npy", array[:-1])
    with pytest.raises(ModelError, match="damaged"):
        LexicalIndex.load(tmp_path)


def test_faults() -> None:
    index = LexicalIndex.build(PASSAGES)
    index.delete([2])
    for row in (2, 6, -1):
        with pytest.raises(
            DataError, match=rf"no such row \(found {row}\); expected rows from 0 to 5 that are not deleted"
        ):
            index.delete([row])
    with pytest.raises(ConfigError, match="k = 0: expected at least 1"):
        index.search(["cat"], 0)
    with pytest.raises(ConfigError, match="k1 = -1: expected at least 0"):
        BM25Config(k1=-1)
    with pytest.raises(ConfigError, match=r"b = 1\.5: expected a number in \[0, 1\]"):
        BM25Config(b=1.5)


def test_forms_of_a_word_are_one_word_unless_asked_otherwise() -> None:
    passages = ["the cells are dividing", "a cell divides", "nothing here"]
    found = LexicalIndex.build(passages).search(["divided cell"], 3)
    assert sorted(found.rows[0].tolist()) == [-1, 0, 1]
    exact = LexicalIndex.build(passages, BM25Config(stemmer="none")).search(["divided cell"], 3)
    assert exact.rows[0].tolist() == [1, -1, -1]
    with pytest.raises(ConfigError, match=r"stemmer = 'englisch'.*did you mean 'english'"):
        BM25Config(stemmer="englisch")


@pytest.mark.data
def test_scifact_as_published(data_dir: Path) -> None:
    """NDCG@10 of BM25 on SciFact is .665 (Thakur et al. 2021) to .686 (Lù 2024, stemmed)."""
    folder = data_dir / "retrieval" / "scifact"

    def lines(name: str) -> Iterator[dict[str, str]]:
        yield from (json.loads(line) for line in (folder / name).read_text(encoding="utf-8").splitlines())

    documents = {line["_id"]: f"{line['title']} {line['text']}".strip() for line in lines("corpus.jsonl")}
    judged = [line.split("\t") for line in (folder / "qrels" / "test.tsv").read_text().splitlines()[1:]]
    relevant = [Qrel(query, document, int(grade)) for query, document, grade in judged]
    queries = {line["_id"]: line["text"] for line in lines("queries.jsonl") if line["_id"] in {q for q, _, _ in judged}}
    hits = LexicalIndex.build(list(documents.values())).search(list(queries.values()), 10)
    ids = list(documents)
    run = [
        ScoredDoc(query, ids[row], score)
        for query, rows, scores in zip(queries, hits.rows.tolist(), hits.scores.tolist(), strict=True)
        for row, score in zip(rows, scores, strict=True)
    ]
    assert len(queries) == 300
    assert ir_measures.calc_aggregate([nDCG @ 10], relevant, run)[nDCG @ 10] == pytest.approx(0.686, abs=0.002)
