"""Every command of the command line by its words."""

from __future__ import annotations

from importlib import import_module

from jepakit.cli.command import Command
from jepakit.cli.main import SYSTEMS


def every_command() -> dict[str, Command]:
    """``SYSTEM VERB`` -> its command, in the order of the help."""
    return {
        f"{system} {verb}": command
        for system, (module, _) in SYSTEMS.items()
        for verb, command in import_module(module).COMMANDS.items()
    }
