"""What is said of a verb, known before the packages that it needs are imported."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Verb:
    """A verb of the command line, in words.

    Args:
        help: its purpose, in a line.
        module: the module whose ``COMMANDS`` has its `jepakit.cli.command.Command` under its name.
        examples: whole command lines.
        common: the options that matter most, by heading, as dotted names; empty: all matter.
        extra: the extras of jepakit that bring the packages it needs, such as ``graph,report``.
        quick: it answers at once, or waits for what others ask: nothing is said of its progress.
    """

    help: str
    module: str
    examples: tuple[str, ...] = ()
    common: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    extra: str = ""
    quick: bool = False


@dataclass(frozen=True)
class System:
    """A system of the command line.

    Args:
        help: what it is for, in a line.
        verbs: name -> verb, in the order of the help. Their packages come with the extra of the system's name.
    """

    help: str
    verbs: Mapping[str, Verb]
