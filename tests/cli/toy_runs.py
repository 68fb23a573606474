"""A small data set on disk and the run on it that most tests of the command line share."""

from __future__ import annotations

import csv
import json
import os
import random
import re
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jepakit.training import RunFolder
from processes import LIMIT

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


def wait_for_epoch(run: Path, epoch: int) -> None:
    """Until ``epoch`` stands in metrics.csv: in the middle of the next one, or of what follows."""
    until = time.monotonic() + LIMIT
    while len(RunFolder(run).read_metrics()) <= epoch:
        assert time.monotonic() < until, "the run does not get on"
        time.sleep(0.002)


def assert_same_run(run: Path, reference: Path) -> None:
    """The same files, to the byte, but for times: a column of metrics.csv, the report's date, those Lightning keeps."""
    assert rows_but_seconds(run) == rows_but_seconds(reference)
    ours, theirs = (_without_generations(files_of(folder)) for folder in (run, reference))
    assert ours.keys() == theirs.keys(), sorted(ours.keys() ^ theirs.keys())
    different = {name for name in ours if ours[name] != theirs[name]}
    with_times = {"results.json", "starts.json"}
    assert different <= {"metrics.csv", "report.html", "checkpoints/last.safetensors", *with_times}, different
    for name in different & with_times:
        assert without_times(ours[name]) == without_times(theirs[name])


def _without_generations(files: dict[str, bytes]) -> dict[str, bytes]:
    """An index that was made again has the number of another generation."""
    renamed = {re.sub(r"generation-\d+", "generation", name): content for name, content in files.items()}
    assert len(renamed) == len(files), "generations that are not in use"
    for name in renamed.keys() & {"index/manifest.json"}:
        manifest = json.loads(re.sub(rb"generation-\d+", b"generation", renamed[name]))
        del manifest["generation"], manifest["checksum"]
        renamed[name] = json.dumps(manifest).encode()
    return renamed


def without_times(measured: bytes) -> dict[str, Any]:
    """The content of results.json or starts.json without digest, measured times, and advice that follows from these."""
    content = json.loads(re.sub(rb"\d[\d.,]* s\b", b"", measured))
    del content["sha256"]
    for section in content.get("sections", []):
        kept = [place for place, name in enumerate(section["columns"]) if not name.startswith("seconds")]
        section["rows"] = [[row[place] for place in kept] for row in section["rows"]]
    timed = [row for row in content.get("rows", []) if row["metric"].startswith("time")]
    for row in timed:
        row["value"] = row["note"] = None
    if timed:
        content["recommendation"] = None
    for curve in content.get("curves", []):
        if curve["y_label"].startswith("milliseconds"):
            curve["lines"] = [[name, len(values)] for name, values in curve["lines"]]
    for way in content.get("ways", []):
        way["milliseconds"] = len(way["milliseconds"])
    return content


def files_of(folder: Path) -> dict[str, bytes]:
    """Path from the folder -> content."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def environment(**changes: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name not in ("JEPAKIT_DATA", "COLUMNS")}
    return {**kept, **changes}


def rows_but_seconds(run: Path) -> list[dict[str, str]]:
    """metrics.csv without the one column that no two runs share."""
    with (run / "metrics.csv").open(newline="") as file:
        return [{name: value for name, value in row.items() if name != "seconds"} for row in csv.DictReader(file)]
