"""What work costs by its size: seconds of one core and memory, and what ten and a hundred times as much would take.

    python -m benchmarks.costs            # some minutes
    python -m benchmarks.costs --quick    # less than a minute: small sizes

Each kind of work is done in a process of its own, first a small piece of it, so that imports and first calls do not
count, then the sizes in their order. Seconds are CPU seconds of one thread; memory is the most that the process takes
beyond the small piece. Beyond the
largest size both are continued as they grew between the last two: by the power of the size where it is above 1, else
along the line, since a part that is the same for all sizes makes the power small.
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
    seconds, memory = zip(*costs, strict=True)
    cells = {f"s, 1/{sizes[-1] // size}": cost for size, cost in zip(sizes[:-1], seconds[:-1], strict=True)}
    cells |= {"s": seconds[-1], **{f"s, {n} times, extrapolated": continued(sizes, seconds, n) for n in CONTINUED}}
    cells |= {"MiB": memory[-1], **{f"MiB, {n} times, extrapolated": continued(sizes, memory, n) for n in CONTINUED}}
    power = _power(sizes, seconds)
    note = f"time grows with the power {power:.1f} of the size" if power > 1 else "time grows in proportion, or less"
    return [
        ResultRow(column, f"{name}: {sizes[-1]:,}", TABLE, value, note=note, ours=True, lower_is_better=True)
        for column, value in cells.items()
    ]


def continued(sizes: Sequence[int], values: Sequence[float], times: int) -> float:
    """The value of so many times the largest size, if it goes on growing as between the last two."""
    power = _power(sizes, values)
    if power > 1:
        return values[-1] * times**power
    slope = max(0.0, values[-1] - values[-2]) / (sizes[-1] - sizes[-2])
    return values[-1] + slope * (times - 1) * sizes[-1]


def _power(sizes: Sequence[int], values: Sequence[float]) -> float:
    before, last = (max(value, 1e-3) for value in values[-2:])
    return math.log(last / before, sizes[-1] / sizes[-2])


if __name__ == "__main__":
    main("costs", rows)
