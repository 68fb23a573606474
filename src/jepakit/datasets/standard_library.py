"""The source files of Python's standard library, from which the built-in datasets are made. None is imported."""

import ast
import gc
import sysconfig
import warnings
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

_NOT_LIBRARY = {"site-packages", "dist-packages", "test", "tests", "idle_test"}


def library_folder() -> Path:
    """The folder of the running interpreter's standard library."""
    return Path(sysconfig.get_paths()["stdlib"])


def source_files(root: Path) -> list[tuple[str, Path]]:
    """Every source file below ``root`` except for tests and installed packages.

    Returns:
        The path below ``root`` without ``.py``, with "/" between its parts, and the file; sorted by path with ``.py``.
    """
    tops = [entry for entry in root.iterdir() if entry.name not in _NOT_LIBRARY]
    files = [file for top in tops for file in (top.rglob("*.py") if top.is_dir() else [top]) if file.suffix == ".py"]
    named = sorted((file.relative_to(root).as_posix(), file) for file in files)
    return [(name[:-3], file) for name, file in named if not _NOT_LIBRARY & set(name[:-3].split("/"))]


def parse_source(file: Path) -> ast.Module | None:
    """The syntax tree of a source file; None where it cannot be parsed."""
    try:
        # The library has invalid escapes that newer parsers warn about; the user cannot mend them.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(file.read_bytes())
    except (SyntaxError, ValueError):
        return None


@contextmanager
def no_garbage_collection() -> Generator[None]:
    """Parsing takes a third of the time without the search for cycles: syntax trees have none."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
