"""Options that name files: which of them may be addresses of objects, and what becomes of these.

A name means the same in every command. What is in none of the sets stays as it is given: hosts, databases (``index``),
names of models.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast, get_args

from jepakit.errors import ConfigError
from jepakit.files.addresses import WEB, WRITABLE, is_address, scheme_of, shown
from jepakit.files.copies import Copies, Use, current
from jepakit.progress import phase

if TYPE_CHECKING:
    from jepakit.cli.reading import Given

READ = frozenset(
    [
        "answerer",
        "case",
        "corpus",
        "dataset",
        "encoder_path",
        "folder",
        "graph",
        "like",
        "model",
        "pairs",
        "policy",
        "predictor",
        "problem",
        "queries",
        "questions",
        "repeats",
        "runs",
        "scenarios",
        "start",
        "texts",
        "thresholds",
        "tools",
        "traces",
    ]
)
"""Files and folders that a command reads."""
UPDATED = frozenset(("problems", "run"))
"""Folders that a command reads and may change: labels beside problems, the index of a run."""
WRITTEN = frozenset(("out", "page", "per_query", "report"))
"""Files and folders of results."""
LOCAL = frozenset(("approvals", "data_dir", "pins", "token_file"))
"""What several programs use at a time, or is secret: of this machine."""

#: At an address on the web there is a SPARQL endpoint.
_NOT_ON_THE_WEB = ("graph",)


def writes_results(types: Mapping[str, Any]) -> bool:
    """Whether a command with these options writes files whose addresses may be given."""
    return any(name.rpartition(".")[2] in WRITTEN for name in types)


def with_copies(given: Sequence[Given], types: Mapping[str, Any], copies: Copies) -> list[Given]:
    """The options with the paths of copies, which are not made yet, in the place of addresses.

    Raises:
        ConfigError: an option that is a path cannot be an address, or not one of this scheme.
    """
    trains = "resume" in types
    return [_with_copies(one, types.get(one.option), copies, trains=trains) for one in given]


def saved_with_copies(values: Mapping[str, Any]) -> dict[str, Any]:
    """The options that a run has saved with the paths of copies in the place of addresses.

    They are made by `jepakit.files.copies.fetched`, where the data are needed.
    """
    copies = current()
    if copies is None:
        return dict(values)
    return {
        name: str(copies.place(value, "read")) if name in READ and _is_object(name, value) else value
        for name, value in values.items()
    }


def make_copies(copies: Copies, *, resume: bool) -> None:
    """Fetches what is read, and makes sure that what is written can be.

    Args:
        copies: of the command.
        resume: go on with the run that is there.

    Raises:
        ConfigError, DataError, MissingExtraError: see `jepakit.files.copies.Copy`.
    """
    for copy in copies:
        with phase(f"fetching {shown(copy.address)}"):
            if copy.use in ("read", "update"):
                copy.fetch()
            else:
                copy.begin(overwrite=copies.overwrite, resume=resume and copy.use == "run")


def _with_copies(given: Given, kind: Any, copies: Copies, *, trains: bool) -> Given:
    def placed(value: Any) -> Any:
        scheme = scheme_of(value) if isinstance(value, str) else None
        if scheme is None:
            return value
        use = _use_of(given.option, trains=trains)
        if use is not None and _is_object(given.option, value):
            return str(copies.place(value, use, given.option))
        if Path not in _parts(kind):
            return value
        others = "" if use is None else f", or an address that begins with {WRITABLE}, http:// or https://"
        expected = f"a path of this machine{others}"
        raise ConfigError(given.written, shown(value), expected, file=given.file)

    if isinstance(given.value, list):
        return replace(given, value=[placed(one) for one in cast(list[Any], given.value)])
    return replace(given, value=placed(given.value))


def _use_of(option: str, *, trains: bool) -> Use | None:
    """What a copy is for; None: the option takes none."""
    name = option.rpartition(".")[2]
    if name == "run" and trains:
        return "run"
    uses: list[tuple[frozenset[str], Use]] = [(READ, "read"), (UPDATED, "update"), (WRITTEN, "write")]
    return next((use for names, use in uses if name in names), None)


def _is_object(option: str, value: Any) -> bool:
    """Whether a value is an address of objects, and not that of a SPARQL endpoint."""
    is_endpoint = option in _NOT_ON_THE_WEB and isinstance(value, str) and scheme_of(value) in WEB
    return isinstance(value, str) and is_address(value) and not is_endpoint


def _parts(kind: Any) -> Iterator[Any]:
    """The type and those it is made of."""
    yield kind
    for part in get_args(kind):
        yield from _parts(part)
