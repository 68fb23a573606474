"""Labels: optima by HiGHS, of many problems side by side, each kept as soon as it is there."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from jepakit.errors import ConfigError, DataError, ModelError
from jepakit.lp.basis import Basis
from jepakit.lp.batch import Optimum
from jepakit.lp.data import LinearProgram
from jepakit.lp.solve import Solver
from jepakit.lp.stored import fingerprint, read_arrays, write_arrays

__all__ = ["label"]


def label(problems: Sequence[LinearProgram], *, cache: Path | None = None, workers: int = 1) -> list[Optimum]:
    """The optima of problems, with their bases.

    Args:
        problems: that have optima.
        cache: a folder that keeps them by what the problem is; interrupted work goes on where it was. None keeps none.
        workers: processes.

    Raises:
        ConfigError: ``workers`` is less than 1.
        DataError: a problem has no optimum; it is named.
    """
    if workers < 1:
        raise ConfigError("workers", workers, "at least 1")
    files = [None if cache is None else cache / f"{fingerprint(problem)}.npz" for problem in problems]
    found = [_kept(file) for file in files]
    missing = [place for place, optimum in enumerate(found) if optimum is None]
    for place, solution in zip(missing, _solved([problems[place] for place in missing], workers), strict=True):
        if isinstance(solution, str):
            raise DataError(f"no optimum: {solution}", field=f"problems[{place}]", value=problems[place].name)
        found[place] = solution
        _keep(solution, files[place])
    return [optimum for optimum in found if optimum is not None]


def _solved(problems: list[LinearProgram], workers: int) -> Iterator[Optimum | str]:
    if workers == 1 or len(problems) < 2:
        solver = Solver()
        yield from (_optimum(solver, problem) for problem in problems)
        return
    # A forked process would share locks of torch's and HiGHS' threads with this one.
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield from pool.map(_alone, problems, chunksize=1)


def _alone(problem: LinearProgram) -> Optimum | str:
    return _optimum(Solver(), problem)


def _optimum(solver: Solver, problem: LinearProgram) -> Optimum | str:
    solution = solver.solve(problem)
    if solution.status != "optimal" or solution.basis is None:
        return solution.message
    return Optimum(solution.x, solution.y, solution.basis)


def _keep(optimum: Optimum, file: Path | None) -> None:
    if file is None:
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    write_arrays(file, x=optimum.x, y=optimum.y, columns=optimum.basis.columns, rows=optimum.basis.rows)


def _kept(file: Path | None) -> Optimum | None:
    if file is None or not file.exists():
        return None
    try:
        stored = read_arrays(file, ("x", "y", "columns", "rows"))
    except ModelError:
        return None  # damaged: it is made again
    return Optimum(stored["x"], stored["y"], Basis(stored["columns"], stored["rows"]))
