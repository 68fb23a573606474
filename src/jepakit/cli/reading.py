"""Options from words and YAML: other names, presets, lists, errors in the user's words.

A dataclass that refuses a value raises ConfigError with the name of its own field. This module adds the dotted prefix
of nested dataclasses, the name as the user wrote it, and the YAML file it stands in.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, is_dataclass, replace
from functools import lru_cache
from pathlib import Path
from types import NoneType
from typing import TYPE_CHECKING, Any, cast, get_args, get_type_hints

from rich.console import Console

from jepakit.cli.kinds import A_FILE, choices, in_words, is_element
from jepakit.cli.outcome import Outcome
from jepakit.cli.places import writes_results
from jepakit.errors import ConfigError, DataError, did_you_mean, require_choice
from jepakit.files import read_yaml
from jepakit.files.addresses import is_address
from jepakit.files.copies import current

if TYPE_CHECKING:
    from jsonargparse import ArgumentParser


@dataclass(frozen=True)
class Command:
    """What a verb does; what help says of it is in `jepakit.cli.verbs`.

    Args:
        options: a dataclass; its fields are the options, those of a nested dataclass by dotted names.
        run: the function; it takes the options and where to write.
        positional: fields given by place or by name; one that is given by name takes no place. A list takes all words
            that are left.
        optional: fields after these that are left out as often.
        run_first: of two positional fields the first is a run that need not be named: a single word is the run where a
            folder has that name or it is an address, else the second field.
        presets: name -> other defaults, dotted option -> value.
        aliases: other names of options, with underscores -> dotted option. They may be dotted themselves: the names of
            an earlier version, for the configurations it wrote.
        values: dotted option -> other names of its values -> the values.
        rest: a field that takes all words after ``--``, as a list; None: there is none.
        json: whether what it finds can be printed as JSON, by ``--json``.
    """

    options: type[Any]
    run: Callable[[Any, Console], Outcome | None]
    positional: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    run_first: bool = False
    presets: dict[str, dict[str, Any]] | None = None
    aliases: Mapping[str, str] = field(default_factory=dict[str, str])
    values: Mapping[str, Mapping[str, str]] = field(default_factory=dict[str, Mapping[str, str]])
    rest: str | None = None
    json: bool = False


@dataclass(frozen=True)
class Given:
    """A value that the user gave: for which option, under which name, in which file."""

    option: str
    value: Any
    written: str
    file: Path | None = None


#: Stands for the name of an option that is given by its place.
_BY_PLACE = ""
#: One that everybody writes so.
_NUMBER = re.compile(r"[0-9]{1,15}(\.[0-9]{1,15})?")
#: Words that ask for something to be shown -> what.
_SHOWING = {
    "-h": "help",
    "--help": "help",
    "--help-all": "help_all",
    "--help_all": "help_all",
    "--print-config": "print_config",
    "--print_config": "print_config",
}


class Reader:
    """Reads the options of one command."""

    def __init__(self, command: Command, program: str) -> None:
        self.command, self.program = command, program
        self.types = dict(option_types(command.options))
        if command.presets:
            self.types["preset"] = str
        parts = [name.split(".") for name in self.types]
        self.groups = {".".join(part[:depth]) for part in parts for depth in range(1, len(part))}

    def given(self, words: Sequence[str]) -> tuple[list[Given], set[str]]:
        """The options, and which of ``help``, ``help_all``, ``print_config``, ``json``, ``overwrite`` are asked for."""
        shown: set[str] = set()
        return list(self._with_lists(self._placed(list(self._from_words(words, shown))))), shown

    def defaults(self, given: list[Given]) -> dict[str, Any]:
        """The defaults of a preset: whatever is given, wherever it stands, replaces them."""
        defaults: dict[str, Any] = {}
        for preset in [option.value for option in given if option.option == "preset"]:
            presets = self.command.presets or {}
            with as_written(given):
                defaults = presets[require_choice("preset", preset, presets)]
        return defaults

    @property
    def replaces_objects(self) -> bool:
        """Whether ``--overwrite`` is an option of the frame, and not of the command."""
        return "overwrite" not in self.types and writes_results(self.types)

    def built(self, given: list[Given]) -> Any:
        """The options as their dataclass."""
        values = {option.option: _value(self.types[option.option], self._renamed(option)) for option in given}
        return _built(self.command.options, self.command.options(), {**self.defaults(given), **values}, given)

    def _from_words(self, words: Sequence[str], shown: set[str]) -> Iterator[Given]:
        rest = list(words)
        while rest:
            word = rest.pop(0)
            if word == "--" and self.command.rest is not None:
                yield Given(self.command.rest, list(rest), "--")
                rest.clear()
            elif word in _SHOWING:
                shown.add(_SHOWING[word])
            elif word == "--json" and self.command.json:
                shown.add("json")
            elif word == "--overwrite" and self.replaces_objects:
                shown.add("overwrite")
            elif not word.startswith("-"):
                yield Given(_BY_PLACE, word, _BY_PLACE)
            else:
                yield from self._from_option(word, rest)

    def _placed(self, given: list[Given]) -> Iterator[Given]:
        """The options, those given by place with the names of their fields."""
        named = {option.option for option in given if option.file is None}
        places = [name for name in (*self.command.positional, *self.command.optional) if name not in named]
        words = [option.value for option in given if option.option == _BY_PLACE]
        if self.command.run_first and len(words) == 1 and len(places) == 2:
            del places[: 0 if Path(words[0]).is_dir() or is_address(words[0]) else 1]
        for option in given:
            if option.option != _BY_PLACE:
                yield option
                continue
            if not places:
                raise ConfigError("argument", option.value, f"the name of its option before it: --NAME {option.value}")
            takes_all = is_element(option.value, self.types[places[0]])
            name = places[0] if takes_all else places.pop(0)
            yield Given(name, option.value, name)

    def _with_lists(self, given: Iterator[Given]) -> Iterator[Given]:
        """The options; one that is repeated, each time with one element of a list, is the list so far."""
        listed: dict[str, list[Any]] = {}
        for option in given:
            is_word = option.file is None and isinstance(option.value, str)
            if is_word and is_element(option.value, self.types[option.option]):
                listed[option.option] = [*listed.get(option.option, []), option.value]
                yield replace(option, value=listed[option.option])
            else:
                listed.pop(option.option, None)
                yield option

    def _from_option(self, word: str, rest: list[str]) -> Iterator[Given]:
        """One option; its value is taken from ``rest`` unless it stands in ``word``."""
        written, equals, value = word.removeprefix("--").partition("=")
        name = written.replace("-", "_")
        is_file = name == "config" or name in self.groups
        name = name if is_file else self._option(name, written)
        if not equals:
            following = rest[0] if rest and not rest[0].startswith("--") else None
            if not is_file and self.types[name] is bool:
                following = following if following is not None and following.lower() in ("true", "false") else None
                value = "true"
            elif following is None:
                raise ConfigError(written, None, in_words(dict if is_file else self.types[name]))
            if following is not None:
                value = rest.pop(0)
        if is_file:
            yield from self._from_file(_file(value), "" if name == "config" else f"{name}.", written)
        else:
            yield Given(name, value, written)

    def _from_file(self, file: Path, prefix: str, written: str) -> Iterator[Given]:
        """The options in a YAML file: all, or those of the group whose prefix is given."""
        try:
            content = read_yaml(file)
        except DataError as error:
            raise ConfigError(written, file, f"{A_FILE} ({error})") from error
        if not isinstance(content, dict):
            raise ConfigError(written, file, A_FILE)
        yield from self._from_mapping(cast(dict[Any, Any], content), prefix, file)

    def _from_mapping(self, content: dict[Any, Any], prefix: str, file: Path) -> Iterator[Given]:
        for key, value in content.items():
            written = f"{prefix}{key}"
            is_mapping = isinstance(value, dict)
            if written in self.groups and (is_mapping or written not in self.command.aliases):
                if not is_mapping:
                    raise ConfigError(written, value, "a mapping of options to values", file=file)
                yield from self._from_mapping(cast(dict[Any, Any], value), f"{written}.", file)
            else:
                yield Given(self._option(written, written, file), value, written, file)

    def _option(self, name: str, written: str, file: Path | None = None) -> str:
        """The option that a name stands for."""
        if name in self.types:
            return name
        if name in self.command.aliases:
            return self.command.aliases[name]
        hint = did_you_mean(name, [*self.types, *self.command.aliases])
        raise ConfigError("option", written, f"what `{self.program} --help` lists{hint}", file=file)

    def _renamed(self, given: Given) -> Given:
        """The option with the value that another name of it stands for."""
        names = self.command.values.get(given.option, {})
        return replace(given, value=names.get(given.value, given.value)) if isinstance(given.value, str) else given


def _file(place: str) -> Path:
    """The file at a path or an address."""
    copies = current()
    return copies.read(place) if copies is not None and is_address(place) else Path(place)


@contextmanager
def as_written(given: Sequence[Given], prefix: str = "") -> Generator[None]:
    """Errors of a dataclass whose options begin with ``prefix``, in the user's names."""
    try:
        yield
    except ConfigError as error:
        name, file = f"{prefix}{error.field}", error.file
        for option in reversed(given):
            if name == option.option or name.startswith(f"{option.option}."):
                name, file = option.written + name.removeprefix(option.option), option.file
                break
        raise ConfigError(name, error.value, error.expected, file=file) from error


def _built(options: type[Any], defaults: Any, values: dict[str, Any], given: list[Given], prefix: str = "") -> Any:
    """The dataclass, and those in it; what ``values`` lacks keeps its default."""
    arguments: dict[str, Any] = {}
    for name, kind in get_type_hints(options).items():
        default = getattr(defaults, name)
        if is_dataclass(kind):
            arguments[name] = _built(cast(type[Any], kind), default, values, given, f"{prefix}{name}.")
        else:
            arguments[name] = values.get(f"{prefix}{name}", default)
    with as_written(given, prefix):
        return options(**arguments)


def option_types(options: type[Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted option -> its type."""
    for name, kind in get_type_hints(options).items():
        if is_dataclass(kind):
            yield from option_types(cast(type[Any], kind), f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", kind


def _value(kind: Any, given: Given) -> Any:
    """A value as its type.

    Raises:
        ConfigError: it is none of that type.
    """
    if (plain := _plain_value(kind, given.value)) is not None:
        return plain
    # It comes with the extra ``training``; help and doctor do without.
    from jsonargparse import ArgumentError

    try:
        if given.value is None and NoneType not in get_args(kind):
            raise ArgumentError(None, "null")
        return _parser(kind).parse_object({"value": given.value}).value
    except (ArgumentError, OverflowError) as error:
        # Of a list given one by one the elements before the last are accepted already.
        refused = given.value[-1] if given.value and isinstance(given.value, list) else given.value
        hint = did_you_mean(refused, choices(kind)) if isinstance(refused, str) else ""
        raise ConfigError(given.written, given.value, in_words(kind) + hint, file=given.file) from error


def _plain_value(kind: Any, value: Any) -> Any:
    """A word that can mean one thing only, as its type; None: it needs the parser."""
    if kind == list[str] and isinstance(value, list):
        words = cast(list[Any], value)
        return words if all(isinstance(word, str) for word in words) else None
    if not isinstance(value, str):
        return None
    if kind is bool:
        return {"true": True, "false": False}.get(value)
    if kind is float and _NUMBER.fullmatch(value):
        return float(value)
    return value if kind is str else None


@lru_cache
def _parser(kind: Any) -> ArgumentParser:
    """A parser of one value: what it refuses needs no search for the option that it belongs to."""
    import jsonargparse

    parser = jsonargparse.ArgumentParser(exit_on_error=False)
    parser.add_argument("--value", type=kind)
    return parser
