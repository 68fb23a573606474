"""Commands that are killed again and again, that find the disk full, or that start twice at once.

Whatever happens, what stands in the place of a result is whole or is not there, and the command that is given next
makes the same result as one that nobody disturbs.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random

import numpy as np
import pytest
from brought import LP, MPS, OPENAI, POLICY, TOOLS, TRIPLES, lines
from toy_runs import SCRIPT, assert_same_run, environment, files_of
from training_inputs import INPUTS, documents, graphs, training_commands

from jepakit.cli.main import main
from processes import LIMIT, ended, start_command

KILLS = 20


@dataclass(frozen=True)
class Job:
    """A command and the place it writes to.

    Args:
        words: the command line, with ``TARGET`` for the place.
        same: compares a result with that of the undisturbed command.
        resumes: whether the command goes on with what a killed one has left.
        name: of the place.
    """

    words: list[str]
    same: Callable[[Path, Path], None]
    resumes: bool = False
    name: str = "result"

    def to(self, target: Path) -> list[str]:
        """The command line that writes to ``target``, or that goes on there."""
        words = [str(target) if word == "TARGET" else word for word in self.words]
        if self.resumes and (target / "config.yaml").exists():
            return [*words[:2], "--config", str(target / "config.yaml"), "--run", str(target), "--resume"]
        return words


def same_files(ours: Path, theirs: Path) -> None:
    """The same bytes in a file, or in all files of a folder."""
    assert ours.is_file() == theirs.is_file()
    if ours.is_file():
        assert ours.read_bytes() == theirs.read_bytes()
    else:
        assert files_of(ours) == files_of(theirs)


def same_but_seconds(ours: Path, theirs: Path) -> None:
    """As `same_files`, without the times in ``solutions.jsonl``."""
    both = [files_of(folder) for folder in (ours, theirs)]
    lines = [files.pop("solutions.jsonl").decode().splitlines() for files in both]
    assert both[0] == both[1]
    times = ("seconds", "reading", "guessing")
    rows = [[{k: v for k, v in json.loads(one).items() if k not in times} for one in part] for part in lines]
    assert rows[0] == rows[1]


def training(name: str) -> Callable[[Path], Job]:
    """A training command on its tiny inputs."""

    def job(folder: Path) -> Job:
        options = INPUTS[name](folder).split()
        words = [*name.split(), *options, "--accelerator", "cpu", "--diagnose-every", "2", "--run", "TARGET"]
        return Job(words, assert_same_run, resumes=True)

    return job


def embedding(folder: Path) -> Job:
    run = folder / "run"
    assert main(["graph", "pretrain", *graphs(folder).split(), "--accelerator", "cpu", "--run", str(run)]) == 0
    return Job(["graph", "embed", str(run), "--out", "TARGET"], same_files, name="result.parquet")


def making_problems(folder: Path) -> Job:
    del folder
    size = '{"rows":8,"columns":6,"density":0.4}'
    return Job(["lp", "generate", "set-cover", "--size", size, "--count", "30", "--out", "TARGET"], same_files)


def solving(folder: Path) -> Job:
    problems = folder / "problems"
    problems.mkdir()
    for number in range(20):
        (problems / f"{number}.mps").write_text(MPS)
        (problems / f"{number}b.lp").write_text(LP)
    return Job(["lp", "solve", str(problems), "--relax", "--out", "TARGET"], same_but_seconds)


def solving_scenarios(folder: Path) -> Job:
    (folder / "a.mps").write_text(MPS)
    sides = {"row_lower:LIM1": np.full(200, 1.5), "row_upper:LIM1": np.linspace(2.0, 8.0, 200)}
    np.savez(folder / "scenarios.npz", **sides)
    words = ["lp", "batch", str(folder / "scenarios.npz"), "--problem", str(folder / "a.mps"), "--relax"]
    return Job([*words, "--out", "TARGET"], same_files, name="result.parquet")


def building(folder: Path) -> Job:
    (folder / "graph.tsv").write_text(TRIPLES)
    return Job(["kgqa", "build", str(folder / "graph.tsv"), "--out", "TARGET"], same_files)


def exporting(folder: Path) -> Job:
    run = folder / "run"
    assert main(["retrieval", "train", *documents(folder).split(), "--accelerator", "cpu", "--run", str(run)]) == 0
    return Job(["retrieval", "export", str(run), "--out", "TARGET"], same_files)


def auditing(folder: Path) -> Job:
    (folder / "traces.jsonl").write_text(lines([{"messages": OPENAI}] * 40))
    (folder / "policy.yaml").write_text(POLICY)
    words = ["guard", "audit", str(folder / "traces.jsonl"), "--policy", str(folder / "policy.yaml")]
    return Job([*words, "--out", "TARGET"], same_files)


def drafting(folder: Path) -> Job:
    (folder / "tools.json").write_text(lines([TOOLS]))
    return Job(["guard", "draft-policy", str(folder / "tools.json"), "--out", "TARGET"], same_files)


JOBS: dict[str, Callable[[Path], Job]] = {
    **{name: training(name) for name in training_commands()},
    "graph embed": embedding,
    "guard audit": auditing,
    "guard draft-policy": drafting,
    "kgqa build": building,
    "lp batch": solving_scenarios,
    "lp generate": making_problems,
    "lp solve": solving,
    "retrieval export": exporting,
}


@dataclass(frozen=True)
class Undisturbed:
    """A job, what it makes when nobody disturbs it, and the seconds that it takes."""

    job: Job
    result: Path
    seconds: float


@pytest.fixture(scope="module", params=JOBS)
def undisturbed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    folder = tmp_path_factory.mktemp("inputs")
    job = JOBS[request.param](folder)
    begin = time.monotonic()
    assert ended(job.to(folder / job.name), folder / "log") == 0, (folder / "log").read_text()
    return Undisturbed(job, folder / job.name, time.monotonic() - begin)


def removed(target: Path) -> None:
    if target.is_dir():
        shutil.rmtree(target)
    else:
        target.unlink(missing_ok=True)


@pytest.mark.torture
def test_killed_again_and_again(undisturbed: Undisturbed, tmp_path: Path) -> None:
    job, target, log = undisturbed.job, tmp_path / undisturbed.job.name, tmp_path / "log"
    draw, kills, whole = Random(0), 0, 0
    while kills < KILLS:
        # A result that does not grow is replaced; a folder that others may have filled is not.
        if not job.resumes and target.exists():
            job.same(target, undisturbed.result) if target.is_file() else None
            removed(target)
        process = start_command(job.to(target), log)
        process.join(draw.uniform(0, 1.1 * undisturbed.seconds))
        if process.is_alive():
            process.kill()
            kills += 1
        process.join()
        if process.exitcode == 0:
            job.same(target, undisturbed.result)
            removed(target)
            whole += 1
        else:
            assert process.exitcode == -9, log.read_text()
    removed(target) if not job.resumes else None
    assert ended(job.to(target), log) == 0, log.read_text()
    job.same(target, undisturbed.result)
    assert "Traceback" not in log.read_text()
    left = [path.name for path in tmp_path.iterdir() if path.name not in (job.name, "log")]
    assert not left, f"left behind after {kills} kills and {whole} results: {left}"


@pytest.mark.torture
def test_two_at_once(undisturbed: Undisturbed, tmp_path: Path) -> None:
    """One of the two makes the result; the other makes the same, or is refused without a trace."""
    job, target = undisturbed.job, tmp_path / undisturbed.job.name
    processes = [start_command(job.to(target), tmp_path / f"log{number}") for number in range(2)]
    for process in processes:
        process.join(LIMIT)
        process.kill()
    codes = sorted(process.exitcode or 0 for process in processes)
    said = [(tmp_path / f"log{number}").read_text() for number in range(2)]
    assert codes in ([0, 0], [0, 2]), said
    assert not any("Traceback" in text for text in said), said
    job.same(target, undisturbed.result)


@pytest.mark.torture
def test_the_same_bytes_in_a_process_with_other_hashes(undisturbed: Undisturbed, tmp_path: Path) -> None:
    target = tmp_path / undisturbed.job.name
    words = [str(SCRIPT), *undisturbed.job.to(target)]
    subprocess.run(words, check=True, timeout=LIMIT, env=environment(PYTHONHASHSEED="12345"), capture_output=True)
    undisturbed.job.same(target, undisturbed.result)


@contextmanager
def small_disk(place: Path, kilobytes: int) -> Iterator[Path]:
    place.mkdir(exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "none", str(place)]
    if os.geteuid() or subprocess.run(mount, check=False).returncode:
        pytest.skip("this test mounts a small disk, which only root can")
    try:
        yield place
    finally:
        subprocess.run(["umount", place], check=True)


@pytest.mark.torture
def test_a_full_disk(undisturbed: Undisturbed, tmp_path: Path) -> None:
    """The command says so in a sentence, wherever the disk ends, and goes on where there is room again."""
    job, log = undisturbed.job, tmp_path / "log"
    result = undisturbed.result
    files = [result] if result.is_file() else [path for path in result.rglob("*") if path.is_file()]
    needed = sum(-(-path.stat().st_size // 4096) * 4 + 4 for path in files)
    failed = 0
    for share in (0.02, 0.1, 0.25, 0.4, 0.55, 0.7, 0.85, 0.95):
        with small_disk(tmp_path / "disk", max(4, int(share * needed))) as disk:
            target = disk / job.name
            log.write_text("")
            code = ended(job.to(target), log)
            said = log.read_text()
            assert "Traceback" not in said, said
            if code != 0:
                failed += 1
                assert code == 2, said
                assert "error: " in said, said
                assert not job.resumes or "No space left" in said or "could not be written" in said, said
            subprocess.run(["mount", "-o", f"remount,size={16 * needed + 4096}k", str(disk)], check=True)
            if not job.resumes:
                removed(target)
            assert ended(job.to(target), log) == 0, log.read_text()
            job.same(target, result)
    # The smallest disk has a block of 4 KiB.
    assert failed or needed <= 8
