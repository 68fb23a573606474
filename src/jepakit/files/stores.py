"""Objects of a store as files: listed, fetched, put and removed, each an error that names the address."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, cast

from jepakit.errors import ConfigError, DataError, MissingExtraError
from jepakit.files.addresses import PACKAGES, WEB, WRITABLE, reaching, scheme_of, shown
from jepakit.files.web import fetch_url

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

MARK = ".jepakit-unfinished"
"""The object that a folder has while others are put into it: where it is left, the folder is not whole."""
_WHOLE = ""
"""The name of an object that is addressed itself; those of a folder have names below it."""


class Store:
    """What an address names: one object, or all objects below it.

    Args:
        address: see `jepakit.files.addresses`.

    Raises:
        MissingExtraError: the package that reaches the store is not installed.
        DataError: it cannot be reached at all.
    """

    def __init__(self, address: str) -> None:
        self.address = address.rstrip("/") if scheme_of(address) not in WEB else address
        self._files, self._root = (None, "") if scheme_of(address) in WEB else _opened(self.address)

    def sizes(self) -> dict[str, int]:
        """Bytes of each object by its name below the address, ``""`` for the address itself; empty: nothing is there.

        Raises:
            DataError: the store cannot be asked.
        """
        if self._files is None:
            return {_WHOLE: 0}
        with reaching(self.address):
            self._files.invalidate_cache()
            try:
                about: dict[str, Any] = self._files.info(self._root)
                if about["type"] == "file":
                    return {_WHOLE: about["size"]}
                found = cast(dict[str, dict[str, Any]], self._files.find(self._root, detail=True))
            except FileNotFoundError:
                return {}
            below = {path[len(self._root) :].lstrip("/"): one["size"] for path, one in found.items()}
        # Some programs write an empty object with the name of the folder.
        return {self._checked(name): size for name, size in below.items() if name and not name.endswith("/")}

    def fetch(self, path: Path) -> dict[str, int]:
        """Copies all that is there to a new file or folder, and returns it as `sizes` does.

        Raises:
            DataError: there is nothing, it is a folder that is not whole, the disk is too small, or not all arrived.
        """
        sizes = self.sizes()
        path.parent.mkdir(parents=True, exist_ok=True)
        if MARK in sizes:
            expected = (
                "a folder that was put there whole; the command that was to write it can be repeated with --overwrite"
            )
            raise DataError("an upload to this folder was cut off", file=shown(self.address), expected=expected)
        free = shutil.disk_usage(path.parent).free
        if sum(sizes.values()) > free:
            problem = f"{sum(sizes.values())} bytes do not fit on the disk of {path.parent}, which has {free} left"
            raise DataError(problem, file=shown(self.address), expected="TMPDIR, a folder on a larger disk")
        with reaching(self.address):
            if not sizes:
                raise FileNotFoundError
            if self._files is None:
                with path.open("wb") as file:
                    fetch_url(self.address, file)
                return {_WHOLE: path.stat().st_size}
            places = {name: path / name if name else path for name in sizes}
            for place in places.values():
                place.parent.mkdir(parents=True, exist_ok=True)
            self._files.get([self._key(name) for name in sizes], [str(place) for place in places.values()])
            for name, place in places.items():
                if place.stat().st_size != sizes[name]:
                    raise OSError(f"{place.stat().st_size} of {sizes[name]} bytes of {name or 'it'} arrived")
        return sizes

    def put(self, files: Mapping[str, Path], *, remove: Iterable[str] = (), marked: bool = True) -> None:
        """Copies files to the names below the address, then removes others. Each object is there whole or not at all.

        Args:
            files: name -> file; the name ``""`` is the address itself.
            remove: names of objects.
            marked: a folder has the object `MARK` until all are there.

        Raises:
            DataError: not all could be written.
        """
        store, remove = self._writable(), list(remove)
        marked = marked and _WHOLE not in files
        with reaching(self.address, "written"):
            if marked:
                store.pipe_file(self._key(MARK), b"")
            store.put([str(file) for file in files.values()], [self._key(name) for name in files])
            store.invalidate_cache()
            for name, file in files.items():
                size = store.info(self._key(name))["size"]
                if size != file.stat().st_size:
                    raise OSError(f"{size} of {file.stat().st_size} bytes of {name or 'it'} were written")
            for name in [*remove, *([MARK] if marked else [])]:
                store.rm_file(self._key(name))

    def require_writable(self, option: str = "address") -> None:
        """Checks what can be known before there is something to write.

        Raises:
            ConfigError: nothing can be written to the web; names the option.
            DataError: the bucket is not there.
        """
        store = self._writable(option)
        bucket = self._root.lstrip("/").partition("/")[0]
        if scheme_of(self.address) != "memory" and bucket != self._root:
            with reaching(self.address, "written"):
                try:
                    store.info(bucket)
                except PermissionError:
                    return  # Who may write an object need not be allowed to look at the bucket.

    def _writable(self, option: str = "address") -> AbstractFileSystem:
        if self._files is None:
            raise ConfigError(option, shown(self.address), f"a path, or an address that can be written: {WRITABLE}")
        return self._files

    def _key(self, name: str) -> str:
        return f"{self._root}/{name}" if name else self._root

    def _checked(self, name: str) -> str:
        """Keys are any text; as paths some would lead out of the folder."""
        parts = name.split("/")
        if {"", ".", ".."} & {*parts} or "\0" in name or PurePosixPath(name).is_absolute():
            raise DataError("the name of an object is no path below the folder", file=shown(self.address), value=name)
        return name


def _opened(address: str) -> tuple[AbstractFileSystem, str]:
    try:
        # torch brings it; it is imported where an address is used.
        from fsspec.core import url_to_fs
    except ModuleNotFoundError as error:
        raise MissingExtraError("fsspec", "objects") from error
    package = PACKAGES[scheme_of(address) or ""]
    with reaching(address):
        try:
            files, root = url_to_fs(address)
        except ImportError as error:
            raise _missing(package or "fsspec") from error
    return files, str(root).rstrip("/")


def _missing(package: str) -> MissingExtraError:
    return MissingExtraError(package, "objects", install=None if package == "s3fs" else f"pip install {package}")
