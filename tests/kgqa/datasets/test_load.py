"""Graphs and questions by name and by place."""

import json
from pathlib import Path

import numpy as np
import pytest

from jepakit.errors import ConfigError, DataError, ModelError
from jepakit.kgqa.data import KnowledgeGraph, Relation, entity_table
from jepakit.kgqa.datasets import load_graph, load_splits
from jepakit.kgqa.storage import write_graph

GRAPH = KnowledgeGraph.from_rows(
    "toy", entity_table(["Kismet", "William"]), [Relation("directed_by", "director of")], np.array([[0, 0, 1]])
)


def test_a_graph_folder_and_a_table_are_told_apart(tmp_path: Path) -> None:
    write_graph(tmp_path / "graph", GRAPH)
    assert load_graph(tmp_path / "graph").fingerprint == GRAPH.fingerprint
    (tmp_path / "kb.tsv").write_text("Kismet\tdirected_by\tWilliam\n")
    (tmp_path / "texts.tsv").write_text("id\ttext\nKismet\tA film.\n")
    assert load_graph(str(tmp_path / "kb.tsv"), texts=tmp_path / "texts.tsv").column("text") == ["A film.", ""]
    with pytest.raises(ConfigError) as error:
        load_graph(tmp_path / "graph", texts=tmp_path / "texts.tsv")
    assert error.value.field == "texts"
    (tmp_path / "graph" / "step.npy").unlink()
    with pytest.raises(ModelError, match="step"):
        load_graph(tmp_path / "graph")


def test_unknown_names_have_the_nearest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for load, field in ((load_graph, "graph"), (lambda name: load_splits(name, GRAPH), "questions")):
        with pytest.raises(ConfigError) as error:
            load("metaqq")
        assert (error.value.field, error.value.value) == (field, "metaqq")
        assert "did you mean 'metaqa'" in str(error.value)


def test_names_are_looked_up_in_the_folder_of_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JEPAKIT_DATA", raising=False)
    with pytest.raises(ConfigError) as unset:
        load_graph("metaqa")
    assert unset.value.field == "JEPAKIT_DATA"
    with pytest.raises(DataError) as empty:
        load_graph("metaqa", data_dir=tmp_path)
    assert empty.value.file == tmp_path / "kgqa/metaqa/kb.tsv"
    file = tmp_path / "kgqa" / "metaqa" / "kb.tsv"
    (file.parent / "2-hop").mkdir(parents=True)
    file.write_text("Kismet\tdirected_by\tWilliam\n")
    (file.parent / "2-hop" / "dev.txt").write_text("who made [Kismet]\tWilliam\n")
    graph = load_graph("metaqa", data_dir=tmp_path)
    assert (graph.name, graph.num_triples) == ("metaqa", 1)
    splits = load_splits("metaqa", graph, data_dir=tmp_path)
    assert {name: (split.answers, split.hops) for name, split in splits.items()} == {"2-hop/dev": (((1,),), 2)}


@pytest.mark.parametrize("name", ["nothing.tsv", "folder", "file.xyz"])
def test_places_without_a_graph_are_named(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file.xyz").write_text("x")
    with pytest.raises(DataError) as error:
        load_graph(tmp_path / name)
    assert error.value.file == tmp_path / name


def test_questions_by_place(tmp_path: Path) -> None:
    line = json.dumps({"question": "who?", "answers": ["William"], "topics": ["Kismet"]})
    for name in ("train", "dev"):
        (tmp_path / f"{name}.jsonl").write_text(line)
    assert {name: split.answers for name, split in load_splits(tmp_path, GRAPH).items()} == {
        "dev": ((1,),),
        "train": ((1,),),
    }
    assert list(load_splits(tmp_path / "dev.jsonl", GRAPH)) == ["all"]
    (tmp_path / "empty").mkdir()
    for place in ("empty", "nothing.jsonl"):
        with pytest.raises(DataError) as error:
            load_splits(tmp_path / place, GRAPH)
        assert error.value.file == tmp_path / place


def test_public_sets_by_name(data_dir: Path) -> None:
    counts = {"metaqa": 78_231, "pathquestion-2h": 1908, "pathquestion-3h": 5198}
    for name, count in counts.items():
        splits = load_splits(name, load_graph(name, data_dir=data_dir), data_dir=data_dir)
        assert sum(map(len, splits.values())) == count
    assert load_graph("primekg", data_dir=data_dir).num_entities == 14_609
