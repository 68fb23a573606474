"""Real processes: killed at any moment, interrupted, two at a time."""

from __future__ import annotations

import math
import os
import pty
import random
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import torch
import yaml
from safetensors.torch import load_file
from toy_runs import EPOCHS, Toy, rows_but_seconds

from forked import start_command
from jepakit import load_encoder
from jepakit.cli.main import main
from jepakit.training import RunFolder
from jepakit.training.report.data import read_run
from jepakit.training.storage.checkpoint import read_checkpoint

Start = Callable[..., "subprocess.Popen[str]"]


def wait_for_epoch(run: Path, epoch: int, seconds: float = 600) -> None:
    """Until ``epoch`` stands in metrics.csv: in the middle of the next one, or of what follows."""
    until = time.monotonic() + seconds
    while len(RunFolder(run).read_metrics()) <= epoch:
        assert time.monotonic() < until, "the run does not get on"
        time.sleep(0.002)


def assert_same_run(run: Path, reference: Path) -> None:
    assert rows_but_seconds(run) == rows_but_seconds(reference)
    for name in ("encoder", "random_encoder"):
        ours, theirs = (load_file(folder / name / "model.safetensors") for folder in (run, reference))
        assert ours.keys() == theirs.keys()
        for key in ours:
            assert torch.equal(ours[key], theirs[key]), f"{name}: {key}"
    for name in ("config.yaml", "results.json", "diagnosis.json"):
        assert (run / name).read_text() == (reference / name).read_text()


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
    if run.is_dir():
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
def terminal() -> Iterator[tuple[int, list[str]]]:
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


def test_ctrl_c_ends_with_130_and_can_be_gone_on_with(toy: Toy, tmp_path: Path, start: Start) -> None:
    run = tmp_path / "run"
    words = ["graph", "pretrain", *toy.options, "--run", str(run)]
    with terminal() as (screen, shown):
        # A shell that runs the tests in the background has its children ignore Ctrl-C.
        process = start(*words, stderr=screen, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
        wait_for_epoch(run, 2)
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=600)
    assert process.returncode == 130
    errors = "".join(shown)
    assert errors.rstrip().endswith("interrupted")
    assert "Traceback" not in errors
    # The bar: epoch, steps done, rate, time left.
    assert "steps/s" in errors
    assert f"/{EPOCHS}" in errors
    assert f"--config {run}/config.yaml --run {run} --resume" in out
    assert_nothing_is_half_written(run)
    assert main(["graph", "pretrain", "--config", f"{run}/config.yaml", "--run", str(run), "--resume"]) == 0
    assert_same_run(run, toy.run)


@contextmanager
def watched(*files: Path) -> Iterator[dict[Path, set[int]]]:
    """When each file was written, as long as the context is open; one that is replaced counts twice."""
    written: dict[Path, set[int]] = {file: set() for file in files}
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.0005):
            for file, times in written.items():
                with suppress(FileNotFoundError):
                    times.add(file.stat().st_mtime_ns)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield written
    finally:
        done.set()
        watcher.join()


def test_two_devices_train_one_model_and_write_one_run(toy: Toy, tmp_path: Path, start: Start) -> None:
    run = tmp_path / "run"
    words = ["graph", "pretrain", *toy.options, "--devices", "2", "--run", str(run)]
    once = [run / name for name in ("config.yaml", "diagnosis.json", "embeddings.safetensors", "results.json")]
    with watched(*once) as written:
        process = start(*words, start_new_session=True)
        out, errors = process.communicate(timeout=600)
        until = time.monotonic() + 600
        while any_process_of(process.pid):
            assert time.monotonic() < until, "the second process did not end"
            time.sleep(0.05)
    assert process.returncode == 0, errors
    assert "Traceback" not in errors
    assert {file.name: len(times) for file, times in written.items()} == dict.fromkeys((f.name for f in once), 1)
    assert out.count(f"run in {run}") == out.count("report: ") == out.count("the same encoder, random") == 1
    rows, alone = rows_but_seconds(run), rows_but_seconds(toy.run)
    assert [(row["epoch"], row["step"], row["learning_rate"]) for row in rows] == [
        (row["epoch"], row["step"], row["learning_rate"]) for row in alone
    ]
    assert all(math.isfinite(float(value)) for row in rows for value in row.values() if value)
    assert float(rows[-1]["train/predict/node"]) < float(rows[0]["train/predict/node"])
    configuration = yaml.safe_load((run / "config.yaml").read_text())
    assert configuration == {**yaml.safe_load((toy.run / "config.yaml").read_text()), "devices": 2}
    assert_nothing_is_half_written(run)
    assert not list(run.rglob("*.partial"))
    assert main(["graph", "embed", str(run), "--out", str(tmp_path / "x.parquet")]) == 0


def any_process_of(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True
