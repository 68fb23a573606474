"""What every training command keeps: real processes, killed, interrupted and refused, on one device and on two."""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
import yaml
from toy_runs import assert_same_run, files_of, rows_but_seconds, wait_for_epoch
from training_inputs import INPUTS, training_commands

from jepakit.cli.main import main
from jepakit.files import locked
from jepakit.training import RunFolder, load_encoder
from jepakit.training.report.data import read_run
from processes import LIMIT, ended, start_command

#: The other commands, which train by the same function, are the long test's: each takes most of a minute.
for_one_command = pytest.mark.parametrize(
    "finished",
    [pytest.param(name, marks=[] if name == "lp train" else pytest.mark.torture) for name in training_commands()],
    indirect=True,
)


@dataclass(frozen=True)
class Finished:
    """A finished run, the command line that made it without its folder, and what came before it in that folder."""

    words: list[str]
    run: Path
    refused: int
    left_by_refusal: bool


@pytest.fixture(scope="module", params=training_commands())
def finished(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """The run that no one disturbs, in the folder of a command that was refused."""
    folder = tmp_path_factory.mktemp("inputs")
    assert request.param in INPUTS, "a new training command needs tiny inputs"
    common = "--accelerator cpu --diagnose-every 2"
    words = [*request.param.split(), *INPUTS[request.param](folder).split(), *common.split()]
    run, log = folder / "run", folder / "log"
    refused = ended([*words, "--run", str(run), "--freeze", "[nothing_like_it]"], log)
    assert refused != 2 or "error: freeze = 'nothing_like_it'" in log.read_text()
    left = run.exists()
    assert ended([*words, "--run", str(run)], log) == 0, log.read_text()
    return Finished(words, run, refused, left)


def test_a_refused_command_leaves_its_folder_to_the_corrected_one(finished: Finished) -> None:
    assert finished.refused == 2
    assert not finished.left_by_refusal
    RunFolder(finished.run).require_trained()


def test_a_finished_run_is_not_begun_again_and_only_resumed_as_it_was(finished: Finished, tmp_path: Path) -> None:
    words = [*finished.words, "--run", str(finished.run)]
    before = files_of(finished.run)
    assert ended(words, tmp_path / "log") == 2
    assert ended([*words, "--resume", "--learning-rate", "0.5"], tmp_path / "log") == 2
    said = (tmp_path / "log").read_text()
    assert "error: run = " in said
    assert "error: learning-rate = 0.5: " in said
    assert before == files_of(finished.run)


def test_a_dry_run_checks_and_writes_nothing(
    finished: Finished, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before, new = files_of(finished.run), tmp_path / "new"
    assert main([*finished.words, "--run", str(new), "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert f"\na new run in {new}\n" in said
    assert said.endswith("nothing was written\n")
    assert main([*finished.words, "--run", str(finished.run), "--dry-run"]) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert main([*finished.words, "--run", str(finished.run), "--dry-run", "--overwrite", "--json"]) == 0
    planned = json.loads(capsys.readouterr().out)
    assert (planned["what"], planned["run"]) == ("replaces the run", str(finished.run))
    assert list(tmp_path.iterdir()) == []
    assert before == files_of(finished.run)


@for_one_command
def test_a_run_is_replaced_where_it_is_asked_for(finished: Finished, tmp_path: Path) -> None:
    run, log = tmp_path / "run", tmp_path / "log"
    shutil.copytree(finished.run, run)
    words, before = [*finished.words, "--run", str(run), "--overwrite"], files_of(run)
    assert ended([*words, "--freeze", "[nothing_like_it]"], log) == 2, log.read_text()
    assert files_of(run) == before
    assert ended([*words, "--epochs", "2"], log) == 0, log.read_text()
    assert len(RunFolder(run).read_metrics()) == 2
    assert "overwrite" not in RunFolder(run).read_config()
    assert files_of(run).keys() == before.keys()
    assert [path.name for path in tmp_path.iterdir() if path.name not in ("run", "log")] == []


def test_a_folder_that_another_process_writes_to_is_left_alone(finished: Finished, tmp_path: Path) -> None:
    before = files_of(finished.run)
    with locked(finished.run):
        assert ended([*finished.words, "--run", str(finished.run), "--resume"], tmp_path / "log") == 2
    assert f"error: {finished.run}: " in (tmp_path / "log").read_text()
    assert before == files_of(finished.run)


def test_encoders_and_the_sections_of_the_report(finished: Finished) -> None:
    run = RunFolder(finished.run)
    assert type(load_encoder(run.encoder)) is type(load_encoder(run.random_encoder))
    report = run.report.read_text()
    sections = re.findall(r"<h2[^>]*>(.*?)</h2>", report)
    assert {"Training", "Is it collapsing?", "Embeddings", "Configuration"} <= set(sections)
    assert ("Results" in sections) == run.results.exists() != ("results.json is not in the run folder" in report)
    for file in ("metrics.csv", "diagnosis.json", "embeddings.safetensors", "config.yaml"):
        assert f"{file} is not in the run folder" not in report
    embeddings = read_run(run.path).embeddings
    assert embeddings is not None
    assert len(embeddings.titles) == len(embeddings.embedding), "the map says what its points are"


def check_resumed(number: signal.Signals, status: int, finished: Finished, tmp_path: Path) -> None:
    run, log = tmp_path / "run", tmp_path / "log"
    process = start_command([*finished.words, "--run", str(run)], log)
    wait_for_epoch(run, 1)
    assert process.pid is not None
    os.kill(process.pid, number)
    process.join(LIMIT)
    assert process.exitcode == status
    said = log.read_text()
    assert "Traceback" not in said
    if number != signal.SIGKILL:
        assert f"--config {run}/config.yaml --run {run} --resume" in said
        assert said.splitlines()[-1] == {130: "interrupted", 143: "terminated"}[status]
    system, verb = finished.words[:2]
    resume = [system, verb, "--config", f"{run}/config.yaml", "--run", str(run), "--resume"]
    assert ended(resume, log) == 0, log.read_text()
    assert_same_run(run, finished.run)


def test_a_run_that_was_killed_is_resumed_to_the_same_numbers(finished: Finished, tmp_path: Path) -> None:
    check_resumed(signal.SIGKILL, -signal.SIGKILL, finished, tmp_path)


@for_one_command
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_run_that_was_ended_is_resumed_to_the_same_numbers(
    number: signal.Signals, status: int, finished: Finished, tmp_path: Path
) -> None:
    check_resumed(number, status, finished, tmp_path)


@contextmanager
def watched(*files: Path) -> Iterator[dict[str, set[int]]]:
    """When each file was written, as long as the context is open; one that is replaced counts twice."""
    written: dict[str, set[int]] = {file.name: set() for file in files}
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.0005):
            for file in files:
                with suppress(FileNotFoundError):
                    written[file.name].add(file.stat().st_mtime_ns)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield written
    finally:
        done.set()
        watcher.join()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_an_accelerator_trains_and_writes_the_same_files(finished: Finished, tmp_path: Path) -> None:
    run, log = tmp_path / "run", tmp_path / "log"
    assert ended([*finished.words, "--accelerator", "gpu", "--run", str(run)], log) == 0, log.read_text()
    rows, alone = rows_but_seconds(run), rows_but_seconds(finished.run)
    assert [(row["epoch"], row["step"]) for row in rows] == [(row["epoch"], row["step"]) for row in alone]
    assert all(math.isfinite(float(value)) for row in rows for value in row.values() if value)
    assert files_of(run).keys() == files_of(finished.run).keys()


def any_process_of(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


@for_one_command
def test_two_devices_train_one_model_and_write_one_run(
    finished: Finished, tmp_path: Path, start: Callable[..., subprocess.Popen[str]]
) -> None:
    run = tmp_path / "run"
    once = [run / name for name in ("config.yaml", "diagnosis.json", "embeddings.safetensors", "report.html")]
    with watched(*once) as written:
        process = start(*finished.words, "--devices", "2", "--run", str(run), start_new_session=True)
        out, errors = process.communicate(timeout=LIMIT)
        until = time.monotonic() + LIMIT
        while any_process_of(process.pid):
            assert time.monotonic() < until, "the second process did not end"
            time.sleep(0.05)
    assert process.returncode == 0, errors
    assert "Traceback" not in errors
    assert {name: len(times) for name, times in written.items()} == {file.name: 1 for file in once}
    assert out.count("report: ") == 1
    rows, alone = rows_but_seconds(run), rows_but_seconds(finished.run)
    assert [(row["epoch"], row["step"], row["learning_rate"]) for row in rows] == [
        (row["epoch"], row["step"], row["learning_rate"]) for row in alone
    ]
    assert all(math.isfinite(float(value)) for row in rows for value in row.values() if value)
    config, config_alone = (yaml.safe_load((folder / "config.yaml").read_text()) for folder in (run, finished.run))
    assert config == {**config_alone, "devices": 2}
    assert files_of(run).keys() == files_of(finished.run).keys()
    RunFolder(run).require_trained()
