"""Problems solved in turn, each in the way that was measured to be the fastest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import inf
from time import perf_counter
from typing import TYPE_CHECKING

from jepakit.errors import DataError
from jepakit.lp.data import LinearProgram, matrix_fingerprint
from jepakit.lp.solving.solver import Solution, SolveConfig, Solver, Start
from jepakit.lp.starts.kind import Kind

if TYPE_CHECKING:
    from jepakit.lp.starts.choice import Way
    from jepakit.lp.starts.family import LearnedFamily

#: Problems of another kind that are solved both ways, and how many times as many must be left for that to pay.
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
        difference: how they differ.
        problems: the ones tried.
        seconds: with the family, and without.
        use: the outcome; None while it is open.
    """

    difference: str
    problems: list[LinearProgram]
    seconds: list[float] = field(default_factory=lambda: [0.0, 0.0])
    use: bool | None = None

    def covers(self, problem: LinearProgram) -> bool:
        """Whether a problem is of the kind of those tried."""
        return not replace(Kind.of(self.problems), matrix="").difference(problem)


class Stream:
    """Solves problems one after another in one process.

    Without a family each starts from the answer before, if the matrix is the same. With a family each starts in the
    fastest of the measured ways that it allows. Problems of another kind than the family's are solved without it; only
    if many are to come, the first are solved with the model too, and whatever took less time is used from there on.

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
        note = ""
        trial = next((trial for trial in self._trials if trial.covers(problem)), None)
        way = family.choice.network
        if trial is None:
            trial = _Trial(difference, [])
            self._trials.append(trial)
            if way is None or self._left < _LEFT * _TRIED:
                trial.problems.append(problem)
                trial.use = False
                note = f"of another kind than the family's ({difference}): solved without the family"
        if trial.use is None and way is not None:
            return self._tried(problem, family, way, plain, trial)
        if trial.use and way is not None and (starts := family.starts(way, problem)):
            return self._solver.solve(problem, starts), note
        return self._solver.solve(problem, plain), note

    def _tried(
        self, problem: LinearProgram, family: LearnedFamily, way: Way, plain: list[Start], trial: _Trial
    ) -> tuple[Solution, str]:
        """The solution without the family, timed beside one with it."""
        trial.problems.append(problem)
        _ = family.model  # loaded before the clock runs
        begin = perf_counter()
        try:
            self._tried_by.solve(problem, family.starts(way, problem) or [])
        except DataError as error:
            trial.use = False
            note = f"of another kind than the family's ({trial.difference}), and no guess of the model: {error}"
            return self._solver.solve(problem, plain), note
        between = perf_counter()
        solution = self._solver.solve(problem, plain)
        for place, seconds in enumerate((between - begin, perf_counter() - between)):
            trial.seconds[place] += seconds
        with_family, without = trial.seconds
        times = f"{1000 * with_family:.3g} ms with the model, {1000 * without:.3g} without"
        note = f"of another kind than the family's ({trial.difference}): solved both ways, {times}"
        if len(trial.problems) == _TRIED:
            trial.use = with_family < without
            note += f"; from here on {'with the model' if trial.use else 'without the family'}"
        return solution, note


def start_of(solution: Solution) -> Start | None:
    """The answer of a problem as a start for the next; None without an optimum."""
    if solution.status != "optimal":
        return None
    return Start("problem before", solution.x, solution.y, solution.basis)
