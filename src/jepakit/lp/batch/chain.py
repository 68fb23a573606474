"""Scenarios solved one after another by one HiGHS, each from the answer before, and certified all at once."""

from __future__ import annotations

import numpy as np

from jepakit.lp.batch.certificate import Certifier
from jepakit.lp.batch.results import Found
from jepakit.lp.data import Array
from jepakit.lp.solving.basis import Basis
from jepakit.lp.solving.highs import TIGHT_TOLERANCE, Answer, HighsSolver
from jepakit.lp.solving.solver import SolveConfig


class Chain:
    """Keeps HiGHS with its factorisation from one scenario to the next.

    Args:
        config: limits and options.
    """

    def __init__(self, config: SolveConfig) -> None:
        self._config, self._highs = config, HighsSolver(config.threads, TIGHT_TOLERANCE)
        self._before: Basis | None = None

    def solve(self, found: Found, places: Array, certifier: Certifier) -> tuple[list[Answer], Array]:
        """Solves scenarios as far as HiGHS' answers are certified as they are.

        Args:
            found: where results go.
            places: of the scenarios.
            certifier: of the answers.

        Returns:
            The answers that are optimal, and the scenarios that are not certified.
        """
        if self._config.seconds is not None:
            # Such scenarios get their seconds once.
            return [], places
        answers = [self._answer(found, place) for place in places.tolist()]
        optimal = np.array([answer.status == "optimal" and answer.basis is not None for answer in answers], bool)
        kept = [answer for answer, good in zip(answers, optimal.tolist(), strict=True) if good]
        solved, left = places[optimal], places[~optimal]
        if not kept:
            return [], left
        scenarios, problem = found.scenarios.part(solved), found.scenarios.problem
        low, high = scenarios.bounds_of(np.arange(problem.columns))
        x = np.clip(np.stack([answer.x for answer in kept], axis=1), low, high)
        proved = certifier.proved(scenarios, x, np.stack([answer.y for answer in kept]))
        found.put_each(solved, x, proved, "solver", [answer.pivots for answer in kept])
        for place, answer, holds in zip(solved.tolist(), kept, proved.holds.tolist(), strict=True):
            if not holds and answer.basis is not None:
                found.start_from(place, answer.basis)
        return kept, np.concatenate([left, solved[~proved.holds]])

    def _answer(self, found: Found, place: int) -> Answer:
        config, problem, cold = self._config, found.scenarios.problem_of(place), self._before is None
        answer = self._highs.solve(
            problem,
            self._before,
            pivots=None if cold else config.pivots_from_a_start(problem.rows),
            presolve=config.presolve,
            reduce=config.reduce,
            method=config.method if cold else "simplex",
            # Steepest ones would take longer to make than they save.
            edge_weights="devex",
        )
        if answer.status == "optimal":
            self._before = answer.basis
        return answer
