"""What work costs by its size: seconds of one core and memory, and what ten and a hundred times as much would take.

    python -m benchmarks.costs            # some minutes
    python -m benchmarks.costs --quick    # less than a minute: small sizes

Each kind of work is done in a process of its own, first a small piece of it, so that imports and first calls do not
count, then the sizes in their order. Seconds are CPU seconds of one thread; memory is the most that the process takes
beyond the small piece. Beyond the
largest size, time is continued by the power of the size by which it grew between the last two, and memory in
proportion.
"""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import torch

from benchmarks.costs_work import WORKS
from benchmarks.harness import Options, Steps, main
from benchmarks.kgqa_scale_home import in_own_process, peak_memory
from jepakit.training.result_rows import ResultRow

TABLE = "cost, of the size that stands behind the work"
#: A size is so many times the one before; so many are measured, and continued by such factors.
GROWTH, MEASURED, CONTINUED = 4, 3, (10, 100)


def rows(options: Options, steps: Steps) -> list[ResultRow]:
    """All rows; `steps` keeps what is already measured."""
    table: list[ResultRow] = []
    for number, work in enumerate(WORKS):
        sizes = [work.smallest * GROWTH**power for power in range(2 if options.quick else MEASURED)]
        costs = steps.value((work.name, sizes), partial(in_own_process, measure, number, sizes))
        table += rows_of(work.name, sizes, costs)
    return table


def measure(number: int, sizes: Sequence[int]) -> list[tuple[float, float]]:
    """CPU seconds and MiB that the work of this number takes in this process, for ascending sizes."""
    torch.set_num_threads(1)
    work = WORKS[number]
    costs: list[tuple[float, float]] = []
    with tempfile.TemporaryDirectory() as folder:
        work.do(work.smallest // 2, Path(folder) / "small")
        before = peak_memory()
        for size in sizes:
            start = time.process_time()
            work.do(size, Path(folder) / str(size))
            costs.append((time.process_time() - start, 1024 * (peak_memory() - before)))
    return costs


def rows_of(name: str, sizes: Sequence[int], costs: Sequence[Sequence[float]]) -> list[ResultRow]:
    """The cells of a kind of work: measured ones, and those that continue them.

    Args:
        name: of the work.
        sizes: that were measured, ascending.
        costs: seconds and MiB of each.
    """
    (before, _), (seconds, memory) = costs[-2:]
    power = max(0.0, math.log(seconds / before, sizes[-1] / sizes[-2]))
    cells = {f"s, 1/{sizes[-1] // size}": cost[0] for size, cost in zip(sizes[:-1], costs[:-1], strict=True)}
    cells |= {"s": seconds, **{f"s, {factor} times, extrapolated": seconds * factor**power for factor in CONTINUED}}
    cells |= {"MiB": memory, **{f"MiB, {factor} times, extrapolated": memory * factor for factor in CONTINUED}}
    note = f"time grows with the power {power:.1f} of the size"
    return [
        ResultRow(column, f"{name}: {sizes[-1]:,}", TABLE, value, note=note, ours=True, lower_is_better=True)
        for column, value in cells.items()
    ]


if __name__ == "__main__":
    main("costs", rows)
