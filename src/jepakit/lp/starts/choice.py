"""Where a family's starts come from, and how HiGHS goes on from them: tried out on problems of training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from jepakit.errors import ModelError, require_choice
from jepakit.files import read_json, reading, write_json
from jepakit.lp.data import LinearProgram
from jepakit.lp.model import LPModel
from jepakit.lp.solving.basis import BASIC
from jepakit.lp.solving.highs import EdgeWeights
from jepakit.lp.solving.solver import Solution, Solver, Start
from jepakit.lp.starts.neighbours import Neighbours

__all__ = ["Choice", "choose"]

#: Problems of training that starts are tried on.
_TRIED = 6
#: Devex is chosen where it saves this share of the estimated cost and needs at most so many times the pivots of
#: steepest edges; the limit on pivots is for problems larger than those that are tried.
_SAVING, _MOST_PIVOTS = 0.2, 1.5
#: Costs in units of one pivot: a solve without pivots, and the linear solve that sets up one steepest edge. Fitted to
#: the processor time of HiGHS 1.15 on unit commitment, DC power flow, set covers, auctions, facility location and
#: independent sets of 100 to 9,000 rows. No clock is read here, so that equal data give equal choices.
_SOLVE_COST, _EDGE_COST = 50.0, 1 / 8
Source = Literal["both", "model", "training"]


@dataclass(frozen=True)
class Choice:
    """What was found to pay.

    Args:
        source: the ``model``, the optima of ``training``, or ``both``, of which the one that proves more is used.
        edge_weights: see `jepakit.lp.solving.solver.Start`.
    """

    source: Source = "both"
    edge_weights: EdgeWeights = "choose"

    def __post_init__(self) -> None:
        require_choice("source", self.source, ("both", "model", "training"))
        require_choice("edge_weights", self.edge_weights, ("choose", "devex", "steepest"))

    def save(self, file: Path) -> None:
        """Writes it, whole or not at all."""
        write_json(file, asdict(self))

    @classmethod
    def load(cls, file: Path) -> Choice:
        """Gives it back.

        Raises:
            ModelError: the file is missing or damaged.
        """
        content = read_json(file, ModelError, expected="a whole file; train again")
        with reading(file, ModelError, expected="what training has written; train again"):
            return cls(**content)


def choose(problems: Sequence[LinearProgram], model: LPModel, neighbours: Neighbours) -> Choice:
    """By pivots the source, by pivots and the cost of setting them up the edge weights.

    The model has seen the problems that it is tried on; their own optima are hidden from the neighbours. So where both
    need as many pivots the neighbours are chosen, who cost less besides.

    Args:
        problems: of training, as the neighbours have them.
        model: trained on them.
        neighbours: none of them where matrices differ.
    """
    tried = np.unique(np.linspace(0, len(problems) - 1, _TRIED).round().astype(int))
    starts: dict[Source, list[Start]] = {"model": [model.starts([problems[at]])[0] for at in tried]}
    if len(neighbours) > 1:
        found = [neighbours.best(problems[at], without=int(at)) for at in tried]
        starts["training"] = [start for start in found if start is not None]
    solver = Solver()

    def solved(source: Source, weights: EdgeWeights) -> list[Solution]:
        pairs = zip(tried, starts[source], strict=True)
        return [solver.solve(problems[at], [replace(start, edge_weights=weights)]) for at, start in pairs]

    steepest = {source: solved(source, "steepest") for source in starts}
    # Of equals the last: training.
    source = min(reversed(starts), key=lambda one: np.median([solution.pivots for solution in steepest[one]]))
    devex, exact = (sum(one.pivots for one in each) for each in (solved(source, "devex"), steepest[source]))
    return Choice(source, edge_weights_for(exact, devex, starts[source]))


def edge_weights_for(steepest: int, devex: int, starts: Sequence[Start]) -> EdgeWeights:
    """Devex, where steepest edges cost more to set up than they save.

    Args:
        steepest: pivots with steepest edges from all ``starts``.
        devex: pivots with Devex.
        starts: with a basis each. Every row that is not basic has its steepest edge computed by a linear solve.
    """
    edges = sum(int((start.basis.rows != BASIC).sum()) for start in starts if start.basis is not None)
    solves = _SOLVE_COST * len(starts)
    cheaper = devex + solves <= (1 - _SAVING) * (steepest + solves + _EDGE_COST * edges)
    return "devex" if cheaper and devex <= _MOST_PIVOTS * steepest else "steepest"
