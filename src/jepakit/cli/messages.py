"""Messages of commands, also of those that do without torch."""

from __future__ import annotations

from rich.console import Console

from jepakit.files.copies import named


def say(out: Console, sentence: str) -> None:
    """Prints plain text: brackets in a path are no markup, a long line is not wrapped, copies have their addresses."""
    out.print(named(sentence), highlight=False, markup=False, soft_wrap=True)
