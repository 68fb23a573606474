"""The standard library as a graph: what the source says is in it, what it does not say is not."""

from pathlib import Path

import pytest

from jepakit.datasets.python_library import RELATIONS, extract
from jepakit.errors import DataError

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
    ids, names = header["ids"], list(RELATIONS)
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
