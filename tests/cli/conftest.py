"""What the tests of the command line share: a small data set on disk, one finished run, and ways to start processes."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch

from jepakit.cli.main import main

#: The command as it is installed.
SCRIPT = Path(sys.executable).with_name("jepakit")
EPOCHS = 12


def write_tu(folder: Path, name: str, *, node_labels: int, labelled: bool = True) -> Path:
    """A data set in TU format: rings and stars of 4 to 9 nodes, told apart by a label a graph."""
    draw = random.Random(7)
    edges, owners, labels, nodes = [], [], [], []
    for graph in range(24):
        size, first = draw.randint(4, 9), len(owners) + 1
        ring = graph % 2
        for i in range(1, size):
            a, b = first + i, first + (i - 1 if ring else 0)
            edges += [f"{a}, {b}", f"{b}, {a}"]
        if ring:
            edges += [f"{first}, {first + size - 1}", f"{first + size - 1}, {first}"]
        owners += [str(graph + 1)] * size
        labels.append(str(ring))
        nodes += [str(draw.randrange(node_labels)) for _ in range(size - node_labels)]
        nodes += [str(label) for label in range(node_labels)][: size if size < node_labels else node_labels]
    folder.mkdir(parents=True)
    (folder / f"{name}_A.txt").write_text("\n".join(edges) + "\n")
    (folder / f"{name}_graph_indicator.txt").write_text("\n".join(owners) + "\n")
    (folder / f"{name}_node_labels.txt").write_text("\n".join(nodes) + "\n")
    if labelled:
        (folder / f"{name}_graph_labels.txt").write_text("\n".join(labels) + "\n")
    return folder


@dataclass(frozen=True)
class Toy:
    """The data, the options of the run that most tests repeat, and that run."""

    data: Path
    other_features: Path
    unlabelled: Path
    run: Path
    options: list[str] = field(default_factory=list)


@pytest.fixture(scope="session")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Toy:
    folder = tmp_path_factory.mktemp("toy")
    data = write_tu(folder / "TOY", "TOY", node_labels=3)
    options = f"--dataset {data} --epochs {EPOCHS} --batch-size 8 --encoder.hidden 16 --encoder.layers 2"
    options += " --encoder.dropout 0.2 --encoder.prototypes 8 --objective.sigreg 0.1 --diagnose-every 5"
    options += " --evaluate.classifier logistic --evaluate.folds 2 --evaluate.seeds [0,1] --accelerator cpu"
    toy = Toy(
        data,
        write_tu(folder / "OTHER", "OTHER", node_labels=2),
        write_tu(folder / "BARE", "BARE", node_labels=3, labelled=False),
        folder / "finished",
        options.split(),
    )
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    assert main(["graph", "pretrain", *toy.options, "--run", str(toy.run)]) == 0
    torch.set_num_threads(threads)
    return toy


def environment(**changes: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name not in ("JEPAKIT_DATA", "COLUMNS")}
    return {**kept, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", **changes}


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
