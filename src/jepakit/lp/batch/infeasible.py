"""Scenarios without a point: duals that prove one infeasible prove others, by a bound that is linear in what varies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property

import numpy as np

from jepakit.lp.batch.certificate import DualProofs, WidestBounds
from jepakit.lp.batch.scenarios import Scenarios
from jepakit.lp.data import Array
from jepakit.lp.solving.highs import USUAL_TOLERANCE
from jepakit.lp.solving.proof import ROW_TOLERANCE


class InfeasibleProofs:
    """Row duals that prove scenarios infeasible (Farkas' lemma): without costs their bound is above 0.

    Args:
        scenarios: all that are to be proved.
        tolerance: of the rows in their units, ``[m]``; NaN: the usual one.
    """

    def __init__(self, scenarios: Scenarios, tolerance: Array) -> None:
        self._scenarios, self._tolerance = scenarios, np.fmax(tolerance, USUAL_TOLERANCE)
        #: Number of the duals.
        self.count = 0

    @cached_property
    def _proofs(self) -> DualProofs:
        problem = self._scenarios.problem
        without = replace(problem, costs=np.zeros(problem.columns), offset=0.0)
        return DualProofs(WidestBounds(replace(self._scenarios, problem=without)))

    def add(self, rays: Sequence[Array]) -> None:
        """New row duals, ``[m]`` each."""
        if rays:
            numbers = range(self.count, self.count + len(rays))
            self._proofs.add(numbers, np.stack(rays), lambda _: None)
            self.count += len(rays)

    def proved(self, scenarios: Scenarios) -> Array:
        """Which scenarios some of the duals prove infeasible, ``[S]``: for each the most promising ones are checked.

        Scenarios that may have a point within the tolerances of the rows, or the solver's, are left to the solver.
        """
        proofs = self._proofs
        best = proofs.estimates(scenarios).argmax(0)
        within = 2 * ROW_TOLERANCE * proofs.sizes(best, scenarios) + proofs.worth(best, self._tolerance)
        return proofs.bounds(best, scenarios) > within
