"""``jepakit completion``: the script by which a shell completes verbs, options and their values."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Literal

from rich.console import Console

from jepakit.cli.help_page import options_of
from jepakit.cli.kinds import choices
from jepakit.cli.reading import Command, option_types
from jepakit.cli.verbs import SYSTEMS, VERBS
from jepakit.cli.verbs.verb import Verb
from jepakit.errors import requires_extra


@dataclass
class CompletionOptions:
    """Completion for a shell.

    Args:
        shell: the one it is for. ``eval "$(jepakit completion bash)"`` switches it on.
    """

    shell: Literal["bash", "zsh", "fish"] = "bash"


def run_completion(options: CompletionOptions, out: Console) -> None:
    """Prints the script. A system that is not installed has verbs without options.

    Raises:
        MissingExtraError: shtab, which writes it, is not installed.
    """
    with requires_extra("training"):
        import shtab
    out.print(shtab.complete(whole_parser(), options.shell), soft_wrap=True)


def whole_parser() -> ArgumentParser:
    """A parser of the whole command line, which is only looked at: `jepakit.cli.reading` reads."""
    parser = ArgumentParser("jepakit", add_help=False)
    parser.add_argument("--help", action="store_true", help="what there is")
    parser.add_argument("--version", action="store_true", help="the version")
    parts = parser.add_subparsers()
    for name, system in SYSTEMS.items():
        part = parts.add_parser(name, help=system.help, description=system.help, add_help=False)
        _add_verbs(part.add_subparsers(), system.verbs)
    _add_verbs(parts, VERBS)
    return parser


def _add_verbs(parts: Any, verbs: Mapping[str, Verb]) -> None:
    for name, verb in verbs.items():
        parser = parts.add_parser(name, help=verb.help, description=verb.help, add_help=False)
        try:
            _add_options(parser, import_module(verb.module).COMMANDS[name])
        except ModuleNotFoundError as error:
            if (error.name or "").startswith("jepakit"):
                raise


def _add_options(parser: ArgumentParser, command: Command) -> None:
    import shtab

    kinds = dict(option_types(command.options))
    for place in (*command.positional, *command.optional):
        values = choices(kinds[place])
        given = parser.add_argument(place, nargs="?", choices=values or None)
        if not values:
            given.complete = shtab.FILE  # type: ignore[attr-defined]
    for group in options_of(command.options, {}).values():
        for name, option in group.items():
            # argparse takes a per cent sign for the start of a placeholder.
            text = option.text.replace("%", "%%")
            if not option.value:
                parser.add_argument(option.name, action="store_true", help=text)
                continue
            values = option.value.split("|") if kinds[name] is bool else choices(kinds[name])
            added = parser.add_argument(option.name, choices=values or None, help=text)
            if not values and option.value in ("PATH", "TEXT"):
                added.complete = shtab.FILE  # type: ignore[attr-defined]
    for name in ("--help", "--help-all", "--print-config", *(["--json"] if command.json else [])):
        parser.add_argument(name, action="store_true")
    parser.add_argument("--config").complete = shtab.FILE  # type: ignore[attr-defined]
    if command.presets:
        parser.add_argument("--preset", choices=list(command.presets))


COMMANDS = {"completion": Command(CompletionOptions, run_completion, ("shell",))}
