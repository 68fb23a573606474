"""What the tests of the command line share: one finished run, and a way to start processes."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from toy_runs import EPOCHS, SCRIPT, Toy, environment, write_tu

from jepakit.cli.main import main


@pytest.fixture(scope="session")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Toy:
    folder = tmp_path_factory.mktemp("toy")
    data = write_tu(folder / "TOY", "TOY", node_labels=3)
    options = f"--dataset {data} --epochs {EPOCHS} --batch-size 8 --encoder.hidden 16 --encoder.layers 2"
    options += " --encoder.dropout 0.2 --encoder.prototypes 8 --objective.sigreg 0.1 --diagnose-every 5"
    options += " --evaluate.classifier logistic --evaluate.folds 2 --evaluate.seeds [0,1] --accelerator cpu"
    toy = Toy(
        data,
        write_tu(folder / "OTHER", "OTHER", node_labels=4),
        write_tu(folder / "BARE", "BARE", node_labels=3, labelled=False),
        folder / "finished",
        options.split(),
    )
    assert main(["graph", "pretrain", *toy.options, "--run", str(toy.run)]) == 0
    return toy


@pytest.fixture
def start() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts the installed command in a process group of its own; whatever is left of it afterwards is killed."""
    started: list[subprocess.Popen[str]] = []

    def start(*words: str | Path, **options: object) -> subprocess.Popen[str]:
        arguments = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "env": environment()}
        started.append(subprocess.Popen([str(SCRIPT), *map(str, words)], **{**arguments, **options}))  # type: ignore[call-overload]
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()
