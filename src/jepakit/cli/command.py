"""Runs a verb: its options are a dataclass, read from the command line and from YAML, and shown by ``--help``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import nullcontext, redirect_stdout
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console

from jepakit import progress
from jepakit.cli.help_page import Option, Places, options_of, write_options, write_usage, write_wrapped
from jepakit.cli.outcome import Outcome
from jepakit.cli.reading import Command, Reader, as_written, option_types
from jepakit.cli.verbs.verb import Verb

_JSON = "print what is found as one JSON document, and all else to stderr"


def run_command(command: Command, verb: Verb, program: str, words: Sequence[str], out: Console) -> int:
    """Parses the options and runs the command, or prints its help or its configuration.

    Args:
        command: what the verb does.
        verb: what is said of it.
        program: the words of the command line before the options, for messages.
        words: those after it.
        out: where the command writes; with ``--json`` the document goes there, and all else to stderr.

    Returns:
        The exit status.

    Raises:
        ConfigError: an option is refused, here or while the command runs; it is named as the user wrote it.
    """
    reader = Reader(command, program)
    given, shown = reader.given(words)
    if shown & {"help", "help_all"}:
        _write_help(out, program, verb, command, reader.defaults(given), everything="help_all" in shown)
        return 0
    options = reader.built(given)
    if "print_config" in shown:
        out.print(config_yaml(options), end="", soft_wrap=True)
        return 0
    as_json = "json" in shown
    showing = progress.shown(vars(options).get("progress", True))
    with as_written(given), showing, redirect_stdout(sys.stderr) if as_json else nullcontext():
        outcome = command.run(options, out) or Outcome()
    if as_json:
        out.print(outcome.as_json(), soft_wrap=True)
    if outcome.error is not None:
        raise outcome.error
    return outcome.status


def parse(command: Command, program: str, words: Sequence[str]) -> Any:
    """The options as their dataclass; see `run_command`."""
    reader = Reader(command, program)
    return reader.built(reader.given(words)[0])


def _write_help(
    out: Console, program: str, verb: Verb, command: Command, defaults: dict[str, Any], *, everything: bool
) -> None:
    write_usage(out, program, verb, Places.of(command))
    groups = options_of(command.options, defaults)
    if verb.common and not everything:
        named = {name: option for group in groups.values() for name, option in group.items()}
        groups = {heading: {name: named[name] for name in names} for heading, names in verb.common.items()}
    for heading, options in groups.items():
        write_options(out, heading, options.values())
    general = [
        *([Option("--preset", "NAME", f"other defaults: {', '.join(command.presets)}")] if command.presets else []),
        Option("--config", "FILE", "options from a YAML file; those given after it win"),
        *([Option("--json", "", _JSON)] if command.json else []),
        Option("--print-config", "", "print all options as YAML and do nothing else"),
        *([Option("--help-all", "", f"all {len(dict(option_types(command.options)))} options")] if verb.common else []),
    ]
    write_options(out, "for every command", general)
    if everything and command.aliases:
        others = (f"--{alias} for --{name}".replace("_", "-") for alias, name in command.aliases.items())
        out.print()
        write_wrapped(out, f"other names: {', '.join(others)}")


def config_yaml(options: Any, *, leave_out: tuple[str, ...] = ()) -> str:
    """The options as YAML that ``--config`` reads."""
    # It comes with the extra ``training``; doctor does without.
    import yaml as pyyaml

    values = {name: value for name, value in asdict(options, dict_factory=_plain).items() if name not in leave_out}
    return pyyaml.safe_dump(values, sort_keys=False, allow_unicode=True)


def _plain(items: list[tuple[str, Any]]) -> dict[str, Any]:
    return {name: str(value) if isinstance(value, Path) else value for name, value in items}
