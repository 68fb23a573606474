"""Local copies of objects: what a program reads and writes as files, while it lies in a store.

Readers and writers know paths only. An address becomes the path of a copy here, and nowhere else::

    with copied() as copies:
        table = copies.read("s3://bucket/molecules.parquet")
        out = copies.write("s3://bucket/embeddings.parquet")
        ...

What is written goes to the store where the block ends without an error. See `jepakit.files.addresses` for addresses.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeVar

from jepakit.errors import ConfigError, JepakitError, ModelError
from jepakit.files.addresses import name_of, shown
from jepakit.files.locking import LOCK_NAME
from jepakit.files.stores import Store

Use = Literal["read", "update", "run", "write"]
"""What a copy is for: to be read; to be read, and what changes goes back; a run, new or to go on with; a result."""

_State = dict[str, tuple[int, int, int]]
PathT = TypeVar("PathT", str, Path)


@dataclass(eq=False)
class Copy:
    """An object or a folder of objects, and the place of its copy.

    Args:
        address: of the object.
        path: where its copy is, or will be.
        use: what it is for.
        option: what names it, for a message.
        ready: whether it was fetched, or nothing has to be.
    """

    address: str
    path: Path
    use: Use
    option: str = "address"
    ready: bool = False
    _before: _State = field(default_factory=_State)
    _is_file: bool = False
    _replaced: list[str] = field(default_factory=list[str])

    def fetch(self) -> None:
        """Copies the object, once.

        Raises:
            DataError, MissingExtraError: see `jepakit.files.stores.Store`.
        """
        if not self.ready:
            self._is_file = "" in Store(self.address).fetch(self.path)
            self._before, self.ready = self._state(), True

    def begin(self, *, overwrite: bool, resume: bool = False) -> None:
        """Makes sure that it can be written.

        Raises:
            ConfigError: something is there already, or nothing can be written there.
            DataError: see `jepakit.files.stores.Store`.
        """
        store = Store(self.address)
        store.require_writable(self.option)
        there = store.sizes()
        if there and resume:
            self.fetch()
        elif there and not overwrite:
            goes_on = ", --resume to continue its run" if self.use == "run" else ""
            expected = f"an address where nothing is{goes_on}, or --overwrite to replace what is there"
            raise ConfigError(self.option, shown(self.address), expected)
        elif self.use == "run" and "config.yaml" in there:
            # Of a folder that is no run, nothing is removed but what is written over.
            self._replaced = list(there)
        self.ready = True

    def store(self) -> None:
        """Copies back what is new or has changed since.

        Raises:
            ModelError: not all could be written; names the place where the files are kept.
        """
        if self.use == "read" or not self.ready:
            return
        after = self._state()
        changed = [name for name, state in after.items() if self._before.get(name) != state]
        gone = [name for name in [*self._before, *self._replaced] if name not in after] if after else []
        if not changed and not gone:
            return
        files = {name: self._root / name for name in changed}
        whole = self._is_file or self.path.is_file()
        try:
            if whole and self.use == "write":
                Store(self.address).put({"": self.path})
            else:
                below = self.address.rstrip("/").rpartition("/")[0] if whole else self.address
                Store(below).put(files, remove=gone, marked=not whole)
        except JepakitError as error:
            raise ModelError(f"{error}; what was to be written is kept in {self._root}") from error
        self._before, self._replaced = after, []

    @property
    def _root(self) -> Path:
        """The folder whose files are those of the store: beside a single file others may be made."""
        return self.path.parent if self._is_file or self.path.is_file() else self.path

    def _state(self) -> _State:
        """What tells the version of each file."""
        state = _State()
        for file in sorted(self._root.rglob("*")):
            if file.is_file() and file.name != LOCK_NAME:
                facts = file.stat()
                state[file.relative_to(self._root).as_posix()] = (facts.st_size, facts.st_mtime_ns, facts.st_ino)
        return state


class Copies:
    """The copies of a program, in a folder of its own; see `copied`.

    Args:
        overwrite: what is written replaces what is there.
    """

    def __init__(self, *, overwrite: bool = False) -> None:
        self.overwrite = overwrite
        self._copies: list[Copy] = []
        self._folder: Path | None = None

    def __iter__(self) -> Iterator[Copy]:
        return iter(self._copies)

    def place(self, address: str, use: Use, option: str = "address") -> Path:
        """The path of a copy that is not made yet."""
        for copy in self._copies:
            if (copy.address, copy.use) == (address, use):
                return copy.path
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="jepakit-")).resolve()
        path = self._folder / str(len(self._copies)) / name_of(address)
        path.parent.mkdir()
        self._copies.append(Copy(address, path, use, option))
        return path

    def read(self, address: str) -> Path:
        """The path of a copy of an object, or of a folder of objects.

        Raises:
            DataError: there is none, or it cannot be read.
            MissingExtraError: the package that reaches the store is not installed.
        """
        path = self.place(address, "read")
        self.of(path).fetch()
        return path

    def write(self, address: str) -> Path:
        """The path of a file or folder that is put there at the end.

        Raises:
            ConfigError: something is there already and is not to be replaced, or nothing can be written there.
            DataError, MissingExtraError: as of `read`.
        """
        path = self.place(address, "write")
        self.of(path).begin(overwrite=self.overwrite)
        return path

    def of(self, path: str | Path) -> Copy:
        """The copy at a path.

        Raises:
            KeyError: there is none.
        """
        for copy in self._copies:
            if str(copy.path) == str(path):
                return copy
        raise KeyError(str(path))

    def store(self) -> None:
        """Puts all that was written into the stores; raises as `Copy.store`."""
        for copy in self._copies:
            copy.store()

    def keep_runs(self) -> None:
        """Puts runs that were interrupted into the stores, so that they can be resumed."""
        for copy in self._copies:
            if copy.use == "run":
                copy.store()

    def remove(self) -> None:
        """Removes the copies."""
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def named(self, text: str) -> str:
        """The text with addresses, as `shown`, in the place of the paths of copies."""
        for copy in self._copies:
            text = text.replace(str(copy.path), shown(copy.address))
        return text


_COPIES: ContextVar[Copies | None] = ContextVar("jepakit_copies", default=None)


@contextmanager
def copied(*, overwrite: bool = False) -> Generator[Copies]:
    """Copies of objects until the block ends; without an error, what was written is then put into the stores.

    After an error only runs are, which can be resumed. What could not be put there stays on the disk.

    Args:
        overwrite: what is written replaces what is there.

    Raises:
        ModelError: see `Copy.store`.
    """
    copies = Copies(overwrite=overwrite)
    token = _COPIES.set(copies)
    keep = False
    try:
        try:
            yield copies
        except BaseException:
            keep = True
            copies.keep_runs()
            keep = False
            raise
        keep = True
        copies.store()
        keep = False
    finally:
        _COPIES.reset(token)
        if not keep:
            copies.remove()


def current() -> Copies | None:
    """The copies of the block that this is called in."""
    return _COPIES.get()


def named(text: str) -> str:
    """A text for people or for a file that stays, with the addresses of the copies that stand in it as paths."""
    copies = _COPIES.get()
    return text if copies is None else copies.named(text)


def fetched(path: PathT) -> PathT:
    """The path; where it is that of a copy which is not made yet, it is made."""
    copies = _COPIES.get()
    for copy in copies or ():
        if str(copy.path) == str(path):
            copy.fetch()
    return path
