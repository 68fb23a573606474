"""What has been learned of a family: a model and its neighbours, in the folder of the run that trained them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

from jepakit.errors import DataError, ModelError
from jepakit.lp.data import LinearProgram
from jepakit.lp.model import LPModel
from jepakit.lp.solving.solver import Start
from jepakit.lp.starts.choice import Choice
from jepakit.lp.starts.neighbours import Neighbours
from jepakit.training import RunFolder, load_encoder

__all__ = ["LearnedFamily"]

_NEIGHBOURS, _CHOICE = "neighbours.npz", "starts.json"


@dataclass(frozen=True)
class LearnedFamily:
    """Makes guesses for problems of its family.

    Args:
        model: trained.
        neighbours: what it was trained on, where that has labels.
        choice: which of the two to ask.
    """

    model: LPModel
    neighbours: Neighbours | None = None
    choice: Choice = field(default_factory=Choice)

    @classmethod
    def load(cls, run: Path) -> LearnedFamily:
        """From the folder of a finished run.

        Raises:
            ModelError: it is none, or damaged.
        """
        folder = RunFolder(run)
        folder.require_trained()
        model = load_encoder(folder.encoder)
        if not isinstance(model, LPModel):
            raise ModelError(f"{folder.encoder}: not a model of linear programs but a {type(model).__name__}")
        file = folder.path / _NEIGHBOURS
        if not file.exists():
            return cls(model)
        return cls(model, Neighbours.load(file), Choice.load(folder.path / _CHOICE))

    def save(self, run: Path) -> None:
        """Writes all but the model to the folder of a run; nothing where there were no labels."""
        if self.neighbours is not None:
            self.neighbours.save(run / _NEIGHBOURS)
            self.choice.save(run / _CHOICE)

    def starts(self, problem: LinearProgram) -> tuple[list[Start], str]:
        """Guesses for a problem, and what is to be said about them: nothing, or why there is none of the model."""
        found: list[Start] = []
        told = ""
        if self.neighbours is not None and self.choice.source != "model":
            best = self.neighbours.best(problem)
            found += [] if best is None else [best]
        # A problem of another matrix than those of training has the model left.
        if self.choice.source != "training" or not found:
            try:
                found += self.model.starts([problem])
            except DataError as error:
                told = str(error)
        return [replace(start, edge_weights=self.choice.edge_weights) for start in found], told
