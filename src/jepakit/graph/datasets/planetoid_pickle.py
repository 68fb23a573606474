"""The pickles of the Planetoid files, read without unpickling anything.

They are the one format here where pickles cannot be avoided. So the little of the pickle language that arrays of
numbers need is interpreted here, over `pickletools.genops`: a name in a file never becomes what it stands for, but one
of a few stand-ins that only remember what is said of them, and every other name or opcode is refused. Neither
`pickle.Unpickler` nor NumPy's and SciPy's own classes take part, because a forged file can make each of them read or
write memory that is not theirs.
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

__all__ = ["read_adjacency_lists", "read_matrix"]

_MOST_CELLS = 10**8
_NUMBERS = re.compile("[biuf][1248]")


@dataclass(eq=False)
class _Object:
    """What a file says of an object: its kind, the arguments it is made with and the state it is given."""

    kind: str
    arguments: tuple[Any, ...] = ()
    state: Any = None


@dataclass(frozen=True)
class _Maker:
    """What a file calls to make an object, in place of what the name stands for."""

    kind: str

    def __call__(self, *arguments: Any) -> Any:
        # The one thing ever made of a dict or a list by name is an empty one: `defaultdict(list)`.
        return {} if self.kind == "defaultdict" else _Object(self.kind, arguments)


# Names with an underscore, and `builtins`, stand in files that a newer Python has written again.
_MAKERS = {
    "numpy ndarray": _Maker("ndarray"),
    "numpy dtype": _Maker("dtype"),
    "numpy.core.multiarray _reconstruct": _Maker("ndarray"),
    "numpy._core.multiarray _reconstruct": _Maker("ndarray"),
    "scipy.sparse.csr csr_matrix": _Maker("csr_matrix"),
    "scipy.sparse._csr csr_matrix": _Maker("csr_matrix"),
    "collections defaultdict": _Maker("defaultdict"),
    "__builtin__ list": _Maker("list"),
    "builtins list": _Maker("list"),
}
# What damaged bytes lead to, in `pickletools` and below.
_BROKEN = (ValueError, TypeError, AttributeError, LookupError, ArithmeticError, MemoryError, struct.error)


@dataclass
class _Machine:
    """The pickle machine: a stack of values, marks on it, and the values to come back to."""

    stack: list[Any] = field(default_factory=list)
    marks: list[int] = field(default_factory=list)
    memo: dict[int, Any] = field(default_factory=dict)

    def since_mark(self) -> tuple[Any, ...]:
        start = self.marks.pop()
        items = tuple(self.stack[start:])
        del self.stack[start:]
        return items

    def last(self, count: int) -> tuple[Any, ...]:
        if len(self.stack) < count:
            raise IndexError("too few values")
        items = tuple(self.stack[len(self.stack) - count :])
        del self.stack[len(self.stack) - count :]
        return items

    def extend(self, items: tuple[Any, ...]) -> None:
        self.stack[-1].extend(items)

    def update(self, items: tuple[Any, ...]) -> None:
        self.stack[-1].update(zip(items[::2], items[1::2], strict=True))

    def name(self, name: str) -> None:
        if name not in _MAKERS:
            raise ValueError(f"it names {name.replace(' ', '.')}, which has no place in such a file")
        self.stack.append(_MAKERS[name])

    def call(self, maker: Any, arguments: Any) -> None:
        if not isinstance(maker, _Maker):
            raise TypeError(f"it calls a {type(maker).__name__}")
        self.stack.append(maker(*arguments))

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
"""What each opcode does; see `pickletools` for what each means. Texts of Python 2, which are bytes, become Latin-1."""


def read_matrix(path: Path) -> np.ndarray:
    """A pickled matrix, sparse or dense, as a dense one, ``[rows, columns]`` float32.

    Raises:
        DataError: the file is missing, damaged, or not a matrix of finite numbers.
    """
    found = _read(path)
    try:
        is_sparse = isinstance(found, _Object) and found.kind == "csr_matrix"
        matrix = _dense(**found.state) if is_sparse else _array(found)
    except _BROKEN as error:
        raise DataError(f"not a matrix of numbers: {error}", file=path) from None
    if matrix.ndim != 2 or not np.isfinite(matrix).all():
        raise DataError("not a matrix of finite numbers", file=path)
    return matrix.astype(np.float32)


def read_adjacency_lists(path: Path) -> dict[Any, list[Any]]:
    """A pickled dict from each node to its neighbours, whose ids are not checked.

    Raises:
        DataError: the file is missing, damaged, or holds something else.
    """
    found = _read(path)
    if not isinstance(found, dict) or not all(isinstance(ends, list) for ends in found.values()):
        raise DataError(
            "not adjacency lists", file=path, value=type(found).__name__, expected="a dict of node to nodes"
        )
    return found


def _read(path: Path) -> Any:
    if not path.is_file():
        raise DataError("the file is missing", file=path)
    machine = _Machine()
    try:
        for opcode, argument, _ in pickletools.genops(path.read_bytes()):
            if opcode.name == "STOP":
                return machine.stack.pop()
            if opcode.name not in _STEPS:
                raise ValueError(f"opcode {opcode.name}, which has no place in such a file")
            _STEPS[opcode.name](machine, argument)
    except _BROKEN as error:
        raise DataError(f"not a Planetoid file: {error}", file=path) from None
    raise DataError("not a Planetoid file: it has no end", file=path)


def _array(found: Any) -> np.ndarray:
    if not isinstance(found, _Object) or found.kind != "ndarray":
        raise TypeError(f"a {found.kind if isinstance(found, _Object) else type(found).__name__}")
    _, shape, data_type, is_fortran, content = found.state
    name, byte_order = data_type.arguments[0], data_type.state[1]
    if not _NUMBERS.fullmatch(name):
        raise TypeError(f"values of type {name!r}")
    content = content.encode("latin1") if isinstance(content, str) else content
    values = np.frombuffer(content, dtype=np.dtype(name).newbyteorder(byte_order))
    return values.reshape(shape, order="F" if is_fortran else "C")


def _dense(_shape: tuple[int, int], data: Any, indices: Any, indptr: Any, **_: Any) -> np.ndarray:
    """A matrix in compressed rows; NumPy checks each index, which SciPy's own loops would follow out of bounds."""
    columns, pointers = _array(indices).astype(np.int64), _array(indptr).astype(np.int64)
    lengths = np.diff(pointers)
    if _shape[0] != len(lengths) or _shape[0] * _shape[1] > _MOST_CELLS:
        raise ValueError(f"shape {_shape}")
    if (lengths < 0).any() or lengths.sum() != len(columns) or (columns < 0).any():
        raise IndexError("its rows do not fit its columns")
    matrix = np.zeros(_shape, dtype=np.float32)
    matrix[np.repeat(np.arange(len(lengths)), lengths), columns] = _array(data)
    return matrix
