"""Problems solved in turn, each in the way that was measured to be the fastest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import inf
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

from jepakit.errors import DataError
from jepakit.lp.data import LinearProgram, matrix_fingerprint
from jepakit.lp.solving.solver import Solution, SolveConfig, Solver, Start
from jepakit.lp.starts.advice import NETWORK_MS
from jepakit.lp.starts.kind import Kind

if TYPE_CHECKING:
    from jepakit.lp.starts.choice import Way
    from jepakit.lp.starts.family import LearnedFamily

#: Problems of another kind that are solved both ways. So many times as many must be left, and they must take so many
#: times as long as loading a network.
_TRIED, _LEFT = 3, 3


@dataclass(frozen=True)
class Step:
    """A problem of a stream.

    Args:
        solution: of the problem.
        guessing: seconds that the start took, and whatever else was not the solve.
        note: what the user has to know of the start; mostly empty.
    """

    solution: Solution
    guessing: float
    note: str = ""


@dataclass
class _Trial:
    """Problems of another kind than the family's, solved with the family and without it.

    Args:
        problems: the ones tried.
        with_family: seconds that they took.
        without: seconds without the family.
        use: the outcome; None while it is open.
    """

    problems: list[LinearProgram]
    with_family: float = 0.0
    without: float = 0.0
    use: bool | None = None

    def covers(self, problem: LinearProgram) -> bool:
        """Whether a problem is of the kind of those tried."""
        return not replace(Kind.of(self.problems), matrix="").difference(problem)


class Stream:
    """Solves problems one after another in one process.

    Without a family each starts from the answer before, if the matrix is the same. With a family each starts in the
    fastest of the measured ways that it allows. Problems of another kind than the family's are solved without it; only
    if many are to come that take long, the first are solved with the model too, and what took less time is used after.

    Args:
        config: how to solve.
        family: gives starts.
        rolling: start from the answer before, where that is the way to choose.
        count: number of problems that are to come, which decides whether loading a network pays; None: many.
    """

    def __init__(
        self,
        config: SolveConfig | None = None,
        *,
        family: LearnedFamily | None = None,
        rolling: bool = True,
        count: int | None = None,
    ) -> None:
        self._solver, self._tried_by = Solver(config), Solver(config)
        self._family, self._rolling = family, rolling
        self._left = inf if count is None else float(count)
        self._before: tuple[str, Start] | None = None
        self._trials: list[_Trial] = []

    @classmethod
    def open(
        cls, run: str | Path, config: SolveConfig | None = None, *, rolling: bool = True, count: int | None = None
    ) -> Stream:
        """A stream with the family of a finished run; the other arguments are those of the constructor.

        Raises:
            ModelError: the run is not finished, not of this system, or damaged.
        """
        from jepakit.lp.starts.family import LearnedFamily

        return cls(config, family=LearnedFamily.open(run), rolling=rolling, count=count)

    def solve(self, problem: LinearProgram, given: Sequence[Start] = ()) -> Step:
        """Solves the next problem.

        Args:
            problem: the problem.
            given: starts to use instead of the stream's own.

        Raises:
            ConfigError: see `Solver.solve`.
            DataError: a given start has another size than the problem.
        """
        begin = perf_counter()
        matrix = matrix_fingerprint(problem)
        before = self._before[1] if self._rolling and self._before and self._before[0] == matrix else None
        solution, note = self._solved(problem, list(given), before)
        self._left -= 1
        if start := start_of(solution):
            self._before = matrix, start
        return Step(solution, perf_counter() - begin - solution.seconds, note)

    def _solved(self, problem: LinearProgram, given: list[Start], before: Start | None) -> tuple[Solution, str]:
        plain = [] if before is None else [before]
        family = self._family
        if given or family is None:
            return self._solver.solve(problem, given or plain), ""
        if difference := family.choice.difference(problem):
            return self._of_another_kind(problem, family, plain, difference)
        note = ""
        for way in family.choice.ranked(self._left, loaded=family.loaded):
            if way.source == "problem before" and not self._rolling:
                continue
            try:
                starts = family.starts(way, problem, before)
            except DataError as error:
                note = f"no guess of the model: {error}"
                continue
            if starts is not None:
                # Of starts that were not measured the bounds decide.
                starts = starts if family.choice.measured else plain + starts
                return self._solver.solve(problem, starts, method=way.method), note
        return self._solver.solve(problem, plain), note

    def _of_another_kind(
        self, problem: LinearProgram, family: LearnedFamily, plain: list[Start], difference: str
    ) -> tuple[Solution, str]:
        """A problem that is not of the family's kind: ``plain`` is its start without the family."""
        way = family.choice.network
        trial = next((trial for trial in self._trials if trial.covers(problem)), None)
        if trial is not None and trial.use is not None:
            starts = family.starts(way, problem) if trial.use and way is not None else None
            return self._solver.solve(problem, starts or plain), ""
        begin = perf_counter()
        solution = self._solver.solve(problem, plain)
        seconds = perf_counter() - begin
        if trial is None:
            trial = _Trial([])
            self._trials.append(trial)
        trial.problems.append(problem)
        if way is None or (len(trial.problems) == 1 and not self._worth_a_trial(family, seconds)):
            trial.use = False
            outcome = ": solved without the family"
        else:
            outcome = self._tried(problem, family, way, trial, seconds)
        return solution, f"of another kind than the family's ({difference}){outcome}"

    def _worth_a_trial(self, family: LearnedFamily, seconds: float) -> bool:
        """Whether solving the problems that are left may take long enough for a trial to pay, and for loading."""
        loading = 0.0 if family.loaded else NETWORK_MS / 1000
        return self._left >= _LEFT * _TRIED and self._left * seconds >= _LEFT * loading

    def _tried(self, problem: LinearProgram, family: LearnedFamily, way: Way, trial: _Trial, without: float) -> str:
        """Solves with the family what took so many seconds without it; returns what is to be said."""
        _ = family.model  # loaded before the clock runs
        begin = perf_counter()
        try:
            self._tried_by.solve(problem, family.starts(way, problem) or [])
        except DataError as error:
            trial.use = False
            return f", and no guess of the model: {error}"
        trial.with_family += perf_counter() - begin
        trial.without += without
        times = f"{1000 * trial.with_family:.3g} ms with the model, {1000 * trial.without:.3g} without"
        if len(trial.problems) < _TRIED:
            return f": solved both ways, {times}"
        trial.use = trial.with_family < trial.without
        used = "with the model" if trial.use else "without the family"
        return f": solved both ways, {times}; from here on {used}"


def start_of(solution: Solution) -> Start | None:
    """The answer of a problem as a start for the next; None without an optimum."""
    if solution.status != "optimal":
        return None
    return Start("problem before", solution.x, solution.y, solution.basis)
