"""``jepakit SYSTEM VERB ...``: finds the command, parses its options into its dataclass, reports errors in one line."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from importlib import import_module
from importlib.metadata import version
from itertools import takewhile
from typing import Any

from rich.console import Console

from jepakit.errors import ConfigError, JepakitError, MissingExtraError, require_choice

__all__ = ["Command", "main"]

#: system -> (module of its commands, what it is for)
SYSTEMS = {"graph": ("jepakit.cli.graph", "self-supervised encoders for graphs")}


@dataclass(frozen=True)
class Command:
    """A verb of a system.

    Args:
        help: what it does, in a line.
        options: a dataclass; its fields are the options.
        run: does it.
        positional: fields given by place instead of by name.
        presets: name -> other defaults, dotted option -> value.
    """

    help: str
    options: type[Any]
    run: Callable[[Any, str, Console], None]
    positional: tuple[str, ...] = ()
    presets: dict[str, dict[str, Any]] | None = None


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command line; returns the exit status: 0, 2 for an error of the user's, 130 when interrupted."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    errors = Console(stderr=True, soft_wrap=True)
    logging.basicConfig(level=logging.WARNING, format="%(name)s: %(message)s")
    try:
        return _dispatch(words)
    except JepakitError as error:
        errors.print(f"[bold red]error:[/] {_escape(str(error))}", highlight=False)
        return 2
    except KeyboardInterrupt:
        errors.print("interrupted")
        return 130
    except BrokenPipeError:
        # The reader (head, less) has gone: nothing is left to say, not even at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141


def _dispatch(words: list[str]) -> int:
    out = Console()
    if not words or words[0] in ("-h", "--help", "help"):
        out.print(_overview(), highlight=False, markup=False)
        return 0
    if words[0] in ("-V", "--version"):
        out.print(version("jepakit"), highlight=False)
        return 0
    module, summary = SYSTEMS[require_choice("system", words[0], SYSTEMS)]
    try:
        commands: dict[str, Command] = import_module(module).COMMANDS
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("jepakit"):
            raise
        raise MissingExtraError(str(error.name), words[0]) from error
    if len(words) == 1 or words[1] in ("-h", "--help", "help"):
        lines = [f"  {verb:12}{command.help}" for verb, command in commands.items()]
        text = [f"jepakit {words[0]}: {summary}", "", *lines, "", f"jepakit {words[0]} VERB --help tells its options."]
        out.print("\n".join(text), highlight=False, markup=False)
        return 0
    command = commands[require_choice("verb", words[1], commands)]
    options, yaml = _parse(command, f"jepakit {words[0]} {words[1]}", words[2:])
    command.run(options, yaml, out)
    return 0


def _overview() -> str:
    lines = [f"  {name:12}{summary}" for name, (_, summary) in SYSTEMS.items()]
    text = ["jepakit: joint-embedding predictive learning on structured data", "", *lines, ""]
    return "\n".join([*text, "jepakit SYSTEM tells its verbs, jepakit SYSTEM VERB --help their options."])


def _parse(command: Command, program: str, words: list[str]) -> tuple[Any, str]:
    """The options as their dataclass, and as YAML."""
    from jsonargparse import ArgumentError, ArgumentParser

    parser = ArgumentParser(prog=program, description=command.help, exit_on_error=False)
    parser.add_argument("--config", action="config", help="a YAML file of options; those given after it win")
    if command.presets:
        names = ", ".join(command.presets)
        parser.add_argument("--preset", type=str, default=None, help=f"other defaults: {names}")
    parser.add_class_arguments(command.options, as_group=False)
    placed = list(takewhile(lambda word: not word.startswith("-"), words))[: len(command.positional)]
    named = [f"--{name}={value}" for name, value in zip(command.positional, placed, strict=False)]
    named += [_with_underscores(word) for word in words[len(placed) :]]
    named = _flags_with_values(named, [f.name for f in fields(command.options) if f.type in (bool, "bool")])
    if command.presets and (preset := _preset(named)):
        parser.set_defaults(command.presets[require_choice("preset", preset, command.presets)])
    try:
        parsed = parser.parse_args(named)
    except ArgumentError as error:
        raise _config_error(error, program) from error
    yaml = parser.dump(parsed, skip_none=False)
    built = parser.instantiate_classes(parsed).as_dict()
    values = {name: value for name, value in built.items() if name not in ("config", "preset")}
    return command.options(**values), yaml


def _with_underscores(word: str) -> str:
    """``--mask-ratio`` is ``--mask_ratio``: both are welcome, values stay as they are."""
    name, equals, value = word.partition("=")
    return name.replace("-", "_").replace("__", "--", 1) + equals + value if name.startswith("--") else word


def _flags_with_values(words: list[str], flags: list[str]) -> list[str]:
    """``--resume`` alone is ``--resume=true``."""
    following = [*words[1:], "--"]
    return [
        f"{word}=true" if word[2:] in flags and word.startswith("--") and after.startswith("--") else word
        for word, after in zip(words, following, strict=True)
    ]


def _config_error(error: Exception, program: str) -> ConfigError:
    """What the parser says, as our error; one that a configuration raised itself is passed on."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ConfigError):
            return cause
        cause = cause.__cause__ or cause.__context__
    return ConfigError("options", str(error), f"what `{program} --help` lists")


def _preset(words: list[str]) -> str | None:
    for word, following in zip(words, [*words[1:], ""], strict=True):
        if word == "--preset":
            return following
        if word.startswith("--preset="):
            return word.partition("=")[2]
    return None


def _escape(text: str) -> str:
    return text.replace("[", "\\[")
