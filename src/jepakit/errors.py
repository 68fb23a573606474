"""The errors jepakit raises for what a user can mend: bad data, a bad option, a bad model folder.

Every message says where (file, line, field), what stood there, what was expected and, where there is one, the way out.
"""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from difflib import get_close_matches
from itertools import islice
from pathlib import Path

#: More names would take longer to compare than the hint is worth.
_MAX_COMPARED = 50_000


class JepakitError(Exception):
    """Base of every error that jepakit raises on purpose."""

    def __reduce__(self) -> tuple[Callable[..., JepakitError], tuple[object, ...]]:
        # An exception is unpickled from its message alone, which is not what those below are made from.
        return _again, (type(self), self.args, self.__dict__)


def _again(kind: type[JepakitError], arguments: tuple[object, ...], values: dict[str, object]) -> JepakitError:
    error = kind.__new__(kind)
    error.args = arguments
    error.__dict__.update(values)
    return error


class DataError(JepakitError):
    """Something is wrong with the data a user brought.

    Args:
        problem: what is wrong, as a sentence without its full stop.
        file: the file it was found in.
        line: its line there, counted from 1.
        field: the column, key or tensor it was found in.
        value: what stood there.
        expected: what should have stood there, or what to do.
    """

    def __init__(
        self,
        problem: str,
        *,
        file: str | Path | None = None,
        line: int | None = None,
        field: str | None = None,
        value: object = None,
        expected: str | None = None,
    ) -> None:
        self.problem, self.file, self.line, self.field = problem, file, line, field
        self.value, self.expected = value, expected
        place = "" if file is None else f"{file}:{line}: " if line is not None else f"{file}: "
        where = "" if not field else f"{_in_one_line(field, 300)}: "
        found = "" if value is None else f" (found {shorten(value)})"
        wanted = "" if not expected else f"; expected {_in_one_line(expected, 1000)}"
        super().__init__(f"{place}{where}{_in_one_line(problem, 600)}{found}{wanted}")


class ConfigError(JepakitError):
    """An option has a value it cannot have.

    Args:
        field: the option's name as it stands in YAML and on the command line.
        value: what was given.
        expected: what it may be.
        file: the file of options that it stands in.
    """

    def __init__(self, field: str, value: object, expected: str, *, file: str | Path | None = None) -> None:
        self.field, self.value, self.expected, self.file = field, value, expected, file
        place = "" if file is None else f"{file}: "
        super().__init__(f"{place}{field} = {shorten(value)}: expected {expected}")


class ModelError(JepakitError):
    """A saved encoder, checkpoint or run folder cannot be used."""


#: Module -> the package that holds it, where their names differ.
_PACKAGE_OF_MODULE = {"sklearn": "scikit-learn", "yaml": "pyyaml", "huggingface_hub": "huggingface-hub"}


class MissingExtraError(JepakitError):
    """An optional dependency is not installed.

    Args:
        package: the package, or the module that could not be imported.
        extra: the extra of jepakit that brings it, or what it is for.
        install: the command that installs it, where the extra does not bring it.
    """

    def __init__(self, package: str, extra: str, *, install: str | None = None) -> None:
        self.package, self.extra = _PACKAGE_OF_MODULE.get(package, package), extra
        command = install or f"pip install 'jepakit[{extra}]'"
        super().__init__(f"{self.package} is not installed; install it with: {command}")


@contextmanager
def requires_extra(extra: str) -> Generator[None]:
    """Around imports alone: one that fails for a missing package is a `MissingExtraError` of ``extra``.

    So is one that names another extra, which ``extra`` brings.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("jepakit"):
            raise
        raise MissingExtraError((error.name or str(error)).partition(".")[0], extra) from error
    except MissingExtraError as error:
        raise MissingExtraError(error.package, extra) from error


def require_choice(field: str, value: str, choices: Iterable[str]) -> str:
    """Returns ``value`` if it is one of ``choices``.

    Raises:
        ConfigError: it is not; the message lists the choices and the nearest one.
    """
    known = sorted(choices)
    if value in known:
        return value
    raise ConfigError(field, value, f"one of {', '.join(known)}{did_you_mean(value, known)}")


def did_you_mean(value: object, choices: Iterable[str]) -> str:
    """`` (did you mean 'x'?)`` for the choice nearest to ``value``, in either case; empty where none is near."""
    known = {choice.lower(): choice for choice in islice(choices, _MAX_COMPARED)}
    nearest = get_close_matches(str(value).lower(), known, n=1)
    return f" (did you mean {known[nearest[0]]!r}?)" if nearest else ""


def require_at_least(config: object, **least: int) -> None:
    """Checks that fields of ``config`` are not too small; None passes, for options that may be left out.

    Raises:
        ConfigError: names the first field that is smaller than it may be, or NaN.
    """
    for field, smallest in least.items():
        value = getattr(config, field)
        if value is not None and not value >= smallest:
            raise ConfigError(field, value, f"at least {smallest}")


def require_within(config: object, interval: str, *fields: str) -> None:
    """Checks that fields of ``config`` lie in an interval such as ``[0, 1)``; None passes.

    Raises:
        ConfigError: names the first field that does not.
    """
    low, high = map(float, interval[1:-1].split(","))
    for field in fields:
        value = getattr(config, field)
        at_end = (value == low and interval[0] == "[") or (value == high and interval[-1] == "]")
        if value is not None and not (low < value < high or at_end):
            raise ConfigError(field, value, f"a number in {interval}")


def in_one_line(error: BaseException) -> str:
    """The text of another library's error in one line of at most 300 characters, for a message."""
    return _in_one_line(str(error), 300) or type(error).__name__


def _in_one_line(text: str, limit: int) -> str:
    line = " ".join(text[: 4 * limit].split())
    return line if len(line) <= limit else f"{line[: limit - 1]}…"


def shorten(value: object, limit: int = 80) -> str:
    """The value as it is shown in a message: its `reprlib.repr`, cut at ``limit`` characters, but a path whole."""
    if isinstance(value, Path):
        return repr(str(value))
    brief = reprlib.Repr()
    brief.maxstring = brief.maxother = brief.maxlong = 1000  # cut in the middle; below at the end
    brief.maxlist = brief.maxtuple = brief.maxdict = brief.maxset = brief.maxfrozenset = 20
    text = brief.repr(value)
    return text if len(text) <= limit else text[: limit - 1] + "…"
