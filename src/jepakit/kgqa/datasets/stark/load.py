"""STaRK (Wu et al. 2024): three knowledge bases with texts (Prime, MAG, Amazon), and questions with official splits."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from jepakit.datasets.download import fetch_files
from jepakit.datasets.folders import cache_folder, data_folder
from jepakit.errors import DataError
from jepakit.files import parse_json, read_text, reading, whole_folder
from jepakit.kgqa.data import Ids, KnowledgeGraph, Questions, Relation, entity_table
from jepakit.kgqa.datasets.questions import linked_questions
from jepakit.kgqa.datasets.stark.files import as_text, is_missing, plain, read_dict, read_tensor
from jepakit.kgqa.datasets.triples import read_table

HUB = "https://huggingface.co/datasets/snap-stanford/stark/resolve/main"
"""Where a knowledge base or its questions are fetched from when they are in no folder."""

NODES = "node_info.pkl"
"""The file that makes a folder a STaRK knowledge base."""

_FILES = (NODES, "edge_index.pt", "edge_types.pt", "node_types.pt", "node_type_dict.pkl", "edge_type_dict.pkl")
_QUESTIONS = (
    *("stark_qa/stark_qa.csv", "stark_qa/stark_qa_human_generated_eval.csv"),
    *(f"split/{part}.index" for part in ("train", "val", "test")),
)
#: STaRK-MAG has its types in the code, not in a file.
_MAG_NODE_TYPES = ("author", "institution", "field_of_study", "paper")
_MAG_EDGE_TYPES = ("affiliated_with", "cites", "has_topic", "writes")
_NAMES = ("name", "title", "DisplayName", "brand_name", "category_name", "color_name")
#: What is in no text: numbers of other databases, and what stands in columns of its own.
_NO_TEXT = {"id", "mag_id", "new_id", "type", "index", "asin", *_NAMES}
_TEXT_CHARACTERS = 20_000


def load_stark(folder: Path, *, name: str | None = None) -> KnowledgeGraph:
    """The graph of a STaRK knowledge base, from the files that its authors provide (``processed.zip``).

    ==========================================  ======================================================================
    file                                        content
    ==========================================  ======================================================================
    ``node_info.pkl``                           node -> properties; the entity's id is the number of the node, which
                                                the questions name too
    ``node_types.pt``, ``node_type_dict.pkl``   the type of each node
    ``edge_index.pt``                           ``[2, E]``: triples; ``edge_types.pt``, ``edge_type_dict.pkl``: their
                                                relations
    ==========================================  ======================================================================

    The text of an entity are its other properties, ``key: value``, at most 20,000 characters. A relation whose triples
    are all there in both directions (all of STaRK-Prime's) has its name in both. Pickles are read without unpickling,
    see `jepakit.files.pickles`.

    Args:
        folder: with these files, or with a folder ``processed`` of them, as it comes out of the archive.
        name: of the graph; by default that of the folder.

    Raises:
        DataError: a file is missing, is no such file, or does not fit the others; names it.
    """
    place = stark_folder(folder)
    if place is None:
        raise DataError("no knowledge base of STaRK", file=folder, expected=", ".join(_FILES))
    info = read_dict(place / NODES)
    size = len(info)
    node_types = _numbers(place / "node_types.pt", 1)
    with reading(place / NODES):
        missing = next((row for row in range(size) if row not in info), None)
        if missing is not None or len(node_types) != size:
            value = size if missing is None else missing
            raise DataError("not a node for each number", value=value, expected=f"0 to {len(node_types) - 1}")
        nodes = [_properties(info[row]) for row in range(size)]
        names = [_name(node, row) for row, node in enumerate(nodes)]
        texts = [as_text({k: v for k, v in node.items() if _is_text(k)}, _TEXT_CHARACTERS) for node in nodes]
    kinds = _kinds(place / "node_type_dict.pkl", _MAG_NODE_TYPES, node_types, place / "node_types.pt")
    entities = entity_table(
        list(map(str, range(size))), names=names, types=[kinds[kind] for kind in node_types.tolist()], texts=texts
    )
    edges, edge_types = _numbers(place / "edge_index.pt", 2), _numbers(place / "edge_types.pt", 1)
    with reading(place / "edge_index.pt"):
        if edges.shape[0] != 2 or edges.shape[1] != len(edge_types):
            raise DataError("not two ends for each edge", value=edges.shape, expected=f"(2, {len(edge_types)})")
        relations = _kinds(place / "edge_type_dict.pkl", _MAG_EDGE_TYPES, edge_types, place / "edge_types.pt")
        # Numbers of types need not be consecutive.
        used, kind = np.unique(edge_types, return_inverse=True)
        triples = np.stack([edges[0], kind, edges[1]], 1)
        named = [_relation(relations[number], triples[kind == row]) for row, number in enumerate(used.tolist())]
        return KnowledgeGraph.from_rows(name or folder.name, entities, named, triples)


def load_stark_questions(folder: Path, graph: KnowledgeGraph) -> Mapping[str, Questions]:
    """The questions of a STaRK knowledge base: ``train``, ``val``, ``test`` and, where the file is there, ``human``.

    Args:
        folder: with ``stark_qa/stark_qa.csv`` (columns id, query, answer_ids) and ``split/PART.index``.
        graph: of the same knowledge base. Answers that it does not have are counted, as in `Questions`.

    Raises:
        DataError: a file is missing or has another form, or a split names a question that is not there.
    """
    ids, questions = _questions(folder / _QUESTIONS[0], graph)
    row = {one: place for place, one in enumerate(ids)}
    splits: dict[str, Questions] = {}
    for part in ("train", "val", "test"):
        file = folder / "split" / f"{part}.index"
        listed = read_text(file).split()
        unknown = next((one for one in listed if one not in row), None)
        if unknown is not None:
            raise DataError("no question has this id", file=file, value=unknown, expected=f"an id of {_QUESTIONS[0]}")
        splits[part] = questions[[row[one] for one in listed]]
    human = folder / _QUESTIONS[1]
    return {**splits, "human": _questions(human, graph)[1]} if human.exists() else splits


def _questions(file: Path, graph: KnowledgeGraph) -> tuple[list[str], Questions]:
    table = read_table(file)
    with reading(file):
        for name in ("id", "query", "answer_ids"):
            if name not in table.column_names:
                raise DataError("the column is missing", field=name, expected="id, query, answer_ids")
        answers = [parse_json(text) for text in table["answer_ids"].to_pylist()]
        wrong = next((one for one in answers if not isinstance(one, list)), None)
        if wrong is not None:
            raise DataError("not a list of numbers", field="answer_ids", value=wrong)
        texts = table["query"].to_pylist()
        listed = [[str(one) for one in answer] for answer in answers]
        return table["id"].to_pylist(), linked_questions(graph, texts, [[] for _ in texts], listed)


def stark_folder(folder: Path) -> Path | None:
    """The folder with the files of a knowledge base: this one, or one below it; None if there is none."""
    # STaRK-Amazon has its products in processed/, and the whole graph in a folder below.
    below = (
        place for pattern in ("processed/cache/*", "cache/*", "processed") for place in sorted(folder.glob(pattern))
    )
    return next((place for place in (*below, folder) if (place / NODES).is_file()), None)


def find_stark(name: str, data_dir: str | Path | None) -> Path:
    """The folder of a knowledge base by name: in the folder of data or the cache, else fetched into the cache.

    Raises:
        DataError: it is in neither and cannot be fetched.
    """
    for root in (data_folder(data_dir), cache_folder()):
        if root is not None and stark_folder(root / "kgqa" / "stark" / "skb" / name):
            return root / "kgqa" / "stark" / "skb" / name
    target = cache_folder() / "kgqa" / "stark" / "skb" / name
    archive = fetch_files(f"{HUB}/skb/{name}", ["processed.zip"], target.with_name(f"{name}-archive"))
    _unpack(archive / "processed.zip", target)
    shutil.rmtree(archive)
    return target


def find_stark_questions(name: str, data_dir: str | Path | None) -> Path:
    """The folder of the questions of a knowledge base, found or fetched as `find_stark` does."""
    place = Path("kgqa") / "stark" / "qa" / name
    root = data_folder(data_dir)
    local = [] if root is None else [root / place, root / "kgqa" / f"stark_{name}_qa"]
    for folder in (*local, cache_folder() / place):
        if (folder / _QUESTIONS[0]).exists():
            return folder
    target = cache_folder() / place
    with whole_folder(target, replace=True) as unfinished:
        for kind in ("stark_qa", "split"):
            names = [Path(file).name for file in _QUESTIONS if file.startswith(kind)]
            fetched = fetch_files(f"{HUB}/qa/{name}/{kind}", names, target.with_name(f"{name}-{kind}"))
            shutil.copytree(fetched, unfinished / kind)
            shutil.rmtree(fetched)
    return target


def _unpack(archive: Path, target: Path) -> None:
    """Takes the files of the knowledge base out of its archive: the deepest ones, see `stark_folder`."""
    with reading(archive), zipfile.ZipFile(archive) as members, whole_folder(target, replace=True) as unfinished:
        names = sorted(members.namelist(), key=lambda name: -name.count("/"))
        for wanted in _FILES:
            found = next((name for name in names if Path(name).name == wanted), None)
            if found is not None:
                with members.open(found) as content, (unfinished / wanted).open("wb") as file:
                    shutil.copyfileobj(content, file)


def _numbers(file: Path, dimensions: int) -> Ids:
    found = read_tensor(file)
    if found.ndim != dimensions:
        raise DataError("a tensor of another shape", file=file, value=found.shape, expected=f"{dimensions} dimensions")
    return found.astype(np.int64)


def _kinds(file: Path, known: tuple[str, ...], numbers: Ids, source: Path) -> dict[int, str]:
    """The name of each type, by its number."""
    given = read_dict(file) if file.exists() else dict(enumerate(known))
    # STaRK-MAG writes a relation with the types of its ends: author___writes___paper.
    kinds = {number: str(name).split("___")[1] if "___" in str(name) else str(name) for number, name in given.items()}
    unknown = next((number for number in np.unique(numbers).tolist() if number not in kinds), None)
    if unknown is not None:
        raise DataError("a type without a name", file=source, value=unknown, expected=f"a key of {file.name}")
    return kinds


def _properties(node: Any) -> dict[str, Any]:
    if not isinstance(node, dict):
        raise DataError("a node is no dict", value=type(node).__name__)
    return {str(plain(key)): plain(value) for key, value in node.items()}


def _name(node: Mapping[str, Any], row: int) -> str:
    given = (node[key] for key in _NAMES if key in node and not is_missing(node[key]))
    return " ".join(str(next(given, row)).split()) or str(row)


def _is_text(key: str) -> bool:
    return key not in _NO_TEXT and not key.startswith("_") and not key.lower().endswith("_id")


def _relation(name: str, triples: Ids) -> Relation:
    head, _, tail = triples.T
    size = int(triples.max()) + 1
    symmetric = np.array_equal(np.unique(head * size + tail), np.unique(tail * size + head))
    return Relation(name, name if symmetric else "")
