"""Real processes: killed at any moment, and on a terminal."""

from __future__ import annotations

import math
import os
import pty
import random
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

from toy_runs import Toy, assert_same_run

from jepakit import load_encoder
from jepakit.cli.main import main
from jepakit.training import RunFolder
from jepakit.training.report.data import read_run
from jepakit.training.storage.checkpoint import read_checkpoint
from processes import LIMIT, start_command

Start = Callable[..., "subprocess.Popen[str]"]


def assert_nothing_is_half_written(run: Path) -> None:
    """Whatever has its final name can be read whole."""
    folder = RunFolder(run)
    if folder.config.exists():
        folder.read_config()
    rows = folder.read_metrics()
    assert [int(row["epoch"]) for row in rows] == list(range(len(rows)))
    assert all(math.isfinite(float(row["train/total"])) for row in rows)
    if folder.checkpoint.exists():
        # Never ahead of metrics.csv, so that no epoch is missing there after a resume.
        assert read_checkpoint(folder.checkpoint)["epoch"] < len(rows)
    # A folder in which nothing stands yet is no run.
    if folder.config.exists():
        read_run(run)
    for name in ("encoder", "random_encoder"):
        if (run / name).exists():
            load_encoder(run / name)


def test_killed_again_and_again_at_any_moment(toy: Toy, tmp_path: Path) -> None:
    run, log = tmp_path / "run", tmp_path / "log"
    words = ["graph", "pretrain", *toy.options, "--run", str(run), "--resume"]
    draw = random.Random(time.time_ns())
    deaths: list[str] = []
    while len(deaths) < 10:
        process = start_command(words, log)
        # From before the first line is written to well into the encoders, the results and the report. One that has
        # finished is done again from its last checkpoint on: what is there is then replaced while it is killed.
        delay = draw.uniform(0.05, 1.5)
        process.join(delay)
        process.kill()
        process.join()
        there = sorted(path.name for path in run.iterdir()) if run.exists() else []
        deaths.append(f"{delay:.3f} s: exit status {process.exitcode}, {', '.join(there) or 'nothing there'}")
        assert_nothing_is_half_written(run)
    assert main(words) == 0, deaths
    assert_same_run(run, toy.run)
    assert "Traceback" not in log.read_text()


@contextmanager
def terminal() -> Generator[tuple[int, list[str]]]:
    """A pseudo-terminal to write to, and what is written there."""
    ours, theirs = pty.openpty()
    shown: list[str] = []

    def read() -> None:
        try:
            while data := os.read(ours, 4096):
                shown.append(data.decode(errors="replace"))
        except OSError:
            return  # every writer has gone

    reader = threading.Thread(target=read)
    reader.start()
    try:
        yield theirs, shown
    finally:
        os.close(theirs)
        reader.join()
        os.close(ours)


def test_a_terminal_shows_the_progress_of_the_whole_run(toy: Toy, tmp_path: Path, start: Start) -> None:
    run = tmp_path / "run"
    with terminal() as (screen, shown):
        # A shell that runs the tests in the background has its children ignore Ctrl-C.
        process = start(
            # More epochs than can pass before the bar appears.
            *("graph", "pretrain", *toy.options, "--epochs", "100000", "--run", str(run)),
            stderr=screen,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        while "training" not in "".join(shown):
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=LIMIT)
    assert process.returncode == 130
    errors = "".join(shown)
    assert re.search(r"training .* \d+ of \d+ *steps", errors)
    # The bar is gone before the last line.
    assert errors.rstrip().endswith("interrupted")
