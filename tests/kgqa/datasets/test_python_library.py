"""The built-in graph: what the source says is in it, what it does not say is not."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from jepakit.errors import ConfigError, DataError
from jepakit.kgqa.data import KnowledgeGraph, Questions
from jepakit.kgqa.datasets import load_graph, load_splits
from jepakit.kgqa.datasets.python_library import RELATIONS, extract
from jepakit.kgqa.datasets.python_questions import PythonQuestionsConfig, python_questions, templates

SOURCES = {
    "shapes/__init__.py": '''
"""Shapes.

More about them.
"""
from .base import Shape, area as measure
from shapes.round import *
import os.path
''',
    "shapes/base.py": '''
class ShapeError(ValueError):
    """Not a
    shape.

    Really."""

class Shape:
    def area(self):
        raise NotImplementedError
    def double(self):
        return 2 * self.area()
    def _hidden(self): ...

def area(shape):
    def check():
        raise ShapeError("no")
    return shape.area()
''',
    "shapes/round.py": """
from . import base
from .base import ShapeError as Problem
import sys as system

class Circle(base.Shape):
    def area(self):
        return super().double() + base.area(self)
    @staticmethod
    def make(self):
        self.area()
        return Circle()

class _Secret(Circle): ...
class Deep(_Secret): ...

def draw(area, what=None):
    area()
    error = Problem
    raise error

def fail(base):
    base.area()
    raise Problem
""",
    "user.py": """
try:
    from shapes import Circle as round_thing
except ImportError:
    round_thing = None
import shapes, shapes.base

def run():
    shapes.base.area(1)
    round_thing()
    shapes.measure(2)
    shapes.Circle().area()
    from shapes import Shape
    Shape.double()
    raise shapes.base.ShapeError from None

def int(): ...
def call():
    int()
    class int: ...

def twice(): ...
twice = 3
def third():
    twice()
    raise KeyError(1)
    raise
""",
    "broken.py": "def (",
    "test/ignored.py": "import user",
    "idlelib/editor.py": "import user",
}


@pytest.fixture(scope="module")
def extracted(tmp_path_factory: pytest.TempPathFactory) -> tuple[set[tuple[str, ...]], dict[str, tuple[str, str]]]:
    root = tmp_path_factory.mktemp("library")
    for name, text in SOURCES.items():
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text(text)
    tensors, header = extract(root)
    ids, names = header["ids"], [relation.name for relation in RELATIONS]
    triples = {(ids[h], names[r], ids[t]) for h, r, t in tensors["triples"].tolist()}
    return triples, dict(zip(ids, zip(header["types"], header["texts"], strict=True), strict=True))


def test_what_is_called_and_raised(extracted: tuple[set[tuple[str, ...]], object]) -> None:
    done = {one for one in extracted[0] if one[1] in ("calls", "raises")}
    assert done == {
        ("shapes.base.Shape.area", "raises", "builtins.NotImplementedError"),
        ("shapes.base.Shape.double", "calls", "shapes.base.Shape.area"),
        ("shapes.base.area", "raises", "shapes.base.ShapeError"),
        ("shapes.round.Circle.area", "calls", "shapes.base.Shape.double"),
        ("shapes.round.Circle.area", "calls", "shapes.base.area"),
        ("shapes.round.Circle.make", "calls", "shapes.round.Circle"),
        ("shapes.round.fail", "raises", "shapes.base.ShapeError"),
        ("user.run", "calls", "shapes.base.area"),
        ("user.run", "calls", "shapes.round.Circle"),
        ("user.run", "calls", "shapes.base.Shape.double"),
        ("user.run", "raises", "shapes.base.ShapeError"),
        ("user.third", "raises", "builtins.KeyError"),
    }


def test_what_is_imported_and_inherited(extracted: tuple[set[tuple[str, ...]], object]) -> None:
    imports = {(head, tail) for head, kind, tail in extracted[0] if kind == "imports"}
    assert imports == {
        ("shapes", "shapes.base"),
        ("shapes", "shapes.round"),
        ("shapes", "os"),
        ("shapes.round", "shapes.base"),
        ("shapes.round", "sys"),
        ("user", "shapes"),
        ("user", "shapes.base"),
    }
    inherits = {(head, tail) for head, kind, tail in extracted[0] if kind == "inherits from"}
    assert ("shapes.base.ShapeError", "builtins.ValueError") in inherits
    assert ("shapes.round.Circle", "shapes.base.Shape") in inherits
    assert ("builtins.KeyError", "builtins.LookupError") in inherits
    assert not any("_Secret" in name for pair in inherits for name in pair)


def test_types_and_texts(extracted: tuple[object, dict[str, tuple[str, str]]]) -> None:
    entities = extracted[1]
    assert entities["shapes"] == ("module", "Shapes.")
    assert entities["shapes.base.ShapeError"] == ("class", "Not a shape.")
    assert entities["shapes.base.area"] == ("function", "")
    assert entities["shapes.base.Shape.area"] == ("method", "")
    assert entities["sys"] == ("module", "")
    assert not {"broken", "test.ignored", "idlelib.editor", "shapes.base.Shape._hidden"} & set(entities)


def test_a_folder_without_source_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError) as error:
        extract(tmp_path)
    assert error.value.file == tmp_path


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KnowledgeGraph]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        built = load_graph("python")
        assert load_graph("python").fingerprint == built.fingerprint
        yield built


@pytest.fixture(scope="module")
def splits(graph: KnowledgeGraph) -> Mapping[str, Questions]:
    return load_splits("python", graph)


def test_known_facts_of_the_library(graph: KnowledgeGraph) -> None:
    ids = graph.column("id")
    triples = {(ids[h], graph.relations[r].name, ids[t]) for h, r, t in graph.triples().tolist()}
    for fact in (
        ("json.decoder", "defines", "json.decoder.JSONDecodeError"),
        ("json.decoder.JSONDecodeError", "inherits from", "builtins.ValueError"),
        ("json.decoder.JSONDecoder.raw_decode", "raises", "json.decoder.JSONDecodeError"),
        ("json.decoder", "imports", "json.scanner"),
        ("json.decoder.JSONDecoder.decode", "calls", "json.decoder.JSONDecoder.raw_decode"),
    ):
        assert fact in triples
    assert graph.column("text", graph.rows(["json.decoder.JSONDecodeError"])) == [
        "Subclass of ValueError with the following additional properties:"
    ]
    assert min(Counter(graph.column("type")).values()) > 300
    with pytest.raises(ConfigError) as error:
        load_graph("python", texts="texts.tsv")
    assert error.value.field == "texts"


def test_answers_are_what_the_paths_reach(graph: KnowledgeGraph, splits: Mapping[str, Questions]) -> None:
    neighbours: dict[tuple[int, int], set[int]] = {}
    for head, relation, tail in graph.triples().tolist():
        neighbours.setdefault((head, relation), set()).add(tail)
        neighbours.setdefault((tail, relation + len(graph.relations)), set()).add(head)
    hops: Counter[int] = Counter()
    for questions in splits.values():
        for (topic,), path, answers in zip(questions.topics, questions.paths, questions.answers, strict=True):
            assert path is not None
            reached = {topic}
            for step in path:
                reached = set().union(*(neighbours.get((one, step), set()) for one in reached)) - {topic}
            assert set(answers) == reached
            assert 1 <= len(answers) <= 30
            hops[len(path)] += 1
    assert min(hops[1], hops[2], hops[3]) > 300


def test_what_splits_share(graph: KnowledgeGraph, splits: Mapping[str, Questions]) -> None:
    asked = {name: set(zip(questions.topics, questions.paths, strict=True)) for name, questions in splits.items()}
    assert not asked["train"] & asked["dev"]
    assert not (asked["train"] | asked["dev"]) & asked["test"]
    assert asked["test"] == asked["wordings"]
    names = graph.column("name")

    def wordings(questions: Questions) -> set[str]:
        pairs = zip(questions.texts, questions.topics, strict=True)
        return {text.replace(names[topic], "{}") for text, (topic,) in pairs}

    seen = {name: wordings(questions) for name, questions in splits.items()}
    assert not (seen["train"] | seen["dev"] | seen["test"]) & seen["wordings"]
    assert len(seen["train"]) > 140


def test_questions_are_the_same_for_a_seed(graph: KnowledgeGraph) -> None:
    first, again, other = (
        python_questions(graph, PythonQuestionsConfig(per_path=5, seed=seed))["train"] for seed in (1, 1, 2)
    )
    assert first == again != other
    with pytest.raises(ConfigError):
        PythonQuestionsConfig(per_path=0)


def test_wordings_differ_and_name_the_topic_once(graph: KnowledgeGraph) -> None:
    known = list(templates(graph))
    assert {len(template.path) for template in known} == {1, 2, 3}
    everything = [wording for template in known for wording in template.wordings]
    assert all(wording.count("{}") == 1 for wording in everything)
    assert len(set(everything)) == len(everything)
    assert min(len(template.wordings) for template in known) >= 6
    assert json.dumps(everything).isascii()
