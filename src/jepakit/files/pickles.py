"""Values in a pickle, read without unpickling.

This module interprets the opcodes that plain values, records of numpy and tensors of torch need, over
`pickletools.genops`. The class names that a kind of file needs are replaced by records of their arguments; every other
name or opcode is refused. `pickle.Unpickler` and the classes of NumPy and SciPy are not used, because a forged file can
make each of them access memory out of bounds.
"""

import pickletools
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class PickledClass:
    """Replaces a class that a file names."""

    kind: str


@dataclass(eq=False)
class PickledObject:
    """A record of an object in a file: its class, constructor arguments and state."""

    kind: str
    arguments: tuple[Any, ...] = ()
    state: Any = None


DAMAGE = (ValueError, TypeError, AttributeError, LookupError, ArithmeticError, MemoryError, struct.error)
"""The errors that damaged bytes cause, in `pickletools` and here."""


@dataclass
class _Machine:
    """The pickle machine: a stack of values, the marks on it, and the memo."""

    kinds: Mapping[str, str]
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
        if name not in self.kinds:
            raise ValueError(f"it names {name.replace(' ', '.')}, which such a file does not need")
        self.stack.append(PickledClass(self.kinds[name]))

    def call(self, named: Any, arguments: tuple[Any, ...]) -> None:
        if not isinstance(named, PickledClass):
            raise TypeError(f"it calls a {type(named).__name__}")
        # Files call `defaultdict(list)` and `OrderedDict()` only, for an empty dict.
        self.stack.append({} if named.kind in ("defaultdict", "OrderedDict") else PickledObject(named.kind, arguments))

    def build(self, state: Any) -> None:
        if not isinstance(self.stack[-1], PickledObject):
            raise TypeError(f"it changes a {type(self.stack[-1]).__name__}")
        self.stack[-1].state = state


_VALUES = (
    *("INT", "LONG", "LONG1", "BININT", "BININT1", "BININT2", "BINFLOAT", "STRING", "BINSTRING", "SHORT_BINSTRING"),
    *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
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
    "BINPERSID": lambda m, _: m.stack.append(PickledObject("persistent", *m.last(1))),
}
"""The effect of each opcode on the machine; `pickletools` documents them. Strings of Python 2 are read as Latin-1."""


def read_pickled(content: bytes, kinds: Mapping[str, str]) -> Any:
    """The value in a pickle.

    Args:
        content: the pickle.
        kinds: ``module name`` of a class or function that the file may name -> `PickledObject.kind`.

    Raises:
        ValueError, or another of `DAMAGE`: the pickle is damaged, or names something else.
    """
    machine = _Machine(kinds)
    for opcode, argument, _ in pickletools.genops(content):
        if opcode.name == "STOP":
            return machine.stack.pop()
        if opcode.name not in _STEPS:
            raise ValueError(f"opcode {opcode.name}, which such a file does not need")
        _STEPS[opcode.name](machine, argument)
    raise ValueError("it has no end")
