"""Questions one after another, with what answers them loaded once."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from importlib import import_module

from rich.console import Console

from jepakit.cli.messages import say
from jepakit.cli.outcome import Outcome
from jepakit.errors import ConfigError, JepakitError
from jepakit.progress import shown


def is_interactive(name: str, value: str | None, *, asked_for: bool) -> bool:
    """Whether questions are read line by line: where that is asked for, or none is given and a person sits there.

    Args:
        name: of the option that has the question.
        value: of it.
        asked_for: by an option.

    Raises:
        ConfigError: there is no question, and nobody to ask one; or both.
    """
    if asked_for and value is not None:
        raise ConfigError(name, value, "none with --interactive")
    if asked_for or (value is None and sys.stdin.isatty()):
        return True
    if value is None or not value.strip():
        raise ConfigError(name, value, "what is asked; --interactive reads one a line")
    return False


def answer_lines(answer: Callable[[str], Outcome], out: Console) -> Outcome:
    """Answers each line of the standard input until it ends (Ctrl-D). What one is refused for does not end it."""
    contents: list[dict[str, object]] = []
    # Of what a person waits for at a prompt nothing else is shown.
    with shown(False):
        for line in _lines(out):
            try:
                contents.append(answer(line).content)
            except JepakitError as error:
                say(out, f"error: {error}")
                contents.append({"error": str(error)})
    return Outcome({"answers": contents})


def _lines(out: Console) -> Iterator[str]:
    if not sys.stdin.isatty():
        yield from (line.strip() for line in sys.stdin if line.strip())
        return
    with suppress(ImportError):
        # Where it is there, a line can be edited, and earlier ones come back.
        import_module("readline")
    say(out, "one question a line; Ctrl-D ends")
    while True:
        try:
            line = out.input("> ").strip()
        except EOFError:
            out.print()
            return
        if line:
            yield line
