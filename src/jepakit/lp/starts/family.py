"""A trained family: a model and the solved training problems, in the folder of their run."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

from jepakit.errors import DataError
from jepakit.lp.data import LinearProgram
from jepakit.lp.model import LPModel
from jepakit.lp.solving.solver import Start
from jepakit.lp.starts.choice import Choice
from jepakit.lp.starts.neighbours import Neighbours
from jepakit.training import RunFolder, load_encoder_as

_NEIGHBOURS, _CHOICE = "neighbours.npz", "starts.json"


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
        if self.neighbours is not None and self.choice.source != "model":
            best = self.neighbours.best(problem)
            starts += [] if best is None else [best]
        # Without a neighbour of the same matrix only the model can make a start.
        if self.choice.source != "training" or not starts:
            try:
                starts += self.model.starts([problem])
            except DataError as error:
                reason = str(error)
        return [replace(start, edge_weights=self.choice.edge_weights) for start in starts], reason
