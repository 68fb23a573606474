"""What every place keeps: one contract for our folder, PostgreSQL, Qdrant and Milvus."""

from __future__ import annotations

from pathlib import Path
from uuid import uuid4

import pytest
import torch
from places import KINDS, Place
from torch import Tensor
from toy_index import DIM, documents_of, vectors_of

from jepakit.errors import ConfigError, DataError, ModelError
from jepakit.search.collection import Collection, create_collection, open_collection
from jepakit.search.documents import Documents
from jepakit.search.engines import database
from jepakit.search.filters import Filter
from processes import CONTEXT, LIMIT

ODD = ("a' OR '1'='1", 'b"; DROP TABLE docs; --', "c] or true", "d\\", "e %s {id} $1", "Zürich 東京", " ", "f\ttab")


@pytest.fixture(params=KINDS)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    if request.param == "folder":
        return Place("folder", str(tmp_path))
    if request.param == "pgvector":
        psycopg = pytest.importorskip("psycopg")
        address = request.getfixturevalue("server")
        schema = f"s{uuid4().hex}"
        with psycopg.connect(address) as connection:
            connection.execute("CREATE EXTENSION IF NOT EXISTS vector SCHEMA pg_catalog")
            connection.execute(f"CREATE SCHEMA {schema}")
        return Place("pgvector", f"{address}&options=-csearch_path%3D{schema}")
    pytest.importorskip({"qdrant": "qdrant_client", "milvus": "milvus_lite"}[request.param])
    return Place(request.param, f"{request.param}:{tmp_path / 'data.db'}")


def filled(place: Place, count: int = 30) -> Collection:
    collection = place.create()
    collection.add(documents_of(range(count)), vectors_of(range(count)))
    return collection


def ids_of(collection: Collection, query: Tensor, k: int, where: Filter | None = None) -> list[str]:
    hits = collection.search_vectors(query[None], k, where)
    return list(collection.documents(hits.rows[hits.found]).ids)


def test_the_nearest_are_those_of_all_comparisons(place: Place) -> None:
    collection = filled(place)
    queries = vectors_of(range(100, 108))
    cosines = queries @ vectors_of(range(30)).T
    hits = collection.search_vectors(queries, 5)
    for place_of_query in range(8):
        best = cosines[place_of_query].topk(5)
        assert ids_of(collection, queries[place_of_query], 5) == [f"d{number}" for number in best.indices]
        torch.testing.assert_close(hits.scores[place_of_query], best.values, atol=1e-5, rtol=0)
    documents = collection.documents(hits.rows[0])
    assert documents == documents_of([int(name[1:]) for name in documents.ids])
    torch.testing.assert_close(
        collection.vectors(hits.rows[0]), vectors_of([int(name[1:]) for name in documents.ids]), atol=1e-6, rtol=0
    )
    assert len(collection) == 30
    assert collection.documents(collection.rows_of(["d7", "d3"])).ids == ("d7", "d3")
    collection.close()


def test_added_replaced_and_deleted(place: Place) -> None:
    collection = filled(place, 10)
    collection.add(documents_of([3, 10], "second"), vectors_of([3, 10], "second"))
    assert len(collection) == 11
    assert ids_of(collection, vectors_of([3], "second")[0], 1) == ["d3"]
    assert collection.documents(collection.rows_of(["d3"])) == documents_of([3], "second")
    collection.delete(["d3", "d4"])
    assert len(collection) == 9
    assert "d3" not in ids_of(collection, vectors_of([3], "second")[0], 11)
    for absent in ("d3", "never"):
        with pytest.raises(DataError):
            collection.delete([absent])
        with pytest.raises(DataError):
            collection.rows_of([absent])
    collection.close()


def test_more_than_one_batch(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "BATCH", 50)
    collection = place.create()
    numbers = range(110)
    collection.add(documents_of(numbers), vectors_of(numbers))
    assert len(collection) == 110
    rows = collection.rows_of([f"d{number}" for number in numbers])
    assert collection.documents(rows) == documents_of(numbers)
    collection.delete([f"d{number}" for number in range(105)])
    assert sorted(ids_of(collection, vectors_of([0])[0], 100)) == sorted(f"d{number}" for number in range(105, 110))
    collection.close()


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ({"number": 4}, {4}),
        ({"number": [4, 5.0, 77]}, {4, 5}),
        ({"number": {"gte": 3, "lt": 6}}, {3, 4, 5}),
        ({"number": {"gt": 3.5, "lte": 5}}, {4, 5}),
        ({"version": "first", "number": {"lt": 2}}, {0, 1}),
        ({"version": ["none", "first"], "number": {"gt": 7}}, {8, 9}),
        ({"version": 'it\'s "none" %s {x}'}, set()),
        ({"number": "4"}, set()),
        ({"version": {"gte": "a", "lt": "g"}, "number": 1}, {1}),
    ],
)
def test_filters(place: Place, where: Filter, expected: set[int]) -> None:
    collection = filled(place, 10)
    query = vectors_of([50])[0]
    try:
        if place.kind == "qdrant" and isinstance(where.get("version"), dict):
            with pytest.raises(ConfigError):
                ids_of(collection, query, 10, where)
        else:
            assert set(ids_of(collection, query, 10, where)) == {f"d{number}" for number in expected}
    finally:
        collection.close()


def test_truth_values_and_odd_fields(place: Place) -> None:
    collection = place.create()
    names = ("a", "b", "c")
    metadata = ({"ok": True, "x.y z'": 1}, {"ok": False, "x.y z'": 2}, {})
    collection.add(Documents(names, names, names, metadata), vectors_of(range(3)))
    query = vectors_of([9])[0]
    assert ids_of(collection, query, 5, {"ok": True}) == ["a"]
    assert ids_of(collection, query, 5, {"x.y z'": 2}) == ["b"]
    assert collection.documents(collection.rows_of(["a"])).metadata == (metadata[0],)
    collection.close()


@pytest.mark.parametrize("where", [{"number": {"near": 3}}, {"number": []}, {"number": float("nan")}, {"number": None}])
def test_what_is_no_filter(place: Place, where: Filter) -> None:
    collection = filled(place, 2)
    with pytest.raises(ConfigError):
        collection.search_vectors(vectors_of([1]), 1, where)
    collection.close()


def test_vectors_and_queries_that_are_refused(place: Place) -> None:
    collection = filled(place, 5)
    with pytest.raises(DataError) as caught:
        collection.search_vectors(torch.ones(1, DIM + 1), 3)
    assert caught.value.field == "queries"
    for vectors in (torch.ones(1, DIM + 1), vectors_of([1]) * 2, vectors_of([1]) * torch.nan, vectors_of([1, 2])):
        with pytest.raises(DataError):
            collection.add(documents_of([50]), vectors)
    with pytest.raises(ConfigError):
        collection.search_vectors(vectors_of([1]), 0)
    with pytest.raises(DataError):
        collection.documents([12345])
    assert len(collection) == 5
    collection.close()


def test_nothing_there_and_more_wanted_than_there_is(place: Place) -> None:
    collection = place.create()
    assert len(collection) == 0
    assert collection.search_vectors(vectors_of([1, 2]), 4).rows.tolist() == [[-1] * 4] * 2
    assert len(collection.vectors([])) == len(collection.documents([])) == 0
    collection.add(documents_of([1, 2]), vectors_of([1, 2]))
    hits = collection.search_vectors(torch.cat([vectors_of([1]), torch.zeros(1, DIM)]), 600)
    assert hits.found.sum(1).tolist() == [2, 0]
    assert bool(hits.scores[~hits.found].isneginf().all())
    collection.close()


def test_ids_and_texts_that_look_like_code(place: Place) -> None:
    collection = place.create()
    documents = Documents(ODD, ODD, ODD, tuple({"said": name} for name in ODD))
    collection.add(documents, vectors_of(range(len(ODD))))
    assert collection.documents(collection.rows_of(ODD)) == documents
    for number, name in enumerate(ODD):
        assert ids_of(collection, vectors_of([number])[0], 1) == [name]
        assert ids_of(collection, vectors_of([50])[0], 9, {"said": name}) == [name]
    for name in ODD[:4]:
        collection.delete([name])
    assert len(collection) == len(ODD) - 4
    assert collection.documents(collection.rows_of(ODD[4:])).ids == ODD[4:]
    collection.close()


def test_names_that_look_like_code(place: Place) -> None:
    name = 'x"; DROP TABLE y; --'
    with pytest.raises((ConfigError, ModelError)):
        place.open(name)
    if place.kind == "pgvector":
        collection = place.create(name, text='te"xt', metadata="me'ta")
        collection.add(documents_of([1]), vectors_of([1]))
        assert collection.documents(collection.rows_of(["d1"])) == documents_of([1])
        assert ids_of(collection, vectors_of([1])[0], 1, {"number": 1}) == ["d1"]
        collection.close()


def test_another_encoder_is_refused(place: Place) -> None:
    filled(place, 3).close()
    place.open(fingerprint="f1").close()
    opened = place.open()
    assert (opened.base, opened.fingerprint, opened.dim) == ("toy", "f1", DIM)
    opened.close()
    with pytest.raises(ModelError) as caught:
        place.open(fingerprint="f2")
    assert "f1" in str(caught.value)
    assert "f2" in str(caught.value)


def test_what_is_not_there(place: Place) -> None:
    filled(place, 1).close()
    with pytest.raises(ModelError):
        place.open("other")
    if place.kind != "folder":
        with pytest.raises(ConfigError):
            place.create()
        with pytest.raises(ConfigError):
            place.open(text="nowhere") if place.kind != "qdrant" else place.open(vector="nowhere")
        with pytest.raises(ConfigError):
            open_collection(place.root)


def look(place: Place, report: str) -> None:
    collection = place.open(fingerprint="f1")
    Path(report).write_text(f"{len(collection)} {ids_of(collection, vectors_of([3], 'second')[0], 1)}")
    collection.close()


def test_another_process_sees_what_was_added(place: Place, tmp_path: Path) -> None:
    collection = filled(place, 5)
    collection.add(documents_of([3], "second"), vectors_of([3], "second"))
    if place.kind in ("qdrant", "milvus"):
        # Their embedded forms are for one process at a time.
        collection.close()
    process = CONTEXT.Process(target=look, args=(place, str(tmp_path / "report")))
    process.start()
    process.join(LIMIT)
    assert process.exitcode == 0
    assert (tmp_path / "report").read_text() == "5 ['d3']"
    if place.kind not in ("qdrant", "milvus"):
        collection.close()


@pytest.mark.parametrize(
    "address",
    [
        "postgresql://user:secret@127.0.0.1:1/db?table=docs&connect_timeout=2",
        "qdrant://127.0.0.1:1?collection=docs",
        "milvus://127.0.0.1:1?collection=docs",
    ],
)
def test_a_server_that_does_not_answer(address: str) -> None:
    for act in (lambda: open_collection(address), lambda: create_collection(address, dim=3, base="b", fingerprint="f")):
        with pytest.raises(ModelError) as caught:
            act()
        assert "127.0.0.1:1" in str(caught.value)
        assert "secret" not in str(caught.value)


@pytest.mark.parametrize("address", ["mysql://host/db?table=docs", "qdrant://host?collection=docs&colour=red"])
def test_addresses_of_nothing(address: str) -> None:
    with pytest.raises(ConfigError):
        open_collection(address)
    with pytest.raises(ConfigError):
        create_collection("a/folder", dim=3, base="b", fingerprint="f")
