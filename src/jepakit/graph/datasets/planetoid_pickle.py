"""Reads the pickles of the Planetoid files without unpickling.

This module interprets the opcodes that arrays of numbers need, over `pickletools.genops`. The class names that these
files need are replaced by records of their arguments; every other name or opcode is refused. `pickle.Unpickler` and the
classes of NumPy and SciPy are not used, because a forged file can make each of them access memory out of bounds.
"""

import pickletools
import re
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from jepakit.errors import DataError
from jepakit.files import read_bytes

_MAX_CELLS = 10**8
"""Entries of a dense matrix; PubMed, the largest of the three networks, has 1e7."""
_NUMBERS = re.compile("[biuf][1248]")


@dataclass(frozen=True)
class _Class:
    """Replaces a class that a file names."""

    kind: str


@dataclass(eq=False)
class _Object:
    """A record of an object in a file: its class, constructor arguments and state."""

    kind: str
    arguments: tuple[Any, ...] = ()
    state: Any = None


# Names with an underscore, and `builtins`, occur in files that a newer Python has rewritten.
_KINDS = {
    "numpy ndarray": "ndarray",
    "numpy dtype": "dtype",
    "numpy.core.multiarray _reconstruct": "ndarray",
    "numpy._core.multiarray _reconstruct": "ndarray",
    "scipy.sparse.csr csr_matrix": "csr_matrix",
    "scipy.sparse._csr csr_matrix": "csr_matrix",
    "collections defaultdict": "defaultdict",
    "__builtin__ list": "list",
    "builtins list": "list",
}
# The errors that damaged bytes cause, in `pickletools` and below.
_DAMAGE = (ValueError, TypeError, AttributeError, LookupError, ArithmeticError, MemoryError, struct.error)


@dataclass
class _Machine:
    """The pickle machine: a stack of values, the marks on it, and the memo."""

    stack: list[Any] = field(default_factory=list)
    marks: list[int] = field(default_factory=list)
    memo: dict[int, Any] = field(default_factory=dict)

    def since(self, start: int) -> tuple[Any, ...]:
        if start < 0:
            raise IndexError("too few values")
        items = tuple(self.stack[start:])
        del self.stack[start:]
        return items

    def since_mark(self) -> tuple[Any, ...]:
        return self.since(self.marks.pop())

    def last(self, count: int) -> tuple[Any, ...]:
        return self.since(len(self.stack) - count)

    def extend(self, items: tuple[Any, ...]) -> None:
        self.stack[-1].extend(items)

    def update(self, items: tuple[Any, ...]) -> None:
        self.stack[-1].update(zip(items[::2], items[1::2], strict=True))

    def name(self, name: str) -> None:
        if name not in _KINDS:
            raise ValueError(f"it names {name.replace(' ', '.')}, which such a file does not need")
        self.stack.append(_Class(_KINDS[name]))

    def call(self, named: Any, arguments: tuple[Any, ...]) -> None:
        if not isinstance(named, _Class):
            raise TypeError(f"it calls a {type(named).__name__}")
        # The files call `defaultdict(list)` only, for an empty dict.
        self.stack.append({} if named.kind == "defaultdict" else _Object(named.kind, arguments))

    def build(self, state: Any) -> None:
        if not isinstance(self.stack[-1], _Object):
            raise TypeError(f"it changes a {type(self.stack[-1]).__name__}")
        self.stack[-1].state = state


_VALUES = (
    *("INT", "LONG", "LONG1", "BININT", "BININT1", "BININT2", "BINFLOAT", "STRING", "BINSTRING", "SHORT_BINSTRING"),
    *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE"),
)
_STEPS: dict[str, Callable[[_Machine, Any], None]] = {
    **dict.fromkeys(("PROTO", "FRAME"), lambda *_: None),
    **dict.fromkeys(_VALUES, lambda m, value: m.stack.append(value)),
    "NONE": lambda m, _: m.stack.append(None),
    "NEWTRUE": lambda m, _: m.stack.append(True),
    "NEWFALSE": lambda m, _: m.stack.append(False),
    "EMPTY_LIST": lambda m, _: m.stack.append([]),
    "EMPTY_DICT": lambda m, _: m.stack.append({}),
    "EMPTY_TUPLE": lambda m, _: m.stack.append(()),
    "MARK": lambda m, _: m.marks.append(len(m.stack)),
    "TUPLE": lambda m, _: m.stack.append(m.since_mark()),
    "TUPLE1": lambda m, _: m.stack.append(m.last(1)),
    "TUPLE2": lambda m, _: m.stack.append(m.last(2)),
    "TUPLE3": lambda m, _: m.stack.append(m.last(3)),
    "APPEND": lambda m, _: m.extend(m.last(1)),
    "APPENDS": lambda m, _: m.extend(m.since_mark()),
    "SETITEM": lambda m, _: m.update(m.last(2)),
    "SETITEMS": lambda m, _: m.update(m.since_mark()),
    **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT"), lambda m, place: m.memo.update({place: m.stack[-1]})),
    "MEMOIZE": lambda m, _: m.memo.update({len(m.memo): m.stack[-1]}),
    **dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), lambda m, place: m.stack.append(m.memo[place])),
    "GLOBAL": lambda m, name: m.name(name),
    "STACK_GLOBAL": lambda m, _: m.name(" ".join(m.last(2))),
    **dict.fromkeys(("REDUCE", "NEWOBJ"), lambda m, _: m.call(*m.last(2))),
    "BUILD": lambda m, _: m.build(*m.last(1)),
}
"""The effect of each opcode on the machine; `pickletools` documents them. Strings of Python 2 are read as Latin-1."""


def read_matrix(path: Path) -> np.ndarray:
    """A pickled matrix, sparse or dense, as ``[rows, columns]`` float32.

    Raises:
        DataError: the file is missing, damaged, or not a matrix of finite numbers.
    """
    content = _read(path)
    try:
        is_sparse = isinstance(content, _Object) and content.kind == "csr_matrix"
        matrix = _dense(**content.state) if is_sparse else _array(content)
    except _DAMAGE as error:
        raise DataError(f"not a matrix of numbers: {error}", file=path) from None
    if matrix.ndim != 2 or not np.isfinite(matrix).all():
        raise DataError("not a matrix of finite numbers", file=path)
    return matrix.astype(np.float32)


def read_adjacency_lists(path: Path) -> dict[Any, list[Any]]:
    """A pickled dict from each node to its neighbours; node ids are not checked.

    Raises:
        DataError: the file is missing, damaged, or not such a dict.
    """
    content = _read(path)
    if not isinstance(content, dict) or not all(isinstance(ends, list) for ends in content.values()):
        kind, expected = type(content).__name__, "a dict of node -> neighbours"
        raise DataError("not adjacency lists", file=path, value=kind, expected=expected)
    return content


def _read(path: Path) -> Any:
    machine = _Machine()
    content = read_bytes(path)
    try:
        for opcode, argument, _ in pickletools.genops(content):
            if opcode.name == "STOP":
                return machine.stack.pop()
            if opcode.name not in _STEPS:
                raise ValueError(f"opcode {opcode.name}, which such a file does not need")
            _STEPS[opcode.name](machine, argument)
    except _DAMAGE as error:
        raise DataError(f"not a Planetoid file: {error}", file=path) from None
    raise DataError("not a Planetoid file: it has no end", file=path)


def _array(value: Any) -> np.ndarray:
    if not isinstance(value, _Object) or value.kind != "ndarray":
        raise TypeError(f"a {value.kind if isinstance(value, _Object) else type(value).__name__}")
    _, shape, data_type, is_fortran, content = value.state
    name, byte_order = data_type.arguments[0], data_type.state[1]
    if not _NUMBERS.fullmatch(name):
        raise TypeError(f"values of type {name!r}")
    content = content.encode("latin1") if isinstance(content, str) else content
    values = np.frombuffer(content, dtype=np.dtype(name).newbyteorder(byte_order))
    return values.reshape(shape, order="F" if is_fortran else "C")


def _dense(_shape: tuple[int, int], data: Any, indices: Any, indptr: Any, **_: Any) -> np.ndarray:
    """A matrix in compressed rows. NumPy checks each index, unlike SciPy's loops."""
    columns, pointers = _array(indices).astype(np.int64), _array(indptr).astype(np.int64)
    lengths = np.diff(pointers)
    if _shape[0] != len(lengths) or _shape[0] * _shape[1] > _MAX_CELLS:
        raise ValueError(f"shape {_shape}")
    if (lengths < 0).any() or lengths.sum() != len(columns) or (columns < 0).any():
        raise IndexError("row lengths and column indices do not match")
    matrix = np.zeros(_shape, dtype=np.float32)
    matrix[np.repeat(np.arange(len(lengths)), lengths), columns] = _array(data)
    return matrix
