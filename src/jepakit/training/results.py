"""What pre-training and an evaluation return, in every system."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Generic, TypeVar

from torch import nn

from jepakit.core import Diagnosis
from jepakit.training.fit_config import FitResult
from jepakit.training.report.sections import ReportSection
from jepakit.training.result_rows import ResultRow

EncoderT_co = TypeVar("EncoderT_co", bound=nn.Module, covariant=True)


@dataclass(frozen=True, kw_only=True)
class Pretrained(Generic[EncoderT_co]):
    """A trained encoder and how it was trained; a system adds its own fields.

    Args:
        encoder: the encoder to use, in eval mode.
        random_encoder: the same one before training: the floor.
        fit: epochs, steps, last metrics.
        diagnosis: of the encoder's embeddings.
    """

    encoder: EncoderT_co
    random_encoder: EncoderT_co
    fit: FitResult
    diagnosis: Diagnosis


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """The table and what follows from it.

    Args:
        title: of the report.
        summary: the protocol and its outcome, in sentences.
        recommendation: what to use; None where the data do not decide it.
        rows: ours and the floors.
        sections: further tables of the report.
    """

    title: str
    summary: tuple[str, ...]
    recommendation: str | None = None
    rows: tuple[ResultRow, ...] = ()
    sections: tuple[ReportSection, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """The content of ``results.json``."""
        return {
            "title": self.title,
            "summary": list(self.summary),
            "recommendation": self.recommendation,
            "rows": [asdict(row) for row in self.rows],
            "sections": [asdict(section) for section in self.sections],
        }
