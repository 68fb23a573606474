"""How much of a basis has to be known before it is worth more than yesterday's?

    python -m benchmarks.lp_known_statuses            # two minutes on two cores
    python -m benchmarks.lp_known_statuses --quick    # a minute: one network

The third day of unit commitment, from the second day's basis, when the new state is known of a share of the columns and
rows whose state has changed: between its sides, held at one by a dual that is not 0, or at one for no price. The best
use of it: what is held leaves the basis, what is between its sides enters, then what has no price, as long as the basis
stays regular. A network that guesses statuses can be no better than that at the share that it has right.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
import scipy.sparse as sp
from scipy.sparse.linalg import splu

from benchmarks.harness import Options, Steps, main, mean_row
from benchmarks.lp_ways import NETWORKS, unit_commitment_days
from jepakit.lp import Basis, LinearProgram, Solution, Solver, Start
from jepakit.lp.data import Array
from jepakit.lp.solving.basis import AT_LOWER, AT_UPPER, BASIC
from jepakit.training.result_rows import ResultRow

SHARES = (1.0, 0.99, 0.95, 0.9, 0.75, 0.5)
_DRAWS = 5
#: A distance or a dual that counts, relative to 1 + the value; a pivot element that does.
_COUNTS, _REGULAR = 1e-7, 1e-6


def rows(options: Options, steps: Steps) -> list[ResultRow]:
    """All rows; `steps` keeps what is already measured."""
    names = list(NETWORKS)[1:2] if options.quick else list(NETWORKS)
    table: list[ResultRow] = []
    for name in names:
        found = steps.value((name,), partial(_measured, name))
        for method, pivots in found.items():
            table.append(mean_row(name, method, "pivots", pivots, lower_is_better=True))
    return table


def _measured(name: str) -> dict[str, list[float]]:
    _, before, problem = unit_commitment_days(name)
    old = Solver().solve(before)
    assert old.basis is not None

    def solved(basis: Basis) -> Solution:
        return Solver().solve(problem, [Start("known", basis=basis)])

    answer = solved(old.basis)
    then, now = _State.of(before, old), _State.of(problem, answer)
    found = {"basis of the day before": [float(answer.pivots)]}
    for share in SHARES:
        pivots: list[float] = []
        for draw in range(_DRAWS if share < 1 else 1):
            known = np.random.default_rng(draw).random(len(now.inside)) < share
            pivots.append(float(solved(_exchanged(problem, old.basis, then.updated(now, known))).pivots))
        found[f"basis of the day before, {100 * share:g} % of the changed statuses known"] = pivots
    return found


@dataclass(frozen=True, eq=False)
class _State:
    """Of each column, then of each row.

    Args:
        inside: strictly between its sides.
        held: by a dual that is not 0.
        side: at which it is held.
    """

    inside: Array
    held: Array
    side: Array

    @classmethod
    def of(cls, problem: LinearProgram, solution: Solution) -> _State:
        values = np.concatenate([solution.x, problem.matrix @ solution.x])
        duals = np.concatenate([solution.z, solution.y])
        lower = np.concatenate([problem.lower, problem.row_lower])
        upper = np.concatenate([problem.upper, problem.row_upper])
        inside = np.minimum(values - lower, upper - values) > _COUNTS * (1 + np.abs(values))
        return cls(inside, np.abs(duals) > _COUNTS, np.where(duals > 0, AT_LOWER, AT_UPPER))

    def updated(self, now: _State, where: Array) -> _State:
        """As it is now at ``where``, and as it was elsewhere."""
        pairs = ((now.inside, self.inside), (now.held, self.held), (now.side, self.side))
        return _State(*(np.where(where, new, old) for new, old in pairs))


def _exchanged(problem: LinearProgram, basis: Basis, state: _State) -> Basis:
    """The basis without what is held, with what is inside and, to make it whole, what has no price.

    Of the rows of B⁻¹N that belong to the leaving ones, columns are taken greedily, by elimination.
    """
    status = np.concatenate([basis.columns, basis.rows])
    basic = np.flatnonzero(status == BASIC)
    leaving = np.flatnonzero((status == BASIC) & state.held)
    others = (status != BASIC) & ~state.held
    entering = np.concatenate([np.flatnonzero(others & state.inside), np.flatnonzero(others & ~state.inside)])
    matrix = sp.csc_array(sp.hstack([problem.matrix, -sp.eye_array(problem.rows)]))
    unit = np.zeros((problem.rows, len(leaving)))
    unit[np.searchsorted(basic, leaving), np.arange(len(leaving))] = 1
    part = (matrix[:, entering].T @ splu(sp.csc_matrix(matrix[:, basic])).solve(unit, trans="T")).T
    free = np.ones(len(leaving), bool)
    for place, column in enumerate(entering):
        if not free.any():
            break
        size = np.where(free, np.abs(part[:, place]), 0)
        row = int(size.argmax())
        if size[row] < _REGULAR:
            continue
        factor = np.where(free, part[:, place] / part[row, place], 0)
        factor[row] = 0
        part -= factor[:, None] * part[row]
        free[row] = False
        status[column] = BASIC
        status[leaving[row]] = state.side[leaving[row]]
    held = (status != BASIC) & state.held
    status[held] = state.side[held]
    return Basis(status[: problem.columns].astype(np.int8), status[problem.columns :].astype(np.int8))


if __name__ == "__main__":
    main("lp_known_statuses", rows)
