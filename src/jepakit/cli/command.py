"""Runs a verb: its options are a dataclass, read from the command line and from YAML, and shown by ``--help``."""

from __future__ import annotations

import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager, nullcontext, redirect_stdout
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

from rich.console import Console

from jepakit import progress
from jepakit.cli.help_page import Option, Places, options_of, write_options, write_usage, write_wrapped
from jepakit.cli.outcome import Outcome
from jepakit.cli.places import make_copies, with_copies
from jepakit.cli.reading import Command, Given, Reader, as_written, option_types
from jepakit.cli.verbs.verb import Verb
from jepakit.errors import JepakitError
from jepakit.files.copies import Copies, copied, current, named

_OVERWRITE = "replace what is at the addresses that --out and the like name; files of this machine are replaced anyway"
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
    with copied() as copies:
        with _with_addresses():
            given, shown = reader.given(words)
            if shown & {"help", "help_all"}:
                _write_help(out, program, verb, command, reader.defaults(given), everything="help_all" in shown)
                return 0
            options = reader.built(with_copies(given, reader.types, copies))
            if "print_config" in shown:
                out.print(config_yaml(options), end="", soft_wrap=True)
                return 0
            copies.overwrite = "overwrite" in shown or vars(options).get("overwrite", False)
            outcome = _outcome(command, options, given, copies, out, as_json="json" in shown)
        copies.store()
        if "json" in shown:
            out.print(outcome.as_json(), soft_wrap=True)
        if outcome.error is not None:
            with _with_addresses():
                raise outcome.error
        return outcome.status


def _outcome(
    command: Command, options: Any, given: list[Given], copies: Copies, out: Console, *, as_json: bool
) -> Outcome:
    showing = progress.shown(vars(options).get("progress", True))
    with as_written(given), showing, redirect_stdout(sys.stderr) if as_json else nullcontext():
        make_copies(copies, resume=vars(options).get("resume", False))
        return command.run(options, out) or Outcome()


@contextmanager
def _with_addresses() -> Generator[None]:
    """Errors name the addresses of objects, not their copies."""
    try:
        yield
    except (JepakitError, OSError) as error:
        _name_addresses(error)
        raise


def _name_addresses(error: Exception) -> None:
    if isinstance(error, OSError):
        error.filename = named(error.filename) if isinstance(error.filename, str) else error.filename
    else:
        error.args = tuple(named(part) if isinstance(part, str) else part for part in error.args)


def parse(command: Command, program: str, words: Sequence[str]) -> Any:
    """The options as their dataclass; see `run_command`."""
    reader, copies = Reader(command, program), current()
    given, _ = reader.given(words)
    return reader.built(given if copies is None else with_copies(given, reader.types, copies))


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
        *([Option("--overwrite", "", _OVERWRITE)] if Reader(command, program).replaces_objects else []),
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
    return {name: _plain_value(value) for name, value in items}


def _plain_value(value: Any) -> Any:
    """A value as YAML has it; in the place of the copy of an object stands its address."""
    if isinstance(value, list):
        return [_plain_value(one) for one in cast(list[Any], value)]
    return named(str(value)) if isinstance(value, str | Path) else value
