"""Which document answers which query: every way of saying it says the same, and faults name their place."""

import json
import unicodedata
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from jepakit.errors import DataError
from jepakit.retrieval.data import RetrievalDataset
from jepakit.retrieval.datasets import load_dataset
from jepakit.retrieval.datasets.splits import ensure_splits

TEXTS = {"d1": "Apples are red.", "d2": "Oranges are orange.", "d3": "Oranges are orange."}
EXPECTED = [("what is red?", "d1", 2), ("what is red?", "d2", 0), ("what is orange?", "d2", 1)]


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    file = tmp_path / "docs.jsonl"
    file.write_text("".join(f"{json.dumps({'_id': name, 'text': text})}\n" for name, text in TEXTS.items()))
    return file


@pytest.fixture
def queries(tmp_path: Path) -> Path:
    file = tmp_path / "queries.tsv"
    file.write_text("1\twhat is red?\n2\twhat is orange?\n3\twhat is it?\n")
    return file


def write(folder: Path, name: str, content: str) -> Path:
    (folder / name).write_text(content, encoding="utf-8")
    return folder / name


def judged(dataset: RetrievalDataset, split: str = "all") -> list[tuple[str, str, int]]:
    pairs = dataset.splits[split]
    rows = zip(pairs.query.tolist(), pairs.document.tolist(), pairs.grade.tolist(), strict=True)
    return [(dataset.queries.texts[query], dataset.documents.ids[document], grade) for query, document, grade in rows]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("p.csv", "query,document,grade\nwhat is red?,d1,2\nwhat is red?,d2,0\nwhat is orange?,d2,1\n"),
        ("p.csv", "question,answer,score\nwhat is red?,Apples are red.,2.0\nwhat is red?,d2,0\nwhat is orange?,d2,1\n"),
        ("p.tsv", "anchor\tpositive\tgrade\nwhat is red?\td1\t2\nwhat is red?\td2\t0\nwhat is orange?\td2\t1\n"),
        (
            "p.jsonl",
            '{"query": "what is red?", "doc_id": "d1", "grade": 2}\n'
            '{"query": "what is red?", "doc_id": "d2", "grade": 0}\n'
            '\n{"query": "what is orange?", "positive": "Oranges are orange."}\n'
            '{"query": "what is orange?", "positive": "d2", "grade": null}\n',
        ),
    ],
)
def test_pairs_by_the_text_of_the_query(name: str, content: str, corpus: Path, tmp_path: Path) -> None:
    dataset = load_dataset(corpus, pairs=write(tmp_path, name, content))
    assert judged(dataset) == EXPECTED
    assert (dataset.queries.ids, list(dataset.splits), dataset.labelled) == (("q0", "q1"), ["all"], True)
    assert dataset.origin == f"documents of docs.jsonl; pairs of {name}"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("qrels.txt", "1 0 d1 2\n1 0 d2 -1\n2 0 d2 1\n"),
        ("qrels", "1\tQ0\td1\t2\n1\tQ0\td2\t0\n\n2\tQ0\td2\t1\n"),
        ("qrels.tsv", "1\td1\t2\n1\td2\t0\n2\td2\t1\n"),
        ("qrels.tsv", "query-id\tcorpus-id\tscore\n1\td1\t2\n1\td2\t0\n2\td2\t1\n"),
        ("p.csv", "qid,document_id,relevance\n1,d1,2\n1,d2,0\n2,Oranges are orange.,1\n"),
        (
            "p.jsonl",
            '{"query": 1, "document": "d1", "grade": 2}\n{"query": "1", "document": "d2", "grade": 0}\n'
            '{"query": "what is orange?", "document": "d2"}\n',
        ),
    ],
)
def test_pairs_by_the_id_of_the_query(name: str, content: str, corpus: Path, queries: Path, tmp_path: Path) -> None:
    dataset = load_dataset(corpus, pairs=write(tmp_path, name, content), queries=queries)
    assert judged(dataset) == EXPECTED
    assert dataset.queries.ids == ("1", "2", "3")


BLANKS = st.text(" \t\u00a0\u2003", max_size=3)
WORDS = st.lists(st.sampled_from(["caf\u00e9", "cafe\u0301", "Red", "red", "\u212b", "x"]), min_size=1, max_size=3)


@given(
    asked=st.lists(st.tuples(WORDS, BLANKS, BLANKS, st.sampled_from(sorted(TEXTS)), st.integers(0, 2)), min_size=1),
    by_id=st.booleans(),
)
@settings(max_examples=100)
def test_spellings_of_one_question_are_one_question(
    asked: list[tuple[list[str], str, str, str, int]], by_id: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Whatever blanks and composition: as many questions and pairs as if each had been written the one way."""
    folder = tmp_path_factory.mktemp("spelled")
    docs = write(folder, "docs.jsonl", "".join(json.dumps({"_id": n, "text": t}) + "\n" for n, t in TEXTS.items()))
    rows = [
        (before + f" {after}".join(words) + after, document, grade) for words, before, after, document, grade in asked
    ]
    expected: dict[tuple[str, str], int] = {}
    for (words, *_), (_, document, grade) in zip(asked, rows, strict=True):
        pair = " ".join(unicodedata.normalize("NFC", word) for word in words), document
        expected[pair] = max(grade, expected.get(pair, 0))
    if not by_id:
        # By text, one pair has one grade.
        rows = [(text, document, 1) for text, document, _ in rows]
        expected = dict.fromkeys(expected, 1)
    names = [{"query-id": str(n)} if by_id else {"query": text} for n, (text, *_) in enumerate(rows)]
    lines = [
        {**name, "document": document, "grade": grade} for name, (_, document, grade) in zip(names, rows, strict=True)
    ]
    pairs = write(folder, "p.jsonl", "".join(json.dumps(line) + "\n" for line in lines))
    texts = "".join(json.dumps({"id": str(n), "text": text}) + "\n" for n, (text, *_) in enumerate(rows))
    dataset = load_dataset(docs, pairs=pairs, queries=write(folder, "q.jsonl", texts) if by_id else None)
    found = {
        (" ".join(unicodedata.normalize("NFC", text).split()), document): grade
        for text, document, grade in judged(dataset)
    }
    assert found == expected
    assert len(dataset.splits["all"]) == len(expected)
    assert len(dataset.splits["all"].queries) == len({text for text, _ in expected})


def test_one_pair_ten_times_is_one_question_in_splits_and_statistics(corpus: Path, tmp_path: Path) -> None:
    lines = [{"query": "what is red?" + " " * blanks, "document": "d1"} for blanks in range(10)]
    lines += [{"query": "What is red?", "document": "d2"}]
    dataset = load_dataset(corpus, pairs=write(tmp_path, "p.jsonl", "".join(json.dumps(line) + "\n" for line in lines)))
    assert judged(dataset) == [("what is red?", "d1", 1), ("What is red?", "d2", 1)]
    assert len(dataset.queries) == 2
    with pytest.raises(DataError, match="2 queries on 2 documents"):
        ensure_splits(dataset)


def test_files_of_queries_agree(corpus: Path, queries: Path, tmp_path: Path) -> None:
    pairs = write(tmp_path, "qrels", "1 0 d1 1\n")
    rows = '{"_id": 1, "text": "what is red?"}\n{"id": "2", "text": "what is orange?"}\n'
    rows += '{"_id": "3", "text": "what is it?"}\n'
    expected = load_dataset(corpus, pairs=pairs, queries=queries).queries
    for name, content in (
        ("q.jsonl", rows),
        ("q.tsv", f"_id\ttext\n{queries.read_text()}"),
        ("q.txt", f"\ufeffqid\tquery\n{queries.read_text()}"),
        ("q.csv", "id,text\n1,what is red?\n2,what is orange?\n3,what is it?\n"),
    ):
        assert load_dataset(corpus, pairs=pairs, queries=write(tmp_path, name, content)).queries == expected


def test_splits_of_the_pairs(corpus: Path, tmp_path: Path) -> None:
    content = "query,document,split\na,d1,test\nb,d2,validation\nc,d3,train\na,d2,test\n"
    dataset = load_dataset(corpus, pairs=write(tmp_path, "p.csv", content))
    assert list(dataset.splits) == ["train", "dev", "test"]
    assert [judged(dataset, split) for split in dataset.splits] == [
        [("c", "d3", 1)],
        [("b", "d2", 1)],
        [("a", "d1", 1), ("a", "d2", 1)],
    ]


def test_a_folder_keeps_its_queries_for_pairs_with_ids_and_else_takes_the_texts(tmp_path: Path, corpus: Path) -> None:
    folder = tmp_path / "beir"
    (folder / "qrels").mkdir(parents=True)
    corpus.rename(folder / "corpus.jsonl")
    write(folder, "queries.jsonl", '{"_id": "1", "text": "what is red?"}\n')
    write(folder, "qrels/test.tsv", "query-id\tcorpus-id\tscore\n1\td3\t1\n")
    by_id = load_dataset(folder, pairs=write(tmp_path, "qrels", "1 0 d1 1\n"))
    assert (list(by_id.splits), judged(by_id)) == (["all"], [("what is red?", "d1", 1)])
    by_text = load_dataset(folder, pairs=write(tmp_path, "p.csv", "query,document\nred?,d1\n"))
    assert (by_text.queries.texts, judged(by_text)) == (("red?",), [("red?", "d1", 1)])


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("p.csv", "", r"p\.csv: the file is empty"),
        ("p.csv", "query,document\n", r"p\.csv: no rows"),
        ("p.xlsx", "what is red?\td1\n", r"p\.xlsx: ids of queries, without their texts; expected a file of queries"),
        (
            "p.csv",
            "query,text\nred,x\n",
            r"p\.csv:2: corpus-id: the field is missing \(found \['query', 'text'\]\); .*answer",
        ),
        (
            "p.csv",
            "qid,document\n1,d1\n",
            r"p\.csv:2: query: the field is missing .* expected query or question or anchor",
        ),
        ("p.csv", "query,document\n,d1\n", r"p\.csv:2: query: an empty query"),
        ("p.csv", "query,document\nred,\n", r"p\.csv:2: document: an empty id"),
        (
            "p.csv",
            "query,answer\nred,Apples are green.\n",
            r"p\.csv:2: answer: unknown document \(found 'Apples are green\.'\); expected the id or the text of a doc",
        ),
        ("p.csv", "query,document\nred,d22\n", r"unknown document \(found 'd22'\); .* \(did you mean 'd2'\?\)"),
        ("p.csv", "query,document,split\nred,d1,exam\n", r"p\.csv:2: split: no such split \(found 'exam'\)"),
        ("p.csv", "query,document,grade\nred,d1,\n", r"p\.csv:2: grade: not a whole number \(found ''\)"),
        ("p.csv", "query,document,grade\nred,d1,99999999999\n", r"p\.csv:2: grade: not a whole number"),
        ("p.jsonl", '{"query": "red", "document": "d1", "grade": true}\n', r"p\.jsonl:1: grade: not a whole number"),
        ("p.jsonl", '{"query": "red", "document": "d1", "grade": 0.7}\n', r"p\.jsonl:1: grade: not a whole number"),
        ("p.jsonl", '{"query": ["red"], "document": "d1"}\n', r"p\.jsonl:1: query: not a string"),
        ("p.jsonl", '{"query": "red", "document": ["d1"]}\n', r"p\.jsonl:1: document: not an id"),
        (
            "p.jsonl",
            '{"query": "a", "document": "d1", "split": "train"}\n{"query": "b", "document": "d1"}\n',
            r"p\.jsonl:2: split: no split, though other rows have one",
        ),
        (
            "p.csv",
            "query,document,grade\nred,d1,1\nred,d2,1\nred,Apples are red.,2\n",
            r"p\.csv:4: grade: .* in line 2 \(found 2\)",
        ),
    ],
)
def test_faults_of_tables(name: str, content: str, message: str, corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        load_dataset(corpus, pairs=write(tmp_path, name, content))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("1 0 d1 1\n1 d2\n", r"qrels:2: not a judgement \(found '1 d2'\); expected query-id 0 document-id grade"),
        ("1 0 d1 high\n", r"qrels:1: grade: not a whole number \(found 'high'\)"),
        ("1 0 d9 1\n", r"qrels:1: document-id: unknown document \(found 'd9'\)"),
        ("4 0 d1 1\n", r"qrels:1: query-id: unknown query \(found '4'\)"),
        ("\n \n", r"qrels: no pairs"),
    ],
)
def test_faults_of_qrels(content: str, message: str, corpus: Path, queries: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        load_dataset(corpus, pairs=write(tmp_path, "qrels", content), queries=queries)


def test_faults_of_queries(corpus: Path, tmp_path: Path) -> None:
    pairs = write(tmp_path, "qrels", "1 0 d1 1\n")
    for name, content, message in (
        ("q.tsv", "1 what is red?\n", r"q\.tsv:1: no tab \(found '1 what is red\?'\); expected id<TAB>text"),
        ("q.tsv", "1\ta\n1\tb\n", r"q\.tsv:2: _id: .*first in line 1"),
        ("q.tsv", "id\ttext\n", r"q\.tsv: no queries"),
        ("q.tsv", "1\t \n", r"q\.tsv:1: text: an empty query"),
    ):
        with pytest.raises(DataError, match=message):
            load_dataset(corpus, pairs=pairs, queries=write(tmp_path, name, content))
    with pytest.raises(DataError, match=r"gone\.tsv: no such file"):
        load_dataset(corpus, pairs=pairs, queries=tmp_path / "gone.tsv")
    with pytest.raises(DataError, match=r"gone\.csv: no such file"):
        load_dataset(corpus, pairs=tmp_path / "gone.csv")


def test_pages_of_a_table_are_those_of_its_ids(tmp_path: Path) -> None:
    """``b`` is an id of its own here, so that its neighbour ``b#1`` is another document."""
    names = ["a.md#1", "b", "a.md#2", "b#1", "c.md#1"]
    rows = "".join(json.dumps({"id": name, "text": f"text of {name}"}) + "\n" for name in names)
    content = "query,document,grade\nq,a.md,2\nq,b,1\nr,c.md,1\nr,a.md#2,1\n"
    dataset = load_dataset(write(tmp_path, "docs.jsonl", rows), pairs=write(tmp_path, "p.csv", content))
    expected = [("q", "a.md#1", 2), ("q", "a.md#2", 2), ("q", "b", 1), ("r", "c.md#1", 1), ("r", "a.md#2", 1)]
    assert judged(dataset) == expected
    assert dataset.splits["all"].pages.tolist() == [0, 0, -1, -1, -1]
    assert dataset.splits["all"][torch.tensor([1, 4])].pages.tolist() == [0, -1]
    with pytest.raises(DataError, match="unknown document"):
        load_dataset(tmp_path / "docs.jsonl", pairs=write(tmp_path, "p.csv", "query,document\nq,d.md\n"))
