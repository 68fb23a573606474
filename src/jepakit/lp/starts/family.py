"""A trained family: a model, the solved training problems, and the measured choice, in the folder of their run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from jepakit.lp.data import LinearProgram
from jepakit.lp.solving.solver import Start
from jepakit.lp.starts.choice import Choice, Way
from jepakit.lp.starts.neighbours import Neighbours

if TYPE_CHECKING:
    from jepakit.lp.model import LPModel

_NEIGHBOURS, _CHOICE = "neighbours.npz", "starts.json"


class LearnedFamily:
    """Makes starts for problems of a family. Model and neighbours are loaded when they are first used.

    Args:
        choice: the ways to start, as measured.
        model: gives the trained model.
        neighbours: gives the training problems with their optima; None without labels.
    """

    def __init__(
        self, choice: Choice, model: Callable[[], LPModel], neighbours: Callable[[], Neighbours | None]
    ) -> None:
        self.choice = choice
        self._model, self._neighbours = model, neighbours

    @classmethod
    def of(cls, choice: Choice, model: LPModel, neighbours: Neighbours | None = None) -> LearnedFamily:
        """A family in memory."""
        family = cls(choice, lambda: model, lambda: neighbours)
        family.__dict__["model"] = model
        return family

    @classmethod
    def open(cls, run: str | Path) -> LearnedFamily:
        """Opens the folder of a finished run.

        Raises:
            ModelError: the run is not finished, not of this system, or damaged.
        """
        run = Path(run)
        encoder, neighbours = run / "encoder", run / _NEIGHBOURS
        if not ((encoder / "config.json").exists() and (run / _CHOICE).exists()):
            # What is missing, or of another system, is named by what needs PyTorch.
            from jepakit.training import RunFolder

            RunFolder(run).require_trained()
            _load_model(encoder)
        return cls(
            Choice.load(run / _CHOICE),
            lambda: _load_model(encoder),
            lambda: Neighbours.load(neighbours) if neighbours.exists() else None,
        )

    @cached_property
    def model(self) -> LPModel:
        """The trained model."""
        return self._model()

    @cached_property
    def neighbours(self) -> Neighbours | None:
        """The training problems with their optima; None without labels."""
        return self._neighbours()

    @property
    def loaded(self) -> bool:
        """Whether the model is loaded."""
        return "model" in self.__dict__

    def save(self, run: str | Path) -> None:
        """Writes choice and neighbours to the folder of a run."""
        run = Path(run)
        if self.neighbours is not None:
            self.neighbours.save(run / _NEIGHBOURS)
        self.choice.save(run / _CHOICE)

    def starts(self, way: Way, problem: LinearProgram, before: Start | None = None) -> list[Start] | None:
        """What a way starts from: nothing for a cold one; None if the problem does not allow the way.

        Args:
            way: one of the choice.
            problem: the problem.
            before: the answer of the problem before; None without one of the same matrix.

        Raises:
            DataError: the model is for problems of another size.
        """
        if way.source in ("cold", "interior point"):
            return []
        if way.source == "problem before":
            start = before
        elif way.source == "nearest":
            start = None if self.neighbours is None else self.neighbours.best(problem)
        else:
            (start,) = self.model.starts([problem])
        return None if start is None else [replace(start, edge_weights=way.edge_weights)]


def _load_model(encoder: Path) -> LPModel:
    from jepakit.lp.model import LPModel
    from jepakit.training import load_encoder_as

    return load_encoder_as(LPModel, encoder)
