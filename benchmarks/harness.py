"""What all benchmarks share: options, measurements that survive an interruption, the result file.

A benchmark is a function ``rows(options, steps) -> list[ResultRow]`` and a call of `main`. Numbers it asks `Steps` for
are kept on disk as soon as they are measured, so that hours of work are never done twice; ``--fresh`` forgets them, and
so does any change of the package's source.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from multiprocessing import get_context
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch

from jepakit.datasets.folders import cache_folder
from jepakit.errors import ConfigError, JepakitError
from jepakit.files import write_text
from jepakit.training.result_rows import ResultRow, read_rows

T = TypeVar("T")

__all__ = [
    "RESULTS",
    "Options",
    "Steps",
    "data_dir",
    "judged",
    "main",
    "mean_row",
    "side_by_side",
    "workers",
    "write_results",
]

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

    A key holds everything a number depends on besides the source: data set, metric, method, seed, whether it is quick.

    Args:
        file: a JSON file, read if it is there.
        fresh: forget what it holds.
    """

    def __init__(self, file: Path, *, fresh: bool = False) -> None:
        self.file = file
        self.values: dict[str, Any] = json.loads(file.read_text("utf-8")) if file.exists() and not fresh else {}

    def known(self, key: tuple[Any, ...]) -> bool:
        """Whether ``key`` is measured already."""
        return json.dumps(key) in self.values

    def value(self, key: tuple[Any, ...], measure: Callable[[], T]) -> T:
        """The number (or what else JSON can hold) under ``key``, measured now if it is not known yet."""
        name = json.dumps(key)
        if name not in self.values:
            self.values[name] = measure()
            write_text(self.file, json.dumps(self.values, indent=1))
            shown = self.values[name]
            sys.stderr.write(f"{name} {shown:.4f}\n" if isinstance(shown, float) else f"{name} measured\n")
        return self.values[name]


def main(
    name: str,
    rows: Callable[[Options, Steps], list[ResultRow]],
    arguments: Sequence[str] | None = None,
    *,
    depends_on: str = "**/*.py",
) -> None:
    """Runs a benchmark from the command line and writes ``results/NAME.json`` (``NAME.quick.json`` with --quick).

    Args:
        name: of the benchmark's module.
        rows: measures and returns the table.
        arguments: of the command line; None: those of the process.
        depends_on: pattern of the package's files that the numbers depend on; by default all of them.

    Raises:
        SystemExit: the benchmark cannot run as asked; the message is the `JepakitError`'s.
    """
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{name}")
    parser.add_argument("--quick", action="store_true", help="about two minutes")
    parser.add_argument("--fresh", action="store_true", help="measure again what is known already")
    parser.add_argument("--rival", type=Path, default=None, help="checkout of the rival's public code")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the result file")
    given = parser.parse_args(arguments)
    options = Options(given.quick, given.rival)
    # Numbers of another version of the source are other numbers.
    steps = Steps(cache_folder() / "benchmarks" / f"{name}-{_source_hash(depends_on)}.json", fresh=given.fresh)
    try:
        file = write_results(name, rows(options, steps), given.out, options)
    except JepakitError as error:
        sys.exit(f"benchmarks.{name}: {error}")
    sys.stdout.write(f"{file}\n")


def workers(count: int | None = None) -> ProcessPoolExecutor:
    """Processes of one thread each, for `side_by_side`; as many as there are cores, or ``count``."""
    return ProcessPoolExecutor(
        count or os.cpu_count(), get_context("spawn"), initializer=torch.set_num_threads, initargs=(1,)
    )


def side_by_side(
    pool: ProcessPoolExecutor, steps: Steps, jobs: Mapping[tuple[Any, ...], Callable[[], T]]
) -> dict[tuple[Any, ...], T]:
    """The numbers of several jobs by key: what is known already, and the rest in other processes, the first first.

    Where a job fails the others go on, so that their numbers are kept, and its error is raised at the end.
    """
    running = {pool.submit(job): key for key, job in jobs.items() if not steps.known(key)}
    errors: list[BaseException] = []
    for future in as_completed(running):
        if (error := future.exception()) is None:
            steps.value(running[future], future.result)
        else:
            sys.stderr.write(f"{json.dumps(running[future])} failed: {error!r}\n")
            errors.append(error)
    if errors:
        raise errors[0]
    return {key: steps.value(key, job) for key, job in jobs.items()}


def write_results(name: str, rows: Sequence[ResultRow], folder: Path, options: Options) -> Path:
    """Writes the table with what is needed to repeat it, in one piece or not at all.

    Raises:
        DataError: a row has no data set, method or metric, or a number that is not finite.
    """
    table = [asdict(judged(row)) for row in rows]
    read_rows(table)
    # Of a path only the last part: where a checkout lies on this machine is nobody's business.
    flags = " --quick" if options.quick else ""
    flags += f" --rival {options.rival.name}" if options.rival else ""
    content = {
        "benchmark": name,
        "commit": _commit(),
        "command": f"python -m benchmarks.{name}{flags}",
        "machine": _machine(),
        "date": datetime.now(UTC).date().isoformat(),
        "rows": table,
    }
    file = folder / f"{name}{'.quick' if options.quick else ''}.json"
    write_text(file, json.dumps(content, indent=1, allow_nan=False) + "\n")
    return file


def mean_row(dataset: str, method: str, metric: str, values: Sequence[float], **more: Any) -> ResultRow:
    """The mean and spread of a value for each seed; without values, a row that says there are none.

    Args:
        dataset: see `ResultRow`.
        method: see `ResultRow`.
        metric: see `ResultRow`.
        values: one for each seed.
        more: other fields of `ResultRow`.
    """
    mean = float(np.mean(values)) if values else None
    spread = float(np.std(values, ddof=1)) if len(values) > 1 else None
    fields: dict[str, Any] = {"seeds": len(values) or None, **more}
    return ResultRow(dataset, method, metric, mean, spread, **fields)


def judged(row: ResultRow) -> ResultRow:
    """The row with ``met`` filled in, where it has a value and an aim and ``met`` is not given."""
    if row.met is not None or row.aim is None or row.value is None:
        return row
    return replace(row, met=row.value <= row.aim if row.lower_is_better else row.value >= row.aim)


def data_dir() -> Path:
    """The folder JEPAKIT_DATA names.

    Raises:
        ConfigError: it is not set.
    """
    folder = os.environ.get("JEPAKIT_DATA")
    if not folder:
        raise ConfigError("JEPAKIT_DATA", None, "the folder that holds the data sets")
    return Path(folder)


def _source_hash(pattern: str) -> str:
    digest = hashlib.sha256()
    for file in sorted((SOURCE / "src" / "jepakit").glob(pattern)):
        digest.update(file.read_bytes())
    return digest.hexdigest()[:12]


def _commit() -> str:
    """The version of the source; where only a copy of it is, the variable JEPAKIT_COMMIT says which."""
    if given := os.environ.get("JEPAKIT_COMMIT"):
        return given
    if shutil.which("git") is None:
        return "unknown"
    command = ["git", "describe", "--always", "--dirty", "--exclude=*"]
    result = subprocess.run(command, cwd=SOURCE, capture_output=True, text=True, check=False)
    return result.stdout.strip() or "unknown"


def _machine() -> str:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    accelerator = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    return (
        f"{os.cpu_count()} cores of {_processor()}, {memory:.0f} GiB, {accelerator}, Python"
        f" {platform.python_version()}, torch {torch.__version__}"
    )


def _processor() -> str:
    """The processor's model, which Linux keeps elsewhere than other systems."""
    file = Path("/proc/cpuinfo")
    lines = file.read_text("utf-8").splitlines() if file.exists() else []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor() or platform.machine()
