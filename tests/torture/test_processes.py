"""Training commands in two processes: each of them is killed, the other ends, and the run goes on to the same numbers.

And the launchers: two processes started as torchrun and SLURM start them train what one process trains.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from toy_runs import SCRIPT, assert_same_run, environment, rows_but_seconds, wait_for_epoch
from training_inputs import INPUTS, training_commands

from processes import LIMIT

pytestmark = pytest.mark.torture

#: Seconds in which a process has to notice that another has ended.
NOTICED = 60
#: Epochs that are not over before one of them is seen.
LONG = "--accelerator cpu --epochs 60 --warmup-epochs 1 --checkpoint-every 1 --diagnose-every 1000 --progress false"
#: Variables by which a process belongs to the group of another command.
GROUP = ("LOCAL_RANK", "NODE_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


@contextmanager
def started(*words: str, **variables: str) -> Iterator[subprocess.Popen[str]]:
    """A command in a session of its own, which is killed at the end."""
    kept = {name: value for name, value in environment(**variables).items() if name not in GROUP or name in variables}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    process = subprocess.Popen(words, env=kept, start_new_session=True, **pipes)  # type: ignore[call-overload]
    try:
        yield process
    finally:
        for one in session_of(process.pid):
            os.kill(one, signal.SIGKILL)
        process.wait()


def session_of(leader: int) -> list[int]:
    """The living processes of a session."""
    found: list[int] = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(") ")[2].split()
        except OSError:
            continue
        if int(fields[3]) == leader and fields[0] != "Z":
            found.append(int(folder.name))
    return found


def finish(process: subprocess.Popen[str], seconds: float = LIMIT) -> str:
    """What it wrote to the standard error, once all processes of its session have ended."""
    _, errors = process.communicate(timeout=seconds)
    until = time.monotonic() + seconds
    while session_of(process.pid):
        assert time.monotonic() < until, "another process did not end"
        time.sleep(0.05)
    return errors


@pytest.mark.parametrize("command", training_commands())
def test_a_process_that_is_killed_ends_the_other_and_the_run_goes_on(command: str, tmp_path: Path) -> None:
    words = [str(SCRIPT), *command.split(), *INPUTS[command](tmp_path).split(), *LONG.split(), "--devices", "2"]
    with started(*words, "--run", str(tmp_path / "undisturbed")) as process:
        errors = finish(process)
        assert process.returncode == 0, errors
    for victim in ("first", "second"):
        run = tmp_path / victim
        with started(*words, "--run", str(run)) as process:
            wait_for_epoch(run, 2)
            first, second = sorted(session_of(process.pid), key=lambda one: one != process.pid)
            os.kill(first if victim == "first" else second, signal.SIGKILL)
            errors = finish(process, NOTICED)
            assert process.returncode == (-signal.SIGKILL if victim == "first" else 2), errors
            assert "another process of this training has ended" in errors
            assert "Traceback" not in errors
        assert len(rows_but_seconds(run)) < 60
        with started(*words, "--run", str(run), "--resume") as process:
            errors = finish(process)
            assert process.returncode == 0, errors
        assert_same_run(run, tmp_path / "undisturbed")


def torchrun(words: list[str], node: int, port: int) -> tuple[list[str], dict[str, str]]:
    place = f"--nnodes 2 --node-rank {node} --nproc-per-node 1 --master-addr 127.0.0.1 --master-port {port}"
    return [str(Path(sys.executable).with_name("torchrun")), *place.split(), "--", *words, "--num-nodes", "2"], {}


def srun(words: list[str], task: int, port: int) -> tuple[list[str], dict[str, str]]:
    """What ``srun --ntasks-per-node 2`` sets on a single machine."""
    facts = {"JOB_ID": "1", "JOB_NAME": "train", "NTASKS": "2", "NTASKS_PER_NODE": "2", "NNODES": "1", "NODEID": "0"}
    facts |= {"NODELIST": "localhost", "PROCID": str(task), "LOCALID": str(task)}
    return [*words, "--devices", "2"], {
        **{f"SLURM_{name}": value for name, value in facts.items()},
        "MASTER_PORT": str(port),
    }


@pytest.mark.parametrize("launcher", [torchrun, srun])
def test_two_processes_of_a_launcher_train_what_one_does(launcher, tmp_path: Path, unused_port: int) -> None:
    inputs = INPUTS["graph pretrain"](tmp_path)
    words = [str(SCRIPT), "graph", "pretrain", *inputs.split(), "--accelerator", "cpu", "--progress", "false"]
    with started(*words, "--run", str(tmp_path / "alone")) as process:
        errors = finish(process)
        assert process.returncode == 0, errors
    run = [*words, "--run", str(tmp_path / "both")]
    commands = [launcher(run, place, unused_port) for place in range(2)]
    with started(*commands[0][0], **commands[0][1]) as first, started(*commands[1][0], **commands[1][1]) as second:
        for process in (second, first):
            errors = finish(process)
            assert process.returncode == 0, errors
    alone, both = (rows_but_seconds(tmp_path / name) for name in ("alone", "both"))
    assert len(alone) == len(both)
    for ours, theirs in zip(both, alone, strict=True):
        for name in (name for name in ours if name.startswith("train/")):
            assert float(ours[name]) == pytest.approx(float(theirs[name]), rel=1e-3)


@pytest.fixture
def unused_port() -> int:
    import socket

    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]
