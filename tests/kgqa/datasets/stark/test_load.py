"""Knowledge bases and questions in the formats of STaRK: small ones made here, the real questions, forged files."""

import io
import pickle
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from jepakit.datasets.folders import cache_folder
from jepakit.errors import DataError
from jepakit.kgqa.data import KnowledgeGraph, Relation, entity_table
from jepakit.kgqa.datasets import load_graph, load_splits
from jepakit.kgqa.datasets.stark import load as stark
from jepakit.kgqa.datasets.stark.files import as_text, read_dict, read_tensor
from jepakit.kgqa.datasets.stark.load import load_stark, load_stark_questions

PRIME = {
    0: {"id": 17, "type": "disease", "name": "Asthma", "source": "MONDO", "details": {"mondo_id": 3, "note": "Ill."}},
    1: {
        "id": "9",
        "type": "gene/protein",
        "name": "IL13",
        "details": {"summary": np.str_("ä"), "gone": np.float64("nan")},
    },
    2: {"id": 5, "type": "drug", "name": "", "details": {"alias": ["a", None, "b"], "score": np.int64(7), "_x": 1}},
    3: {"id": 6, "type": "drug", "name": "Nothing"},
}


def write_base(folder: Path, **changed: Any) -> Path:
    files: dict[str, Any] = {
        "node_info": PRIME,
        "edge_index": torch.tensor([[0, 1, 1, 2], [1, 0, 2, 1]]),
        "edge_types": torch.tensor([0, 0, 4, 1]),
        "node_types": torch.tensor([0, 1, 3, 3]),
        "edge_type_dict": {0: "associated with", 1: "target", 4: "carrier"},
        "node_type_dict": {0: "disease", 1: "gene/protein", 3: "drug"},
        **changed,
    }
    folder.mkdir(parents=True)
    for name, content in files.items():
        if isinstance(content, torch.Tensor):
            torch.save(content, folder / f"{name}.pt")
        elif content is not None:
            (folder / f"{name}.pkl").write_bytes(content if isinstance(content, bytes) else pickle.dumps(content))
    return folder


def named(graph: KnowledgeGraph) -> set[tuple[str, ...]]:
    ids = graph.column("id")
    return {(ids[h], graph.relations[r].name, ids[t]) for h, r, t in graph.triples().tolist()}


def test_prime(tmp_path: Path) -> None:
    write_base(tmp_path / "prime" / "processed")
    graph = load_graph(tmp_path / "prime")
    assert named(graph) == {("0", "associated with", "1"), ("1", "associated with", "0"), ("1", "carrier", "2")} | {
        ("2", "target", "1")
    }
    assert graph.relations == (
        Relation("associated with", "associated with"),
        Relation("target"),
        Relation("carrier"),
    )
    assert graph.entities.to_pylist() == [
        {"id": "0", "name": "Asthma", "type": "disease", "text": "source: MONDO; details: mondo_id: 3; note: Ill."},
        {"id": "1", "name": "IL13", "type": "gene/protein", "text": "details: summary: ä"},
        {"id": "2", "name": "2", "type": "drug", "text": "details: alias: a, b; score: 7; _x: 1"},
        {"id": "3", "name": "Nothing", "type": "drug", "text": ""},
    ]


def test_mag_has_its_types_in_no_file(tmp_path: Path) -> None:
    info = {
        np.int64(0): {"DisplayName": "Ada", "type": "author", "mag_id": 8, "PaperCount": -1},
        np.int64(1): {"DisplayName": "-1", "type": "institution"},
        np.int64(2): {"title": "On engines", "abstract": "It\ncomputes.", "type": "paper"},
    }
    edges, kinds = torch.tensor([[0, 0, 7], [1, 2, 7]])[:, :2], torch.tensor([[0, 3, 9], [1, 1, 1]])[0, :2]
    changed = {"edge_index": edges, "edge_types": kinds, "node_types": torch.tensor([0, 1, 3])}
    write_base(tmp_path / "mag", node_info=info, edge_type_dict=None, node_type_dict=None, **changed)
    graph = load_stark(tmp_path / "mag")
    assert named(graph) == {("0", "affiliated_with", "1"), ("0", "writes", "2")}
    assert graph.column("name") == ["Ada", "1", "On engines"]
    assert graph.column("text") == ["", "", "abstract: It computes."]
    assert graph.column("type") == ["author", "institution", "paper"]


def test_amazon_has_its_whole_graph_in_a_folder_below(tmp_path: Path) -> None:
    folder = tmp_path / "amazon" / "processed"
    write_base(folder, node_info={0: {"title": "only a product"}})
    write_base(folder / "cache" / "brand-category-color")
    assert load_graph(tmp_path / "amazon").num_entities == 4


@pytest.mark.parametrize(
    ("changed", "file"),
    [
        ({"node_info": None}, ""),
        ({"node_types": None}, "node_types.pt"),
        ({"node_types": torch.tensor([0, 1, 3])}, "node_info.pkl"),
        ({"node_types": torch.tensor([0, 1, 3, 8])}, "node_types.pt"),
        ({"node_types": torch.zeros(2, 2)}, "node_types.pt"),
        ({"edge_types": torch.tensor([0, 0, 9, 1])}, "edge_types.pt"),
        ({"edge_types": torch.tensor([0, 0, 1])}, "edge_index.pt"),
        ({"edge_index": torch.tensor([[0, 1, 1, 2], [1, 0, 2, 4]])}, "edge_index.pt"),
        ({"edge_index": torch.tensor([[0, 1, 1, 2]])}, "edge_index.pt"),
        ({"node_info": {0: 1, 1: 2, 2: 3, 3: 4}}, "node_info.pkl"),
        ({"node_info": {1: {}, 2: {}, 3: {}, 4: {}}}, "node_info.pkl"),
        ({"node_info": [1]}, "node_info.pkl"),
        ({"node_info": pickle.dumps(PRIME)[:-20]}, "node_info.pkl"),
        ({"node_info": pickle.dumps({0: Path("x")})}, "node_info.pkl"),
    ],
)
def test_files_that_do_not_fit_are_named(tmp_path: Path, changed: dict[str, Any], file: str) -> None:
    folder = write_base(tmp_path / "base", **changed)
    with pytest.raises(DataError) as error:
        load_stark(folder)
    assert error.value.file == folder / file


class Evil:
    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return Path.touch, (Path("ran"),)  # pyright: ignore[reportReturnType]


def test_a_forged_pickle_runs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.pkl").write_bytes(pickle.dumps({0: Evil()}))
    torch.save(Evil(), tmp_path / "a.pt")
    for read in (lambda: read_dict(tmp_path / "a.pkl"), lambda: read_tensor(tmp_path / "a.pt")):
        with pytest.raises(DataError):
            read()
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "tensor",
    [
        torch.arange(12).view(3, 4),
        torch.arange(12).view(3, 4).t(),
        torch.arange(12).view(3, 4)[1:, ::2],
        torch.empty(0, 3, dtype=torch.int64),
        torch.tensor(5),
        torch.rand(4).double(),
        torch.arange(4, dtype=torch.uint8),
    ],
)
def test_tensors_are_read_as_torch_reads_them(tmp_path: Path, tensor: torch.Tensor) -> None:
    torch.save(tensor, tmp_path / "a.pt")
    np.testing.assert_array_equal(read_tensor(tmp_path / "a.pt"), tensor.numpy())


def repacked(file: Path, change: Callable[[str, bytes], bytes], compression: int = zipfile.ZIP_STORED) -> None:
    members = zipfile.ZipFile(io.BytesIO(file.read_bytes()))
    with zipfile.ZipFile(file, "w", compression) as written:
        for name in members.namelist():
            written.writestr(name, change(name, members.read(name)))


def test_forged_tensors_are_refused(tmp_path: Path) -> None:
    def larger(name: str, content: bytes) -> bytes:
        return content.replace(b"K\x03K\x04\x86", b"K\xffK\xff\x86") if name.endswith("data.pkl") else content

    def cut(name: str, content: bytes) -> bytes:
        return content[:-8] if name.endswith("data/0") else content

    def turned(name: str, content: bytes) -> bytes:
        return b"big" if name.endswith("byteorder") else content

    def same(name: str, content: bytes) -> bytes:
        return content

    file = tmp_path / "a.pt"
    for change, compression in ((larger, 0), (cut, 0), (turned, 0), (same, zipfile.ZIP_DEFLATED)):
        torch.save(torch.arange(12).view(3, 4), file)
        repacked(file, change, compression)
        with pytest.raises(DataError) as error:
            read_tensor(file)
        assert error.value.file == file
    for content in ([torch.arange(3)], {"a": 1}, torch.arange(3).to_sparse()):
        torch.save(content, file)
        with pytest.raises(DataError):
            read_tensor(file)


def test_text_of_forged_nesting_is_bounded() -> None:
    value: list[Any] = ["ha"]
    empty: list[Any] = [[]]
    for _ in range(40):
        value, empty = [value] * 10, [empty] * 10
    assert 0 < len(as_text(value, 100)) <= 100
    assert len(as_text(empty, 50)) <= 50


def make_questions(folder: Path) -> Path:
    (folder / "stark_qa").mkdir(parents=True)
    (folder / "split").mkdir()
    rows = '4,"Which gene,\nplease?",[1]\n9,Which drug?,"[2, 77]"\n5,Nothing?,[]\n'
    (folder / "stark_qa" / "stark_qa.csv").write_text("id,query,answer_ids\n" + rows)
    for part, ids in {"train": "9\n4", "val": "5", "test": "4\n"}.items():
        (folder / "split" / f"{part}.index").write_text(ids)
    return folder


def test_questions_and_their_splits(tmp_path: Path) -> None:
    graph = load_stark(write_base(tmp_path / "base"))
    splits = load_stark_questions(make_questions(tmp_path / "qa"), graph)
    assert {name: questions.texts for name, questions in splits.items()} == {
        "train": ("Which drug?", "Which gene,\nplease?"),
        "val": ("Nothing?",),
        "test": ("Which gene,\nplease?",),
    }
    train = splits["train"]
    assert (train.answers, train.missing, train.topics) == (((2,), (1,)), (1, 0), ((), ()))
    (tmp_path / "qa" / "split" / "val.index").write_text("5\n6")
    with pytest.raises(DataError) as error:
        load_stark_questions(tmp_path / "qa", graph)
    assert (error.value.file, error.value.value) == (tmp_path / "qa" / "split" / "val.index", "6")


@pytest.mark.parametrize("rows", ["id,query\n1,a\n", "id,query,answer_ids\n1,a,{\n", "id,query,answer_ids\n1,a,5\n"])
def test_questions_of_another_form_are_named(tmp_path: Path, rows: str) -> None:
    graph = load_stark(write_base(tmp_path / "base"))
    file = make_questions(tmp_path / "qa") / "stark_qa" / "stark_qa.csv"
    file.write_text(rows)
    with pytest.raises(DataError) as error:
        load_stark_questions(tmp_path / "qa", graph)
    assert error.value.file == file


def test_names_are_looked_up_and_else_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("JEPAKIT_DATA", raising=False)
    # The hub as a folder of files, which urllib opens too.
    hub = tmp_path / "hub"
    monkeypatch.setattr(stark, "HUB", hub.as_uri())
    with pytest.raises(DataError):
        load_graph("amazon")
    write_base(tmp_path / "made" / "processed" / "cache" / "brand")
    write_base(tmp_path / "made" / "processed" / "x", node_info={0: {}})
    shutil.make_archive(str(hub / "skb" / "amazon" / "processed"), "zip", tmp_path / "made")
    make_questions(hub / "qa" / "amazon")
    shutil.copy(hub / "qa/amazon/stark_qa/stark_qa.csv", hub / "qa/amazon/stark_qa/stark_qa_human_generated_eval.csv")
    graph = load_graph("amazon")
    assert (graph.name, graph.num_entities) == ("amazon", 4)
    assert {name: len(part) for name, part in load_splits("amazon", graph).items()} == {
        "train": 2,
        "val": 1,
        "test": 1,
        "human": 3,
    }
    shutil.rmtree(hub)
    assert load_graph("amazon").fingerprint == graph.fingerprint
    assert len(load_splits("amazon", graph)) == 4
    assert sorted(path.name for path in (cache_folder() / "kgqa/stark/skb").iterdir()) == ["amazon"]
    assert sorted(path.name for path in (cache_folder() / "kgqa/stark/qa").iterdir()) == ["amazon"]
    write_base(tmp_path / "data" / "kgqa" / "stark" / "skb" / "mag" / "processed")
    assert load_graph("mag", data_dir=tmp_path / "data").name == "mag"


def test_the_real_questions(data_dir: Path) -> None:
    entities = entity_table([str(row) for row in range(129_375)])
    graph = KnowledgeGraph.from_rows("prime", entities, [Relation("target")], np.array([[0, 0, 1]]))
    splits = load_splits("prime", graph, data_dir=data_dir)
    assert {name: len(part) for name, part in splits.items()} == {
        "train": 6162,
        "val": 2241,
        "test": 2801,
        "human": 109,
    }
    assert sum(sum(part.missing) for part in splits.values()) == 0
    assert all(part.answers[row] for part in splits.values() for row in range(len(part)))
