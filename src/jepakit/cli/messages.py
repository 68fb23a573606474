"""Messages of commands, also of those that do without torch."""

from __future__ import annotations

from rich.console import Console


def say(out: Console, sentence: str) -> None:
    """Prints plain text: brackets in a path are no markup, and a long line is not wrapped."""
    out.print(sentence, highlight=False, markup=False, soft_wrap=True)
