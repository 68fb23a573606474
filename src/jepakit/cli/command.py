"""A verb of a system: its options are a dataclass, read from the command line and from YAML."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, is_dataclass
from difflib import get_close_matches
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, cast, get_args, get_origin, get_type_hints

import yaml as pyyaml
from jsonargparse import ArgumentError, ArgumentParser
from rich.console import Console

from jepakit.errors import ConfigError, require_choice

__all__ = ["Command", "parse"]


@dataclass(frozen=True)
class Command:
    """A verb of a system.

    Args:
        help: what it does, in a line.
        options: a dataclass; its fields are the options, those of a dataclass among them by dotted names.
        run: does it; is given the options and where to write.
        positional: fields given by place instead of by name.
        presets: name -> other defaults, dotted option -> value.
    """

    help: str
    options: type[Any]
    run: Callable[[Any, Console], None]
    positional: tuple[str, ...] = ()
    presets: dict[str, dict[str, Any]] | None = None


def parse(command: Command, program: str, words: Sequence[str]) -> Any:
    """The options as their dataclass.

    Args:
        command: the verb.
        program: what stands before the options on the command line, for messages.
        words: what stands after it.

    Raises:
        ConfigError: names the option, the value and what was expected.
        SystemExit: after ``--help`` or ``--print_config``.
    """
    types = dict(_option_types(command.options))
    parser = ArgumentParser(
        prog=program,
        usage=" ".join([program, *(name.upper() for name in command.positional), "[--option value ...]"]),
        description=command.help,
        exit_on_error=False,
        allow_abbrev=False,
    )
    parser.add_argument("--config", action="config", help="a YAML file of options; those given after it win")
    if command.presets:
        names = ", ".join(command.presets)
        parser.add_argument("--preset", type=str, default=None, help=f"other defaults: {names}")
    parser.add_class_arguments(command.options, as_group=False)
    named = _named(command, words, flags={f"--{name}" for name, kind in types.items() if kind is bool})
    if command.presets and (preset := _preset(named)):
        parser.set_defaults(command.presets[require_choice("preset", preset, command.presets)])
    try:
        parsed = parser.parse_args(named)
    except ArgumentError as error:
        raise _config_error(str(error), program, types, named) from error
    return _built(command.options, parsed.as_dict())


def _built(options: type[Any], values: dict[str, Any], prefix: str = "") -> Any:
    """The dataclass, and those in it, of what was parsed."""
    arguments: dict[str, Any] = {}
    for name, kind in get_type_hints(options).items():
        value = values[name]
        if is_dataclass(kind):
            if not isinstance(value, dict):
                raise ConfigError(f"{prefix}{name}", value, "a mapping of options to values")
            value = _built(cast(type[Any], kind), cast(dict[str, Any], value), f"{prefix}{name}.")
        arguments[name] = value
    return options(**arguments)


def _option_types(options: type[Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted option -> its type."""
    for name, kind in get_type_hints(options).items():
        if is_dataclass(kind):
            yield from _option_types(cast(type[Any], kind), f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", kind


def _named(command: Command, words: Sequence[str], flags: set[str]) -> list[str]:
    """Every option as ``--name=value``: dashes made underscores, flags given a value, positional ones their name."""
    named: list[str] = []
    places = list(command.positional)
    rest = list(words)
    while rest:
        word = rest.pop(0)
        name, equals, value = word.partition("=")
        name = "--" + name[2:].replace("-", "_")
        if not word.startswith("-"):
            if not places:
                raise ConfigError("argument", word, f"the name of its option before it: --NAME {word}")
            named.append(f"--{places.pop(0)}={word}")
        elif equals or not word.startswith("--"):
            named.append(name + equals + value if equals else word)
        elif name in flags and (not rest or rest[0].lower() not in ("true", "false")):
            named.append(f"{name}=true")
        elif name in ("--help", "--print_config") or not rest or rest[0].startswith("--"):
            named.append(name)
        else:
            named.append(f"{name}={rest.pop(0)}")
    return named


def _values(named: list[str]) -> dict[str, str]:
    return {name: value for name, _, value in (word.partition("=") for word in named)}


def _preset(named: list[str]) -> str | None:
    """The preset the command line names, or else the one its last YAML file names."""
    given = _values(named)
    if "--preset" in given:
        return given["--preset"]
    try:
        config = pyyaml.safe_load(Path(given["--config"]).read_text("utf-8"))
    except (KeyError, OSError, ValueError, pyyaml.YAMLError):
        return None  # there is none, or the parser will say what is wrong with it
    return cast(dict[str, Any], config).get("preset") if isinstance(config, dict) else None


def _config_error(problem: str, program: str, types: dict[str, Any], named: list[str]) -> ConfigError:
    """The parser's message in our words."""
    listed = f"what `{program} --help` lists"
    wrong_value = re.match(r'Parser key "(?P<key>[^"]+)":.*Got value: (?P<value>.*)', problem, re.DOTALL) or re.match(
        r'Parser key "(?P<key>[^"]+)":.*Given value: (?P<value>.*)', problem, re.DOTALL
    )
    if wrong_value and wrong_value["key"] in types:
        return _value_error(wrong_value["key"], wrong_value["value"], types[wrong_value["key"]])
    in_group = re.match(r"Group '(?P<group>.+)' does not accept option '(?P<name>.+)'", problem)
    unknown = re.match(r"Option '(?P<name>.+)' is not accepted|unrecognized arguments: (?P<word>\S+)", problem)
    if in_group or unknown:
        name = ".".join(in_group.groups()) if in_group else unknown["name"] or unknown["word"]  # type: ignore[index]
        name = name.partition("=")[0].removeprefix("--")
        nearest = get_close_matches(name, types, n=1)
        hint = f" (did you mean {nearest[0]!r}?)" if nearest else ""
        return ConfigError("option", name, listed + hint)
    if without_value := re.match(r"argument --(?P<name>\S+?)[,:].*expected one argument", problem):
        name = without_value["name"]
        return ConfigError(name, None, _expected(types[name]) if name in types else "a value")
    if re.match(r'Parser key "config"|Problems parsing config|Unexpected config', problem):
        details = " ".join(problem.partition(": ")[2].split())
        return ConfigError("config", _values(named).get("--config"), f"a YAML file of options and values ({details})")
    return ConfigError("options", " ".join(problem.split()), listed)


def _value_error(name: str, value: str, kind: Any) -> ConfigError:
    if get_origin(kind) is Literal:
        try:
            require_choice(name, value, get_args(kind))
        except ConfigError as error:
            return error
    return ConfigError(name, value, _expected(kind))


def _expected(kind: Any) -> str:
    """A type in words."""
    parts = get_args(kind)
    if get_origin(kind) is Literal:
        return f"one of {', '.join(map(str, parts))}"
    if get_origin(kind) in (Union, UnionType):
        return " or ".join("null" if part is NoneType else _expected(part) for part in parts)
    if get_origin(kind) is list:
        return f"a list [..., ...], each {_expected(parts[0])}"
    if get_origin(kind) is dict:
        return f"a mapping {{name: value}}, each value {_expected(parts[1])}"
    words = {int: "a whole number", float: "a number", bool: "true or false", str: "text", Path: "a path"}
    return words.get(kind, str(kind))
