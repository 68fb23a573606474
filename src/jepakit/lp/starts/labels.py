"""Labels: optima by HiGHS, of many problems in parallel, each cached as soon as it is computed."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from jepakit.errors import ConfigError, DataError, ModelError
from jepakit.files.arrays import read_arrays, write_arrays
from jepakit.lp.data import LinearProgram, fingerprint
from jepakit.lp.solving.basis import Basis, Optimum
from jepakit.lp.solving.certificate import residuals
from jepakit.lp.solving.highs import HighsSolver
from jepakit.lp.solving.solver import Solver
from jepakit.mapping import Map
from jepakit.progress import tracked


def label(
    problems: Sequence[LinearProgram], *, cache: str | Path | None = None, workers: int = 1, mapped: Map | None = None
) -> list[Optimum]:
    """The optima of problems, with their bases.

    Args:
        problems: each must have an optimum; `with_optimum` leaves out those that have none.
        cache: a folder of optima by the fingerprint of their problem, so that interrupted work can be resumed; None: no
            cache.
        workers: number of processes; a script needs ``if __name__ == "__main__":`` to use more than one.
        mapped: where problems are solved instead, see `jepakit.mapping.mapping`.

    Raises:
        ConfigError: ``workers`` is less than 1.
        DataError: names a problem without an optimum.
    """
    optima: list[Optimum] = []
    for place, optimum in enumerate(_optima_or_reasons(problems, cache, workers, mapped)):
        if isinstance(optimum, str):
            raise DataError(f"no optimum: {optimum}", field=f"problems[{place}]", value=problems[place].name)
        optima.append(optimum)
    return optima


def with_optimum(
    problems: Sequence[LinearProgram], *, cache: str | Path | None = None, workers: int = 1, mapped: Map | None = None
) -> tuple[list[LinearProgram], list[Optimum], list[str]]:
    """The problems that have an optimum, their optima, and a line per other problem: its name and the reason.

    Args:
        problems: for example perturbed ones, which may be infeasible.
        cache: see `label`.
        workers: see `label`.
        mapped: see `label`.

    Raises:
        ConfigError: ``workers`` is less than 1.
    """
    results = list(zip(problems, _optima_or_reasons(problems, cache, workers, mapped), strict=True))
    pairs = [(problem, optimum) for problem, optimum in results if isinstance(optimum, Optimum)]
    left_out = [f"{problem.name}: {reason}" for problem, reason in results if isinstance(reason, str)]
    return [problem for problem, _ in pairs], [optimum for _, optimum in pairs], left_out


def _optima_or_reasons(
    problems: Sequence[LinearProgram], cache: str | Path | None, workers: int, mapped: Map | None
) -> Iterator[Optimum | str]:
    """For each problem the optimum, or the reason why it has none."""
    if workers < 1 or (mapped is not None and workers > 1):
        raise ConfigError("workers", workers, "at least 1" if mapped is None else "1 where Ray has the workers")
    files = [None if cache is None else Path(cache) / f"{fingerprint(problem)}.npz" for problem in problems]
    cached = [_read(file) for file in files]
    missing = [problem for problem, optimum in zip(problems, cached, strict=True) if optimum is None]
    solved = _solved(missing, workers) if mapped is None else mapped(_optimum, missing)
    for optimum, file in tracked(zip(cached, files, strict=True), "solving", len(problems), unit="problems"):
        result = optimum or next(solved)
        if file is not None and optimum is None and isinstance(result, Optimum):
            basis = result.basis
            write_arrays(file, {"x": result.x, "y": result.y, "columns": basis.columns, "rows": basis.rows})
        yield result


def _solved(problems: list[LinearProgram], workers: int) -> Iterator[Optimum | str]:
    if workers == 1 or len(problems) < 2:
        yield from map(_optimum, problems)
        return
    # Spawned, because a forked process inherits locks of the threads of torch and HiGHS.
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield from pool.map(_optimum, problems)


def _optimum(problem: LinearProgram) -> Optimum | str:
    """HiGHS' answer without a proof, since every start is checked when it is used; a `Solver` where it gives none."""
    if (problem.lower <= problem.upper).all():
        answer = HighsSolver().solve(problem)
        if answer.status == "optimal" and answer.basis and residuals(problem, answer.x, answer.y).optimal:
            return Optimum(answer.x, answer.y, answer.basis)
    solution = Solver().solve(problem)
    if solution.status != "optimal" or solution.basis is None:
        return solution.message
    return Optimum(solution.x, solution.y, solution.basis)


def _read(file: Path | None) -> Optimum | None:
    if file is None or not file.exists():
        return None
    try:
        stored = read_arrays(file, ("x", "y", "columns", "rows"))
    except ModelError:
        return None  # A damaged file is computed again.
    return Optimum(stored["x"], stored["y"], Basis(stored["columns"], stored["rows"]))
