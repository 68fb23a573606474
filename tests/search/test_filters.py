"""Filters: what the command line says, what they allow, and that a value never becomes part of a statement."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jepakit.errors import ConfigError, DataError, ModelError
from jepakit.search.documents import Documents, Metadata
from jepakit.search.filters import parse_filter
from jepakit.search.store import DocumentStore

METADATA: tuple[Metadata, ...] = (
    {"lang": "en", "year": 2019, "open": True, "score": 0.5},
    {"lang": "de", "year": 2020, "open": False, "score": 1},
    {"lang": "fr", "year": 2023, "open": 1, "score": -2.5},
    {"lang": "en", "year": "2023", 'say "x"': "it's", "a.b": "dots"},
    {},
    {"lang": "東京", "date": "2021-05-01"},
)


def store_of(file: Path, metadata: tuple[Metadata, ...] = METADATA) -> DocumentStore:
    count = len(metadata)
    ids = tuple(f"d{row}" for row in range(count))
    return DocumentStore.write(file, Documents(ids, ("text",) * count, ("",) * count, metadata))


def allowed(store: DocumentStore, where: Mapping[str, Any]) -> list[int]:
    return np.flatnonzero(store.where(where, len(METADATA))).tolist()


WORDS: dict[str, tuple[list[str], dict[str, Any], list[int]]] = {
    "text": (["lang=en"], {"lang": ["en"]}, [0, 3]),
    "several": (["lang=en|de"], {"lang": ["en", "de"]}, [0, 1, 3]),
    "number or text": (["year=2023"], {"year": [2023, "2023"]}, [2, 3]),
    "bounds": (["year>=2020", "year<2023"], {"year": {"gte": 2020, "lt": 2023}}, [1]),
    "open bounds": (["score > -2.5", "score<=1"], {"score": {"gt": -2.5, "lte": 1}}, [0, 1]),
    "both hold": (["lang=en|fr", "year>=2000"], {"lang": ["en", "fr"], "year": {"gte": 2000}}, [0, 2]),
    "truth": (["open=true"], {"open": [True, "true"]}, [0]),
    "other script": (["lang=東京"], {"lang": ["東京"]}, [5]),
    "dates as text": (["date>=2021-01-01"], {"date": {"gte": "2021-01-01"}}, [5]),
    "signs in the value": (["a.b=x>=y"], {"a.b": ["x>=y"]}, []),
    "quotes": (['say "x"=it\'s'], {'say "x"': ["it's"]}, [3]),
    "no number": (["lang=1_000|nan|1e999|12345678901234567890"], {}, []),
    "none": ([], {}, [0, 1, 2, 3, 4, 5]),
}


@pytest.mark.parametrize("name", WORDS)
def test_words_of_the_command_line(name: str, tmp_path: Path) -> None:
    words, where, rows = WORDS[name]
    found = parse_filter(words)
    assert found == (where or found)
    assert allowed(store_of(tmp_path / "d.sqlite"), found) == rows


def test_words_that_are_no_numbers() -> None:
    found = parse_filter(["x=1_000|nan|inf|1e999|12345678901234567890|1.5e3|-7"])
    assert found == {"x": ["1_000", "nan", "inf", "1e999", "12345678901234567890", 1500.0, "1.5e3", -7, "-7"]}


def test_numbers_and_truth_values_are_not_each_other(tmp_path: Path) -> None:
    store = store_of(tmp_path / "d.sqlite")
    assert allowed(store, {"open": True}) == [0]
    assert allowed(store, {"open": 1}) == [2]
    assert allowed(store, {"open": False}) == [1]
    assert allowed(store, {"score": 1.0}) == [1]
    # A text is above every number in SQLite.
    assert allowed(store, {"year": {"gte": 2020}}) == [1, 2]


@pytest.mark.parametrize("count", [900, 40_000])
def test_very_many_values(count: int, tmp_path: Path) -> None:
    store = store_of(tmp_path / "d.sqlite")
    unknown = [f"x{number}" for number in range(count)]
    assert allowed(store, {"lang": [*unknown, "en", "東京"]}) == [0, 3, 5]
    assert allowed(store, {"score": [*range(3, count), 0.5, -2.5]}) == [0, 2]
    assert allowed(store, {"open": [*range(2, count), True], "lang": [*unknown, "en"]}) == [0]
    assert allowed(store, {"lang": unknown}) == []


INJECTIONS = ["x' OR 1=1 --", '"; DROP TABLE documents; --', "en') OR (1=1", "%", "?", "\0", "en\0", "de\0de"]


@pytest.mark.parametrize("text", INJECTIONS)
def test_values_are_bound_and_fields_too(text: str, tmp_path: Path) -> None:
    store = store_of(tmp_path / "d.sqlite")
    assert allowed(store, {"lang": text}) == []
    assert allowed(store, {"lang": [text, "de"]}) == [1]
    with pytest.raises(ConfigError, match="expected a field of the documents"):
        store.where({text: "en"}, 6)
    assert allowed(store, {"lang": "en"}) == [0, 3]


BAD_WORDS = ["lang", "=en", "lang=", "lang!=en", "year=>2020", "year==2020", "year><3", "", "lang en"]


@pytest.mark.parametrize("word", BAD_WORDS)
def test_bad_words_come_with_an_example(word: str) -> None:
    with pytest.raises(ConfigError, match=r"for example: lang=en\|de year>=2020"):
        parse_filter([word])


@pytest.mark.parametrize("words", [["a=1", "a=2"], ["a=1", "a>2"], ["a>=1", "a=2"], ["a>=1", "a>=2"]])
def test_two_conditions_that_cannot_be_one(words: list[str]) -> None:
    with pytest.raises(ConfigError, match="expected one condition on a"):
        parse_filter(words)


BAD_FILTERS: dict[str, tuple[Mapping[str, Any], str]] = {
    "no values": ({"lang": []}, "filter.lang = []: expected a value, a list of values, or bounds"),
    "nothing": ({"lang": None}, "filter.lang = None: expected a value, a list of values, or bounds"),
    "nested": ({"lang": [["en"]]}, "filter.lang = ['en']: expected text, a number, true or false"),
    "other bound": ({"year": {"min": 3}}, "filter.year = {'min': 3}: expected bounds such as"),
    "no bounds": ({"year": {}}, "filter.year = {}: expected bounds such as"),
    "truth as a bound": ({"year": {"gte": True}}, "filter.year.gte = True: expected a number or text"),
    "nan": ({"year": float("nan")}, "filter.year = nan: expected text, a number"),
    "too long": ({"year": 2**63}, "filter.year = 9223372036854775808: expected text, a number"),
    "half a character": ({"lang": "\ud83d"}, "filter.lang = '\\ud83d': expected text"),
    "unknown field": (
        {"langs": "en"},
        'expected a field of the documents: a.b, date, lang, open, say "x", score, year',
    ),
    "near miss": ({"yaer": 3}, "(did you mean 'year'?)"),
    "bounds of another kind": ({"lang": {"gte": 3}}, "filter.lang = {'gte': 3}: expected bounds that are text"),
}


@pytest.mark.parametrize("name", BAD_FILTERS)
def test_bad_filters(name: str, tmp_path: Path) -> None:
    where, message = BAD_FILTERS[name]
    with pytest.raises(ConfigError) as caught:
        store_of(tmp_path / "d.sqlite").where(where, 6)
    assert message in str(caught.value)


def test_filter_where_no_document_has_metadata(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="filter = 'lang': expected no filter: no document has metadata"):
        store_of(tmp_path / "d.sqlite", ({}, {})).where({"lang": "en"}, 2)


def test_documents_come_back_whole(tmp_path: Path) -> None:
    documents = Documents(
        ids=("a", "ü\ud83d", "東 京", ""),
        texts=("one\ntwo\0three", "half \udc00", "", "x" * 100_000),
        titles=("", "t\u2028", "\ud83d", "title"),
        metadata=({"k": "\ud83d", "n": 1.5}, {"t": True}, {}, {"big": 2**70}),
        source=("s1", "s1", "", "\ud83d"),
    )
    store = DocumentStore.write(tmp_path / "a?b#c%20.sqlite", documents)
    assert store.documents([0, 1, 2, 3]) == documents
    assert store.documents([2, 0]).ids == ("東 京", "a")
    assert store.rows(["", "ü\ud83d"]) == [3, 1]
    assert store.documents([]) == Documents((), (), (), ())
    assert len(store) == 4


def test_many_rows_and_ids_at_once(tmp_path: Path) -> None:
    count = 1_700
    ids = tuple(f"d{row}" for row in range(count))
    store = DocumentStore.write(tmp_path / "d.sqlite", Documents(ids, ids, ids, ({},) * count))
    rows = list(range(count - 1, -1, -1))
    assert store.documents(rows).ids == ids[::-1]
    assert store.rows(ids[::-1]) == rows
    assert store.find(["d5", "d5000"]) == {"d5": 5}


def test_unknown_rows_and_ids(tmp_path: Path) -> None:
    store = store_of(tmp_path / "d.sqlite")
    with pytest.raises(DataError, match=r"rows: no such row \(found 9\)"):
        store.documents([0, 9])
    with pytest.raises(DataError, match=r"no such id in the index \(found 'd44'\).*did you mean 'd4'\?"):
        store.rows(["d1", "d44"])
    with pytest.raises(DataError, match=r"no such id in the index \(found '日本'\); expected an id that is there$"):
        store.rows(["日本"])


@pytest.mark.parametrize("value", [float("nan"), {1, 2}])
def test_metadata_that_cannot_be_stored(value: Any, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="metadata: the metadata of the document 'd1' cannot be stored"):
        store_of(tmp_path / "d.sqlite", ({}, {"k": value}))


@pytest.mark.parametrize("damage", ["start", "empty", "other"])
def test_damaged_store(damage: str, tmp_path: Path) -> None:
    file = store_of(tmp_path / "d.sqlite").file
    whole = file.read_bytes()
    file.write_bytes({"start": b"x" * 50 + whole[50:], "empty": b"", "other": b"text"}[damage])
    with pytest.raises(ModelError, match=r"d\.sqlite: damaged"):
        DocumentStore(file)
