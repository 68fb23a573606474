"""What an evaluation returns, in every system."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from jepakit.training.report.sections import ReportSection
from jepakit.training.result_rows import ResultRow

__all__ = ["Evaluation"]


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
