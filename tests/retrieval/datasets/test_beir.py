"""Corpora by name and path: BEIR folders and tables of documents, and faults that name their place."""

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from jepakit.errors import ConfigError, DataError
from jepakit.retrieval.data import RetrievalDataset
from jepakit.retrieval.datasets import load_dataset

DOCUMENTS = [
    {"_id": "d1", "title": "Apples", "text": "They are red. 🍎", "metadata": {"year": 2020, "fresh": True}},
    {
        "_id": "d2",
        "title": "",
        "text": "蜜柑は橙色です。",
        "metadata": '{"price": 1.5, "tags": ["a", "b"], "gone": null}',
    },
    {"_id": 3, "text": "cafe\u0301", "language": "fr"},
]
QUERIES = [{"_id": "q1", "text": "red?"}, {"_id": "q2", "text": "orange?"}, {"_id": "q3", "text": "nobody judged"}]


@pytest.fixture(autouse=True)
def _no_shared_data(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """Names are looked up in what a test passes; tests with real data pass it on as ``data_dir``."""
    if "data_dir" in request.fixturenames:
        request.getfixturevalue("data_dir")
    monkeypatch.delenv("JEPAKIT_DATA", raising=False)


def jsonl(file: Path, rows: list[Any]) -> Path:
    file.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return file


def beir(folder: Path, **qrels: str) -> Path:
    (folder / "qrels").mkdir(parents=True)
    jsonl(folder / "corpus.jsonl", DOCUMENTS)
    jsonl(folder / "queries.jsonl", QUERIES)
    for name, lines in qrels.items():
        (folder / "qrels" / f"{name}.tsv").write_text(f"query-id\tcorpus-id\tscore\n{lines}")
    return folder


def judged(dataset: RetrievalDataset, split: str) -> list[tuple[str, str, int]]:
    pairs = dataset.splits[split]
    rows = zip(pairs.query.tolist(), pairs.document.tolist(), pairs.grade.tolist(), strict=True)
    return [(dataset.queries.ids[query], dataset.documents.ids[document], grade) for query, document, grade in rows]


def test_a_folder_by_hand(tmp_path: Path) -> None:
    dataset = load_dataset(beir(tmp_path / "fruit", train="q1\td1\t2\nq1\t3\t0\n", test="q2\td2\t1\n"))
    documents = dataset.documents
    assert (dataset.name, dataset.labelled, documents.ids) == ("fruit", True, ("d1", "d2", "3"))
    assert documents.titles == ("Apples", "", "")
    assert documents.texts == ("They are red. 🍎", "蜜柑は橙色です。", "cafe\u0301")
    assert documents.metadata == (
        {"year": 2020, "fresh": True},
        {"price": 1.5, "tags": '["a", "b"]'},
        {"language": "fr"},
    )
    assert dataset.queries.texts == ("red?", "orange?", "nobody judged")
    assert list(dataset.splits) == ["train", "test"]
    assert judged(dataset, "train") == [("q1", "d1", 2), ("q1", "3", 0)]
    assert judged(dataset, "test") == [("q2", "d2", 1)]


def test_a_folder_may_be_a_corpus_alone(tmp_path: Path) -> None:
    jsonl(tmp_path / "corpus.jsonl", DOCUMENTS)
    dataset = load_dataset(tmp_path)
    assert (len(dataset.documents), len(dataset.queries), dataset.splits, dataset.labelled) == (3, 0, {}, False)


def test_other_qrels_are_named_not_read(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    dataset = load_dataset(beir(tmp_path / "fruit", test="q1\td1\t1\n", tune="q2\td2\t1\n"))
    assert list(dataset.splits) == ["test"]
    assert [record.getMessage().rsplit(": ", 1)[1] for record in caplog.records] == ["tune.tsv"]


def test_names_are_looked_up_before_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    beir(tmp_path / "shared/retrieval/fruit", test="q1\td1\t1\n")
    jsonl(tmp_path / "fruit", DOCUMENTS[:1]).rename(tmp_path / "fruit.jsonl")
    monkeypatch.chdir(tmp_path)
    assert len(load_dataset("fruit", data_dir=tmp_path / "shared").documents) == 3
    monkeypatch.setenv("JEPAKIT_DATA", str(tmp_path / "shared"))
    assert len(load_dataset("fruit").documents) == 3
    assert len(load_dataset("fruit.jsonl").documents) == 1


@pytest.mark.parametrize(
    ("name", "hint"), [("FRUIT", "did you mean 'fruit'?"), ("friut", "did you mean 'fruit'?"), ("pyton", "'python'?")]
)
def test_an_unknown_name_says_what_there_is(name: str, hint: str, tmp_path: Path) -> None:
    beir(tmp_path / "retrieval/fruit")
    with pytest.raises(ConfigError) as caught:
        load_dataset(name, data_dir=tmp_path)
    assert hint in str(caught.value)
    assert "(there: fruit)" in str(caught.value)


def test_what_is_no_corpus(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="JEPAKIT_DATA"):
        load_dataset("nowhere")
    with pytest.raises(ConfigError, match=r"data_dir = .*an existing folder"):
        load_dataset("fruit", data_dir=tmp_path / "none")
    with pytest.raises(DataError, match=r"none\.jsonl: no such file or folder"):
        load_dataset(tmp_path / "none.jsonl")
    (tmp_path / "a.pdf").write_text("x")
    with pytest.raises(DataError, match=r"a\.pdf: not a corpus \(found '\.pdf'\)"):
        load_dataset(tmp_path / "a.pdf")
    with pytest.raises(ConfigError, match=r"queries = .*pairs beside it"):
        load_dataset(tmp_path, queries=tmp_path / "queries.jsonl")


def test_csv_and_tsv_and_jsonl_agree(tmp_path: Path) -> None:
    """A byte order mark, quotes over lines, a column without a name; numbers become numbers where all of them are."""
    (tmp_path / "a.csv").write_text(
        ',id,title,text,year,code,ok,part\r\n0,a,"One, two","He said ""so""\nand left",2001,007,True,x\r\n'
        "1,b,,Second,1999,12,false,\r\n",
        encoding="utf-8-sig",
        newline="",
    )
    table = load_dataset(tmp_path / "a.csv").documents
    rows = [
        {"_id": "a", "title": "One, two", "text": 'He said "so"\nand left', "year": 2001, "code": "007", "ok": True},
        {"_id": "b", "title": "", "text": "Second", "year": 1999, "code": "12", "ok": False},
    ]
    rows[0]["part"] = "x"
    assert table == load_dataset(jsonl(tmp_path / "a.jsonl", rows)).documents
    (tmp_path / "a.tsv").write_text('id\ttext\tscore\na\t"so", he said\t1.5\nb\tit is 5" long\t-2\n')
    tabs = load_dataset(tmp_path / "a.tsv").documents
    assert tabs.texts == ('"so", he said', 'it is 5" long')
    assert tabs.metadata == ({"score": 1.5}, {"score": -2.0})


def test_long_documents(tmp_path: Path) -> None:
    long = "word " * 60_000
    (tmp_path / "a.csv").write_text(f"id,text\na,{long}\n")
    assert load_dataset(tmp_path / "a.csv").documents.texts == (long,)
    assert load_dataset(jsonl(tmp_path / "a.jsonl", [{"id": "a", "text": long}])).documents.texts == (long,)


def test_empty_documents_stay_and_are_counted_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rows = [
        {"_id": str(n), "text": text, "title": title}
        for n, (text, title) in enumerate([("", ""), (" \n", ""), ("", "T"), ("t", "")])
    ]
    documents = load_dataset(jsonl(tmp_path / "a.jsonl", rows)).documents
    assert documents.texts == ("", " \n", "", "t")
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "2 of 4 documents are empty, such as '0'" in caplog.text
    with pytest.raises(DataError, match=r"b\.jsonl: text: no text in any of the documents; expected at least one"):
        load_dataset(jsonl(tmp_path / "b.jsonl", rows[:2]))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"a\.jsonl: the file is empty"),
        (b"\n\n", r"a\.jsonl: no rows"),
        (b'{"_id": "1", "text": "a"}\n\n{"_id": "2", text: "b"}\n', r"a\.jsonl:3: not JSON: .*column 14"),
        (b'{"_id": "1", "text": "a", "score": NaN}\n', r"a\.jsonl:1: .*NaN"),
        (b"[" * 100_000, r"a\.jsonl:1: not JSON: "),
        (b'["a"]\n', r"a\.jsonl:1: not a JSON object \(found \['a'\]\)"),
        (b'{"_id": "1", "body": "a"}\n', r"a\.jsonl:1: text: the field is missing \(found \['_id', 'body'\]\)"),
        (b'{"name": "1", "text": "a"}\n', r"a\.jsonl:1: _id: the field is missing .* expected _id or id"),
        (b'{"_id": "1", "text": 5}\n', r"a\.jsonl:1: text: not a string \(found 5\)"),
        (b'{"_id": "1", "text": "a", "title": ["b"]}\n', r"a\.jsonl:1: title: not a string \(found \['b'\]\)"),
        (b'{"_id": true, "text": "a"}\n', r"a\.jsonl:1: _id: not an id \(found True\)"),
        (b'{"_id": 1.5, "text": "a"}\n', r"a\.jsonl:1: _id: not an id \(found 1\.5\)"),
        (b'{"_id": " ", "text": "a"}\n', r"a\.jsonl:1: _id: an empty id"),
        (
            b'{"id": "x", "text": "a"}\n{"id": "y", "text": "b"}\n{"id": "x", "text": "c"}\n',
            r"a\.jsonl:3: id: .*first in line 1 \(found 'x'\)",
        ),
        (b'{"id": "x", "text": "a"}\n{"id": "y", "text": "caf\xe9"}\n', r"a\.jsonl:2: not UTF-8 text .* at byte 24 of"),
        (b'{"id": "x", "text": "a \\ud83d"}\n', r"a\.jsonl:1: text: half of a surrogate pair"),
        (b'{"id": "x", "text": "a", "metadata": {"a": ["\\uD83D"]}}\n', r"a\.jsonl:1: metadata: half of a surrogate"),
        (b'{"id": "x", "text": "a", "metadata": "{oops"}\n', r"a\.jsonl:1: metadata: not JSON"),
        (b'{"id": "x", "text": "a", "metadata": [1]}\n', r"a\.jsonl:1: metadata: not an object \(found \[1\]\)"),
    ],
)
def test_faults_of_jsonl(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(content)
    with pytest.raises(DataError, match=message):
        load_dataset(tmp_path / "a.jsonl")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("id,text\n", r"a\.csv: no rows"),
        ('id,text\na,"two\nlines"\nb,c,d\n', r"a\.csv:4: not one cell for each column \(found 3\); expected 2"),
        ('id,text\na,b\nc,"never closed\n', r"a\.csv:3: not a table: unexpected end of data"),
        ("id,text,text\na,b,c\n", r"a\.csv:1: a column occurs twice .*'text'"),
        ("id;text\na;b\n", r"a\.csv:2: _id: the field is missing \(found \['id;text'\]\)"),
        ('id,text\na,"1\n2"\na,b\n', r"a\.csv:4: id: .*first in line 2"),
    ],
)
def test_faults_of_tables(content: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(content)
    with pytest.raises(DataError, match=message):
        load_dataset(tmp_path / "a.csv")


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("", r"test\.tsv: no rows"),
        ("q1\td11\t1\n", r"test\.tsv:2: corpus-id: unknown document \(found 'd11'\); .* \(did you mean 'd1'\?\)"),
        (
            "q1\td1\t1\nq11\td1\t1\n",
            r"test\.tsv:3: query-id: unknown query \(found 'q11'\); .* \(did you mean 'q1'\?\)",
        ),
        ("q1\td1\t0.5\n", r"test\.tsv:2: score: not a whole number \(found '0\.5'\)"),
        ("q1\td1\tyes\n", r"test\.tsv:2: score: not a whole number \(found 'yes'\)"),
        ("q1\td1\n", r"test\.tsv:2: not one cell for each column \(found 2\); expected 3"),
        ("q1\td1\t1\nq1\td1\t2\n", r"test\.tsv:3: grade: .* in line 2 \(found 2\)"),
    ],
)
def test_faults_of_qrels(lines: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        load_dataset(beir(tmp_path / "fruit", test=lines))


def test_faults_of_queries(tmp_path: Path) -> None:
    folder = beir(tmp_path / "fruit", test="q1\td1\t1\n")
    jsonl(folder / "queries.jsonl", [QUERIES[0], {"_id": "q1", "text": "again"}])
    with pytest.raises(DataError, match=r"queries\.jsonl:2: _id: .*first in line 1"):
        load_dataset(folder)
    jsonl(folder / "queries.jsonl", [{"_id": "q1", "text": "  "}])
    with pytest.raises(DataError, match=r"queries\.jsonl:1: text: an empty query"):
        load_dataset(folder)
    (folder / "queries.jsonl").unlink()
    with pytest.raises(DataError, match=r"queries\.jsonl: no such file; expected the texts of the queries"):
        load_dataset(folder)


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "documents", "queries", "pairs"),
    [
        # 919 pairs of 809 queries are published; two claims are there under two ids each.
        ("scifact", 5183, 1109, {"train": (916, 807), "test": (339, 300)}),
        ("medquad", 15808, 14344, {"train": (11567, 10130), "dev": (1598, 1421), "test": (3193, 2793)}),
        ("stackfaq", 719, 1374, {"train": (3679, 714), "dev": (891, 132), "test": (3333, 528)}),
        ("cranfield", 1400, 225, {"test": (1612, 225)}),
    ],
)
def test_published_counts(name: str, documents: int, queries: int, pairs: dict[str, Any], data_dir: Path) -> None:
    dataset = load_dataset(name, data_dir=data_dir)
    assert (len(dataset.documents), len(dataset.queries)) == (documents, queries)
    assert {split: (len(found), len(found.queries)) for split, found in dataset.splits.items()} == pairs
