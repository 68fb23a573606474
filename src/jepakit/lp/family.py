"""What has been learned of a family: a model and its neighbours, in the folder of the run that trained them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from jepakit.errors import DataError, ModelError
from jepakit.lp.data import LinearProgram
from jepakit.lp.model import LPModel
from jepakit.lp.neighbours import Neighbours
from jepakit.lp.solve import Start
from jepakit.training import RunFolder, load_encoder

__all__ = ["NEIGHBOURS", "LearnedFamily"]

NEIGHBOURS = "neighbours.npz"


@dataclass(frozen=True)
class LearnedFamily:
    """Makes guesses for problems of its family.

    Args:
        model: trained.
        neighbours: what it was trained on, where that has labels and one matrix.
    """

    model: LPModel
    neighbours: Neighbours | None = None

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
        file = folder.path / NEIGHBOURS
        return cls(model, Neighbours.load(file) if file.exists() else None)

    def starts(self, problem: LinearProgram) -> tuple[list[Start], str]:
        """Guesses for a problem, and what is to be said about them: nothing, or why there is none of the model."""
        found: list[Start] = []
        told = ""
        try:
            found += self.model.starts([problem])
        except DataError as error:
            told = str(error)
        best = None if self.neighbours is None else self.neighbours.best(problem)
        return [*found, *([] if best is None else [best])], told
