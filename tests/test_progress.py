"""What is shown of long work: lines off a terminal, a bar on one, nothing where it is not wanted."""

from __future__ import annotations

import io
import re
import time
from collections.abc import Iterator

import pytest
from rich.console import Console

from jepakit import progress
from jepakit.progress import Phase, in_words, phase, shown, tracked


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines come every few hundredths of a second instead of every few seconds, and bars at once."""
    for name, seconds in (("_LINE_EVERY", 0.05), ("_LOOK_EVERY", 0.01), ("_BAR_AFTER", 0.0)):
        monkeypatch.setattr(progress, name, seconds)


def said_of(work: Iterator[None], *, terminal: bool = False, show: bool = True) -> str:
    written = io.StringIO()
    with shown(show, Console(file=written, force_terminal=terminal, width=120)):
        for _ in work:
            pass
    return written.getvalue()


def folds(seconds: float = 0.04) -> Iterator[None]:
    with phase("evaluating", 2, unit="rows") as rows:
        rows.advance()
        for _ in tracked(range(10), "probing", unit="folds"):
            time.sleep(seconds)
            yield


@pytest.mark.usefixtures("often")
def test_lines_name_the_phases_the_count_the_rate_and_the_time_left() -> None:
    lines = said_of(folds()).splitlines()
    assert len(lines) >= 3
    form = r"evaluating \(1 of 2 rows\): probing: (\d+) of 10 folds, [\d.]+/s, \d+ s left"
    matches = [re.fullmatch(form, line) for line in lines[1:]]
    assert all(matches), lines
    counts = [int(match[1]) for match in matches if match]
    assert counts == sorted(counts)


@pytest.mark.usefixtures("often")
def test_a_single_long_step_is_no_silence() -> None:
    def work() -> Iterator[None]:
        with phase("reading"):
            time.sleep(0.2)
            yield

    assert said_of(work()).count("reading: 0 s\n") >= 2


@pytest.mark.usefixtures("often")
def test_on_a_terminal_a_bar_stands_in_one_place_and_is_gone_at_the_end() -> None:
    written = said_of(folds(), terminal=True)
    assert "of 10 folds" in written
    assert written.removesuffix("\x1b[?25h\r").endswith("\x1b[2K"), "the last line is erased, the cursor shown"


@pytest.mark.usefixtures("often")
def test_nothing_is_shown_of_short_work_nor_where_it_is_not_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    def asked_for_within() -> Iterator[None]:
        with shown():
            yield from folds()

    def hidden_within() -> Iterator[None]:
        with phase("retrieval train"), shown(False):
            yield from asked_for_within()

    assert said_of(folds(seconds=0.0)) == ""
    assert said_of(asked_for_within(), show=False) == "", "a caller that wants silence has it"
    assert said_of(hidden_within()) == ""
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert said_of(folds()) == "", "of the processes of a training the first speaks for all"


def test_what_is_left_is_told_from_the_rate_since_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    resumed = Phase("training", 100, "steps", done=40)
    assert (resumed.rate, str(resumed)) == (None, "training: 40 of 100 steps, 0 s")
    now += 10
    resumed.advance(20)
    resumed.note = "loss 0.5"
    assert str(resumed) == "training: 60 of 100 steps, 2/s, 20 s left, loss 0.5"
    now += 990
    assert str(resumed) == "training: 60 of 100 steps, 50 s each, 33 min 20 s left, loss 0.5"
    unknown = Phase("judging", unit="runs")
    unknown.advance(3)
    now += 2
    assert str(unknown) == "judging: 3 runs, 1.5/s, 2 s"
    assert [in_words(seconds) for seconds in (59.4, 60, 3599, 7500)] == [
        "59 s",
        "1 min 0 s",
        "59 min 59 s",
        "2 h 5 min",
    ]
