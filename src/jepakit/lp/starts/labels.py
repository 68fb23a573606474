"""Labels: optima by HiGHS, of many problems side by side, each kept as soon as it is there."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from jepakit.errors import ConfigError, DataError, ModelError
from jepakit.files.arrays import read_arrays, write_arrays
from jepakit.lp.data import LinearProgram
from jepakit.lp.formats.stored import fingerprint
from jepakit.lp.networks.batch import Optimum
from jepakit.lp.solving.basis import Basis
from jepakit.lp.solving.solver import Solver

__all__ = ["label", "with_optimum"]


def label(problems: Sequence[LinearProgram], *, cache: Path | None = None, workers: int = 1) -> list[Optimum]:
    """The optima of problems, with their bases.

    Args:
        problems: that have optima; `with_optimum` leaves out those that have none.
        cache: a folder that keeps them by what the problem is; interrupted work goes on where it was. None keeps none.
        workers: processes; a script that asks for more than one needs ``if __name__ == "__main__":``.

    Raises:
        ConfigError: ``workers`` is less than 1.
        DataError: a problem has no optimum; it is named.
    """
    found: list[Optimum] = []
    for place, optimum in enumerate(_found(problems, cache, workers)):
        if isinstance(optimum, str):
            raise DataError(f"no optimum: {optimum}", field=f"problems[{place}]", value=problems[place].name)
        found.append(optimum)
    return found


def with_optimum(
    problems: Sequence[LinearProgram], *, cache: Path | None = None, workers: int = 1
) -> tuple[list[LinearProgram], list[Optimum], list[str]]:
    """Those of the problems that have an optimum, their optima, and of the others why they have none, by name.

    Args:
        problems: perturbed ones, for example.
        cache: see `label`.
        workers: processes.

    Raises:
        ConfigError: ``workers`` is less than 1.
    """
    found = list(_found(problems, cache, workers))
    pairs = [(one, optimum) for one, optimum in zip(problems, found, strict=True) if not isinstance(optimum, str)]
    told = [f"{one.name}: {why}" for one, why in zip(problems, found, strict=True) if isinstance(why, str)]
    return [one for one, _ in pairs], [optimum for _, optimum in pairs], told


def _found(problems: Sequence[LinearProgram], cache: Path | None, workers: int) -> Iterator[Optimum | str]:
    """Of each problem the optimum, or why there is none."""
    if workers < 1:
        raise ConfigError("workers", workers, "at least 1")
    files = [None if cache is None else cache / f"{fingerprint(problem)}.npz" for problem in problems]
    kept = [_kept(file) for file in files]
    solved = _solved([problem for problem, optimum in zip(problems, kept, strict=True) if optimum is None], workers)
    for optimum, file in zip(kept, files, strict=True):
        if optimum is not None:
            yield optimum
            continue
        found = next(solved)
        if not isinstance(found, str):
            _keep(found, file)
        yield found


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
    basis = optimum.basis
    write_arrays(file, {"x": optimum.x, "y": optimum.y, "columns": basis.columns, "rows": basis.rows})


def _kept(file: Path | None) -> Optimum | None:
    if file is None or not file.exists():
        return None
    try:
        stored = read_arrays(file, ("x", "y", "columns", "rows"))
    except ModelError:
        return None  # damaged: it is made again
    return Optimum(stored["x"], stored["y"], Basis(stored["columns"], stored["rows"]))
