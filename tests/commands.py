"""Every command of the command line by its words."""

from __future__ import annotations

from importlib import import_module

from jepakit.cli.reading import Command
from jepakit.cli.verbs import SYSTEMS, VERBS
from jepakit.cli.verbs.verb import Verb


def every_verb() -> dict[str, Verb]:
    """``SYSTEM VERB`` -> what is said of it, in the order of the help; then the verbs of no system."""
    of_systems = {f"{name} {verb}": said for name, system in SYSTEMS.items() for verb, said in system.verbs.items()}
    return {**of_systems, **VERBS}


def every_command() -> dict[str, Command]:
    """``SYSTEM VERB`` -> what it does."""
    return {words: import_module(said.module).COMMANDS[words.split()[-1]] for words, said in every_verb().items()}
