"""The built-in corpus: docstrings by hand, and what holds for every one of the library's."""

import gc
import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from jepakit.errors import DataError
from jepakit.retrieval.data import RetrievalDataset
from jepakit.retrieval.datasets import load_dataset
from jepakit.retrieval.datasets.chunks import word_spans
from jepakit.retrieval.datasets.splits import shared_documents

MODULE = '''"""Tools for cutting wood. They are sharp, so keep
them away from children and cats.

Made by hand."""
import nothing_that_exists

def saw(wood):
    """Cut the wood
    into two parts.

    The parts are returned in the order of their length, longest first.
    """
    def inner():
        """Not one that anybody can call. It is inside of another function, and so not told."""

class Plane:
    """Make it smooth."""
    async def push(self):
        """Push it over the wood. Stops when the wood is smooth or the plane gets stuck."""
    def pull(self):
        """Too short a body. One two three."""
    def stop(self):
        """Stop it. The body is long enough for this but what stands before is too short."""

if nothing_that_exists:
    def hidden(): """Not looked for here. Only what a module or class defines at once is documented."""
'''


def digest(dataset: RetrievalDataset) -> str:
    splits = [(name, pairs.query.tolist(), pairs.document.tolist()) for name, pairs in dataset.splits.items()]
    return hashlib.sha256(repr((dataset.documents, dataset.queries, splits)).encode()).hexdigest()


@pytest.fixture(scope="module")
def dataset() -> RetrievalDataset:
    return load_dataset("python")


def library(folder: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, str]) -> None:
    for name, text in files.items():
        file = folder / f"{name}.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    monkeypatch.setattr("sysconfig.get_paths", lambda: {"stdlib": str(folder)})


def test_docstrings_by_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    library(tmp_path, monkeypatch, {"wood/tools": MODULE})
    made = load_dataset("python")
    rows = zip(made.documents.ids, made.queries.texts, made.documents.texts, strict=True)
    assert list(rows) == [
        (
            "wood.tools",
            "Tools for cutting wood.",
            "They are sharp, so keep\nthem away from children and cats.\n\nMade by hand.",
        ),
        (
            "wood.tools.saw",
            "Cut the wood into two parts.",
            "The parts are returned in the order of their length, longest first.",
        ),
        (
            "wood.tools.Plane.push",
            "Push it over the wood.",
            "Stops when the wood is smooth or the plane gets stuck.",
        ),
    ]
    assert made.documents.source == ("wood.tools",) * 3
    assert [cells["kind"] for cells in made.documents.metadata] == ["module", "function", "function"]
    assert made.documents.titles == ("", "", "")


def test_which_files_and_which_of_equals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def one(summary: str, body: str) -> str:
        return f'"""{summary}. The rest of it has {body} more words than are needed."""'

    files = {
        "b": one("Begins like this", "one"),
        "a/__init__": one("Begins like that", "two"),
        "a/tests/c": one("Comes from tests", "three"),
        "test/d": one("Comes from tests too", "four"),
        "site-packages/e": one("Comes from others", "five"),
        "f": one("Begins like this", "six"),
        "g": one("Begins in another way", "one"),
        "h": "def broken(:",
        "i": one("Ends it all", "seven"),
    }
    library(tmp_path, monkeypatch, files)
    assert load_dataset("python").documents.ids == ("a", "b", "i")
    assert gc.isenabled()


def test_no_sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    library(tmp_path, monkeypatch, {"a": "x = 1"})
    with pytest.raises(DataError, match=r"no docstrings; expected the source files of the standard library"):
        load_dataset("python")


def test_every_document(dataset: RetrievalDataset) -> None:
    documents, queries = dataset.documents, dataset.queries
    assert len(documents) == len(queries) > 2000
    assert min(len(word_spans(text)) for text in documents.texts) >= 8
    assert min(len(word_spans(text)) for text in queries.texts) >= 3
    assert len(set(documents.texts)) == len(set(queries.texts)) == len(documents)
    assert not any("\n" in text for text in queries.texts)
    assert not any({"test", "tests", "idle_test"} & set(source.split(".")) for source in documents.source)
    place = documents.row["argparse.HelpFormatter"]
    assert queries.texts[place] == "Formatter for generating usage messages and argument help strings."


def test_splits_are_by_module(dataset: RetrievalDataset) -> None:
    sizes = {name: len(pairs) / len(dataset.documents) for name, pairs in dataset.splits.items()}
    assert sizes == pytest.approx({"train": 0.7, "dev": 0.1, "test": 0.2}, abs=0.01)
    modules = [{dataset.documents.source[row] for row in pairs.document.tolist()} for pairs in dataset.splits.values()]
    assert sum(map(len, modules)) == len(set.union(*modules)) == len(set(dataset.documents.source))
    assert shared_documents(dataset.splits["train"], dataset.splits["test"]).documents == 0
    assert not dataset.labelled


def test_the_same_in_another_process(dataset: RetrievalDataset) -> None:
    code = "import test_python_docs as t; print(t.digest(t.load_dataset('python')), end='')"
    environment = {**os.environ, "PYTHONHASHSEED": "7", "PYTHONPATH": str(Path(__file__).parent)}
    run = subprocess.run([sys.executable, "-c", code], env=environment, check=True, capture_output=True, text=True)
    assert run.stdout == digest(dataset)
