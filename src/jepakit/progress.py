"""What long work is doing: a bar on a terminal, else a line every few seconds, on the standard error.

Work names its phases with `phase` or `tracked`. They are shown where `shown` is in force, which the commands see to; in
a program of one's own, training shows its phases unless its configuration has ``progress=False``::

    with shown():
        for fold in tracked(folds, "probing", unit="folds"):
            ...

Off a terminal this prints ``probing: 12 of 30 folds, 3.1/s, 6 s left``. Phases may stand in one another.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Generator, Iterable, Iterator, Sized
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

# Modules that name phases are imported by commands that answer in milliseconds: rich is imported where it shows them.
if TYPE_CHECKING:
    from rich.console import Console
    from rich.live import Live
    from rich.table import Table

T = TypeVar("T")

#: Seconds between two lines; between two looks at the phases; and before a bar appears, so that short work shows none.
_LINE_EVERY, _LOOK_EVERY, _BAR_AFTER = 4.0, 0.25, 1.0
_BAR_WIDTH = 16


@dataclass(eq=False)
class Phase:
    """A part of the work, and how much of it is done.

    Args:
        name: what is done, as in ``encoding texts``.
        total: units in all; None: not known.
        unit: what is counted, in the plural.
        done: units that are done.
        note: what else is to be said, such as the loss.
    """

    name: str
    total: int | None = None
    unit: str = ""
    done: int = 0
    note: str = ""
    _first: int = field(init=False)
    _start: float = field(init=False)

    def __post_init__(self) -> None:
        self._first, self._start = self.done, time.monotonic()

    def advance(self, count: int = 1) -> None:
        """Counts units that are done."""
        self.done += count

    @property
    def seconds(self) -> float:
        """Since the beginning of the phase."""
        return time.monotonic() - self._start

    @property
    def rate(self) -> float | None:
        """Units a second; None before the first."""
        counted = self.done - self._first
        return counted / self.seconds if counted > 0 and self.seconds > 0 else None

    @property
    def seconds_left(self) -> float | None:
        """At the rate so far; None where it is not known."""
        if self.total is None or self.rate is None:
            return None
        return max(0, self.total - self.done) / self.rate

    @property
    def count(self) -> str:
        """``12 of 30 folds``; empty where nothing is counted."""
        if self.total is None:
            return f"{self.done} {self.unit}".rstrip() if self.done else ""
        return f"{self.done} of {self.total} {self.unit}".rstrip()

    @property
    def speed(self) -> str:
        """``3.1/s``, or ``12 s each`` where one takes long; empty before the first."""
        if self.rate is None:
            return ""
        return f"{self.rate:,.3g}/s" if self.rate >= 0.5 else f"{in_words(1 / self.rate)} each"

    @property
    def time(self) -> str:
        """``6 s left``, or how long it has taken where that is not known."""
        left = self.seconds_left
        return in_words(self.seconds) if left is None else f"{in_words(left)} left"

    @property
    def details(self) -> str:
        """``12 of 30 folds, 3.1/s, 6 s left``, and the note."""
        return ", ".join(part for part in (self.count, self.speed, self.time, self.note) if part)

    def __str__(self) -> str:
        return f"{self.name}: {self.details}"


def in_words(seconds: float) -> str:
    """``8 s``, ``3 min 20 s``, ``2 h 5 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


class _Display:
    """Shows the phases from a thread of its own, so that a single long step is no silence."""

    def __init__(self, console: Console) -> None:
        self.console, self.phases, self.hidden = console, list[Phase](), False
        self._begin = self._said = time.monotonic()
        self._live: Live | None = None
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="jepakit progress", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._ended.set()
        self._thread.join()
        if self._live is not None:
            self._live.stop()

    def _run(self) -> None:
        while not self._ended.wait(_LOOK_EVERY):
            phases = list(self.phases)
            if self.hidden or not phases:
                continue
            if self.console.is_terminal:
                self._draw()
            elif time.monotonic() - self._said >= _LINE_EVERY:
                self._said = time.monotonic()
                outer = [f"{one.name} ({one.count}): " for one in phases[:-1] if one.count]
                self.console.print(f"{''.join(outer)}{phases[-1]}", soft_wrap=True, markup=False, highlight=False)

    def _draw(self) -> None:
        from rich.live import Live

        if self._live is None and time.monotonic() - self._begin >= _BAR_AFTER:
            # What is printed meanwhile goes above the bar, if it goes to the same terminal.
            self._live = Live(
                console=self.console,
                get_renderable=self._table,
                transient=True,
                redirect_stdout=sys.stdout.isatty(),
                refresh_per_second=4,
            )
            self._live.start()

    def _table(self) -> Table:
        from rich.progress_bar import ProgressBar
        from rich.table import Table

        table = Table.grid(padding=(0, 1))
        for _ in ("name", "bar", "details"):
            # One line a phase, however narrow the terminal is.
            table.add_column(no_wrap=True)
        for one in [] if self.hidden else list(self.phases):
            bar = ProgressBar(one.total, one.done, width=_BAR_WIDTH, pulse=one.total is None)
            table.add_row(one.name, bar, one.details)
        return table


#: None: nothing was said about it; False: nothing is shown, whatever is asked for within.
_DISPLAY: ContextVar[_Display | bool | None] = ContextVar("jepakit_progress", default=None)


@contextmanager
def shown(show: bool = True, console: Console | None = None) -> Generator[None]:
    """Shows the phases of what is done meanwhile, or none of them.

    Within ``shown(False)`` nothing is shown. Of the processes of one training only the first shows anything.

    Args:
        show: whether to.
        console: where; by default the standard error.
    """
    current = _DISPLAY.get()
    is_first = all(os.environ.get(name, "0") == "0" for name in ("RANK", "LOCAL_RANK", "NODE_RANK", "SLURM_PROCID"))
    if not show or not is_first:
        with _hidden(current):
            yield
        return
    if current is not None:
        yield
        return
    from rich.console import Console

    display = _Display(console or Console(stderr=True))
    token = _DISPLAY.set(display)
    display.start()
    try:
        yield
    finally:
        _DISPLAY.reset(token)
        display.stop()


@contextmanager
def _hidden(current: _Display | bool | None) -> Generator[None]:
    """Hides the phases that are shown, and those within."""
    token = _DISPLAY.set(False)
    if isinstance(current, _Display):
        current.hidden = True
    try:
        yield
    finally:
        _DISPLAY.reset(token)
        if isinstance(current, _Display):
            current.hidden = False


@contextmanager
def phase(name: str, total: int | None = None, *, unit: str = "", done: int = 0) -> Generator[Phase]:
    """A part of the work; its name stands in what is shown until it ends.

    Args:
        name: what is done, as in ``encoding texts``.
        total: units in all; None: not known.
        unit: what is counted, in the plural.
        done: units that are done already.
    """
    this = Phase(name, total, unit, done)
    display = _DISPLAY.get()
    if not isinstance(display, _Display):
        yield this
        return
    display.phases.append(this)
    try:
        yield this
    finally:
        display.phases.remove(this)


def tracked(items: Iterable[T], name: str, total: int | None = None, *, unit: str = "") -> Iterator[T]:
    """The items; each counts as done when the next one is asked for.

    Args:
        items: what is worked on.
        name: what is done with them.
        total: how many there are; by default their length, where they have one.
        unit: what they are, in the plural.
    """
    known = len(items) if total is None and isinstance(items, Sized) else total
    with phase(name, known, unit=unit) as this:
        for item in items:
            yield item
            this.advance()
