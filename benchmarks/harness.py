"""What all benchmarks share: options, measurements that survive an interruption, the result file.

A benchmark is a function ``rows(options, steps) -> list[ResultRow]`` and a call of `main`. Numbers it asks `Steps` for
are kept on disk as soon as they are measured, so that hours of work are never done twice; ``--fresh`` forgets them.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from jepakit.errors import ConfigError
from jepakit.graph.datasets.cache import cache_folder
from jepakit.training import write_text_atomically
from jepakit.training.result_rows import ResultRow

__all__ = ["Options", "Steps", "data_dir", "main", "write_results"]

RESULTS = Path(__file__).parent / "results"
SOURCE = Path(__file__).parents[1]


@dataclass(frozen=True)
class Options:
    """How a benchmark was asked to run.

    Args:
        quick: about two minutes, with the same kinds of rows.
        rival: a checkout of the public code that is measured beside ours, where a benchmark has one.
    """

    quick: bool
    rival: Path | None


class Steps:
    """Measured numbers by key, on disk.

    Args:
        file: a JSON file, read if it is there.
        fresh: forget what it holds.
    """

    def __init__(self, file: Path, *, fresh: bool = False) -> None:
        self.file = file
        self.values: dict[str, float] = json.loads(file.read_text("utf-8")) if file.exists() and not fresh else {}

    def value(self, key: tuple[Any, ...], measure: Callable[[], float]) -> float:
        """The number under ``key``, measured now if it is not known yet."""
        name = json.dumps(key)
        if name not in self.values:
            self.values[name] = measure()
            self.file.parent.mkdir(parents=True, exist_ok=True)
            write_text_atomically(self.file, json.dumps(self.values, indent=1))
            sys.stderr.write(f"{name} {self.values[name]:.4f}\n")
        return self.values[name]


def main(name: str, rows: Callable[[Options, Steps], list[ResultRow]]) -> None:
    """Runs a benchmark from the command line and writes ``results/NAME.json`` (``NAME.quick.json`` with --quick)."""
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{name}")
    parser.add_argument("--quick", action="store_true", help="about two minutes")
    parser.add_argument("--fresh", action="store_true", help="measure again what is known already")
    parser.add_argument("--rival", type=Path, default=None, help="checkout of the rival's public code")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the result file")
    given = parser.parse_args()
    # Numbers of another version of the source are other numbers.
    steps = Steps(cache_folder() / "benchmarks" / f"{name}-{_source_hash()}.json", fresh=given.fresh)
    table = rows(Options(given.quick, given.rival), steps)
    file = write_results(name, table, given.out, quick=given.quick)
    sys.stdout.write(f"{file}\n")


def write_results(name: str, rows: list[ResultRow], folder: Path, *, quick: bool) -> Path:
    """Writes the table with what is needed to repeat it."""
    folder.mkdir(parents=True, exist_ok=True)
    flag = " --quick" if quick else ""
    content = {
        "benchmark": name,
        "commit": _commit(),
        "command": f"python -m benchmarks.{name}{flag}",
        "machine": _machine(),
        "date": datetime.now(UTC).date().isoformat(),
        "rows": [asdict(row) for row in rows],
    }
    file = folder / f"{name}{'.quick' if quick else ''}.json"
    write_text_atomically(file, json.dumps(content, indent=1) + "\n")
    return file


def data_dir() -> Path:
    """The folder JEPAKIT_DATA names.

    Raises:
        ConfigError: it is not set.
    """
    folder = os.environ.get("JEPAKIT_DATA")
    if not folder:
        raise ConfigError("JEPAKIT_DATA", None, "the folder that holds the data sets")
    return Path(folder)


def _source_hash() -> str:
    digest = hashlib.sha256()
    for file in sorted(SOURCE.glob("src/jepakit/**/*.py")):
        digest.update(file.read_bytes())
    return digest.hexdigest()[:12]


def _commit() -> str:
    command = ["git", "rev-parse", "--short", "HEAD"]
    result = subprocess.run(command, cwd=SOURCE, capture_output=True, text=True, check=False)
    return result.stdout.strip() or "unknown"


def _machine() -> str:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    accelerator = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    return (
        f"{os.cpu_count()} cores, {memory:.0f} GiB, {accelerator}, Python {platform.python_version()},"
        f" torch {torch.__version__}"
    )
