"""A trained family: a model, the solved training problems, and the choice between them, in the folder of their run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from jepakit.errors import DataError, ModelError, require_choice
from jepakit.files import read_json, reading, write_json
from jepakit.lp.data import LinearProgram
from jepakit.lp.model import LPModel
from jepakit.lp.solving.basis import BASIC
from jepakit.lp.solving.highs import EdgeWeights
from jepakit.lp.solving.solver import Solver, Start
from jepakit.lp.starts.neighbours import Neighbours
from jepakit.training import RunFolder, load_encoder_as

_NEIGHBOURS, _CHOICE = "neighbours.npz", "starts.json"
#: Number of training problems on which starts are compared.
_COMPARED = 6
#: Devex is chosen where it saves this share of the estimated cost and needs at most so many times the pivots of
#: steepest edges; the limit on pivots is for problems larger than those compared.
_SAVING, _MOST_PIVOTS = 0.2, 1.5
#: Costs in units of one pivot: a solve without pivots, and the linear solve that sets up one steepest edge. Fitted to
#: the processor time of HiGHS 1.15 on unit commitment, DC power flow, set covers, auctions, facility location and
#: independent sets of 100 to 9,000 rows. No clock is read here, so that equal data give equal choices.
_SOLVE_COST, _EDGE_COST = 50.0, 1 / 8
Source = Literal["both", "model", "training"]


@dataclass(frozen=True)
class Choice:
    """What to start from, and how.

    Args:
        source: the ``model``, the optima of ``training``, or ``both``: the solver uses the start with the better bound.
        edge_weights: see `jepakit.lp.solving.solver.Start`.
    """

    source: Source = "both"
    edge_weights: EdgeWeights = "choose"

    def __post_init__(self) -> None:
        require_choice("source", self.source, get_args(Source))
        require_choice("edge_weights", self.edge_weights, get_args(EdgeWeights))

    def save(self, file: Path) -> None:
        """Writes a JSON file."""
        write_json(file, asdict(self))

    @classmethod
    def load(cls, file: Path) -> Choice:
        """Reads a file of `save`.

        Raises:
            ModelError: the file is missing or damaged.
        """
        content = read_json(file, ModelError, expected="a whole file; train again")
        with reading(file, ModelError, expected="the choice that training has written; train again"):
            return cls(**content)


@dataclass(frozen=True)
class LearnedFamily:
    """Makes starts for problems of a family.

    Args:
        model: trained.
        neighbours: the training problems with their optima; None without labels.
        choice: which of the two makes starts.
    """

    model: LPModel
    neighbours: Neighbours | None = None
    choice: Choice = field(default_factory=Choice)

    @classmethod
    def load(cls, run: Path) -> LearnedFamily:
        """Loads the folder of a finished run.

        Raises:
            ModelError: the run is not finished, not of this system, or damaged.
        """
        folder = RunFolder(run)
        folder.require_trained()
        model = load_encoder_as(LPModel, folder.encoder)
        file = folder.path / _NEIGHBOURS
        if not file.exists():
            return cls(model)
        return cls(model, Neighbours.load(file), Choice.load(folder.path / _CHOICE))

    def save(self, run: Path) -> None:
        """Writes neighbours and choice to the folder of a run; nothing without labels."""
        if self.neighbours is not None:
            self.neighbours.save(run / _NEIGHBOURS)
            self.choice.save(run / _CHOICE)

    def starts(self, problem: LinearProgram) -> tuple[list[Start], str]:
        """Starts for a problem, and why the model made none; empty if it did or was not chosen."""
        starts: list[Start] = []
        reason = ""
        if self.neighbours is not None and self.choice.source != "model" and (best := self.neighbours.best(problem)):
            starts.append(best)
        # Without a neighbour of the same matrix only the model can make a start.
        if self.choice.source != "training" or not starts:
            try:
                starts += self.model.starts([problem])
            except DataError as error:
                reason = str(error)
        return [replace(start, edge_weights=self.choice.edge_weights) for start in starts], reason


def choose(problems: Sequence[LinearProgram], model: LPModel, neighbours: Neighbours) -> Choice:
    """Chooses the source that needs fewer pivots, then the edge weights by pivots and set-up cost.

    The model was trained on the problems of the comparison, while a neighbour is never the problem itself. A tie
    therefore goes to the neighbours, which are also cheaper.

    Args:
        problems: of training, in the order of ``neighbours``.
        model: trained on them.
        neighbours: empty if the matrices differ.
    """
    compared = np.unique(np.linspace(0, len(problems) - 1, _COMPARED).round().astype(int))
    starts: dict[Source, list[Start]] = {}
    if len(neighbours) > 1:
        best = [neighbours.best(problems[at], without=int(at)) for at in compared]
        starts["training"] = [start for start in best if start is not None]
    starts["model"] = [model.starts([problems[at]])[0] for at in compared]
    solver = Solver()

    def pivots(source: Source, weights: EdgeWeights) -> list[int]:
        pairs = zip(compared, starts[source], strict=True)
        return [solver.solve(problems[at], [replace(start, edge_weights=weights)]).pivots for at, start in pairs]

    steepest = {source: pivots(source, "steepest") for source in starts}
    source = min(starts, key=lambda source: np.median(steepest[source]))
    return Choice(source, edge_weights_for(sum(steepest[source]), sum(pivots(source, "devex")), starts[source]))


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
