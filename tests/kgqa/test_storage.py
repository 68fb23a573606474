"""A graph folder: what is written is opened, mapped, and refused where a file is not the one that was written."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jepakit.errors import ModelError
from jepakit.files import write_json
from jepakit.files.arrays import write_array
from jepakit.files.verify import verify
from jepakit.kgqa.data import KnowledgeGraph, Relation, entity_table
from jepakit.kgqa.storage import MANIFEST, open_graph, write_graph

RELATIONS = (Relation("knows", "known by"), Relation("ärgert"))
TRIPLES = np.array([[0, 0, 1], [1, 1, 1], [2, 0, 0], [0, 1, 2]])


def graph_of(texts: list[str]) -> KnowledgeGraph:
    ids = [f"e{row}" for row in range(len(texts))]
    return KnowledgeGraph.from_rows("toy", entity_table(ids, texts=texts), RELATIONS, TRIPLES)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_graph(tmp_path / "graph", graph_of(["one", "", "drei\n\tü\u2028", "alone"]))
    return tmp_path / "graph"


@settings(max_examples=15)
@given(st.lists(st.text(), min_size=3, max_size=8))
def test_a_graph_is_opened_as_it_was_written(tmp_path_factory: pytest.TempPathFactory, texts: list[str]) -> None:
    texts = [text.encode("utf-8", "ignore").decode() for text in texts]
    graph, place = graph_of(texts), tmp_path_factory.mktemp("graph") / "graph"
    write_graph(place, graph)
    opened = open_graph(place)
    assert opened.entities.equals(graph.entities)
    assert (opened.name, opened.relations, opened.num_triples) == (graph.name, graph.relations, graph.num_triples)
    for name in ("ptr", "step", "neighbour"):
        np.testing.assert_array_equal(getattr(opened, name), getattr(graph, name))
    # Computed from the mapped files it is the one that was stored.
    plain = KnowledgeGraph(opened.name, opened.entities, opened.relations, opened.ptr, opened.step, opened.neighbour)
    assert plain.fingerprint == opened.fingerprint == graph.fingerprint


def test_entities_in_several_chunks_are_one_when_opened(tmp_path: Path) -> None:
    graph = graph_of(["a", "b", "c", "d"])
    chunked = pa.concat_tables([graph.entities.slice(0, 3), graph.entities.slice(3)])
    write_graph(tmp_path / "graph", KnowledgeGraph.from_rows("toy", chunked, RELATIONS, TRIPLES))
    opened = open_graph(tmp_path / "graph")
    assert opened.entities.equals(graph.entities)
    assert opened.entities["id"].num_chunks == 1


def test_an_opened_graph_is_mapped_and_can_be_written_again(folder: Path, tmp_path: Path) -> None:
    before = pa.total_allocated_bytes()
    opened = open_graph(folder)
    assert pa.total_allocated_bytes() == before
    assert not opened.step.flags.owndata
    assert opened.column("text", [2]) == ["drei\n\tü\u2028"]
    write_graph(tmp_path / "copy", opened)
    for file in folder.iterdir():
        assert (tmp_path / "copy" / file.name).read_bytes() == file.read_bytes()


def test_a_folder_with_something_in_it_stays(folder: Path) -> None:
    manifest = (folder / "graph.json").read_bytes()
    with pytest.raises(ModelError):
        write_graph(folder, graph_of(["", "", ""]))
    assert (folder / "graph.json").read_bytes() == manifest


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-9])


def foreign(file: Path) -> None:
    file.write_bytes(b"PK" * (file.stat().st_size // 2) + b"P" * (file.stat().st_size % 2))


FILES = ("graph.json", "entities.arrow", "ptr.npy", "step.npy", "neighbour.npy")


@pytest.mark.parametrize("damage", [Path.unlink, cut, foreign])
@pytest.mark.parametrize("name", FILES)
def test_a_damaged_file_is_named(folder: Path, name: str, damage: Callable[[Path], None]) -> None:
    damage(folder / name)
    with pytest.raises(ModelError) as error:
        open_graph(folder)
    assert str(folder / name) in str(error.value)
    if (folder / name).exists():
        assert any(name in fault for fault in verify(folder).faults)


@pytest.mark.parametrize("name", FILES)
def test_verify_finds_a_changed_byte(folder: Path, name: str) -> None:
    assert verify(folder).faults == ()
    assert verify(folder).with_digest == len(FILES)
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / name).write_bytes(content)
    assert len(verify(folder).faults) >= 1


def test_files_of_another_graph_are_named(folder: Path, tmp_path: Path) -> None:
    write_graph(tmp_path / "other", graph_of(["x"] * 7))
    for name in FILES[1:3]:
        copy = tmp_path / f"with-{name}"
        shutil.copytree(folder, copy)
        shutil.copy(tmp_path / "other" / name, copy / name)
        with pytest.raises(ModelError, match=name):
            open_graph(copy)


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("ptr", np.array([0, 1, 2, 3, 7])),
        ("ptr", np.array([[0, 3, 6, 8, 8]])),
        ("step", np.zeros(4, np.int64)),
        ("neighbour", np.zeros(8, np.float32)),
    ],
)
def test_arrays_of_another_kind_are_named(folder: Path, name: str, array: np.ndarray) -> None:
    file = folder / f"{name}.npy"
    write_array(file, array)
    restate(folder, sizes={file.name: file.stat().st_size})
    with pytest.raises(ModelError, match=file.name):
        open_graph(folder)


@pytest.mark.parametrize("change", [{"format": "x"}, {"version": 2}, {"relations": [{"name": "x"}]}, {"entities": "?"}])
def test_a_manifest_of_another_kind_is_named(folder: Path, change: dict[str, object]) -> None:
    restate(folder, **change)
    with pytest.raises(ModelError, match=MANIFEST):
        open_graph(folder)


def restate(folder: Path, **change: object) -> None:
    manifest = json.loads((folder / "graph.json").read_text())
    del manifest["sha256"]
    for name, value in change.items():
        manifest[name] = {**manifest[name], **value} if isinstance(value, dict) else value
    write_json(folder / "graph.json", manifest)
