"""A finished run, opened: its encoders, and what its folder says of them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Generic, Self, cast

from torch import nn

from jepakit.core import Diagnosis
from jepakit.files import read_json
from jepakit.notebook import html_lines
from jepakit.training.checked import checked
from jepakit.training.results import EncoderT_co, Evaluation, encoder_as_html, evaluation_as_html, read_evaluation
from jepakit.training.run import RunFolder
from jepakit.training.storage.encoder_folder import load_encoder_as


@dataclass(frozen=True)
class TrainedRun(Generic[EncoderT_co]):
    """A finished run; a system has its own, which knows the class of the encoder.

    Args:
        folder: the paths of its parts.
        encoder: the trained encoder, in eval mode.
        diagnosis: of the encoder's embeddings; None where the run has none.
        evaluation: the table beside the floors, and the recommendation; None where nothing was measured.
    """

    folder: RunFolder
    encoder: EncoderT_co
    diagnosis: Diagnosis | None
    evaluation: Evaluation | None

    kind: ClassVar[type[nn.Module]] = nn.Module

    @classmethod
    def open(cls, run: str | Path) -> Self:
        """Opens the folder of a finished run.

        Raises:
            ModelError: the run is not finished, its encoder is of another kind, or a file is damaged.
            DataError: ``results.json`` or ``diagnosis.json`` is damaged.
        """
        folder = RunFolder(run)
        folder.require_trained()
        encoder = cast(EncoderT_co, load_encoder_as(cls.kind, folder.encoder))
        diagnosis = _if_there(folder.diagnosis, lambda file: checked(Diagnosis, read_json(file), file=file))
        return cls(folder, encoder, diagnosis, _if_there(folder.results, read_evaluation))

    def _repr_html_(self) -> str:
        evaluation = "" if self.evaluation is None else evaluation_as_html(self.evaluation)
        return html_lines([str(self.folder.path)]) + encoder_as_html(self.encoder, self.diagnosis, {}) + evaluation

    @cached_property
    def random_encoder(self) -> EncoderT_co:
        """The encoder before training, the floor.

        Raises:
            ModelError: the run has none.
        """
        return cast(EncoderT_co, load_encoder_as(self.kind, self.folder.random_encoder))

    @property
    def report(self) -> Path | None:
        """``report.html``; None where the run has none."""
        return self.folder.report if self.folder.report.exists() else None


def _if_there(file: Path, read: Any) -> Any:
    return read(file) if file.exists() else None
