"""The rows of a result table, shared by benchmarks, reports and model cards.

A row is the score of one method on one data set. It states whether the method is ours and whether lower values are
better; names of methods and metrics decide nothing. `group_rows` puts our methods and the floors side by side.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jepakit.errors import DataError
from jepakit.notebook import html_table
from jepakit.training.checked import STRICT, checked


@dataclass(frozen=True)
class ResultRow:
    """The score of one method.

    Args:
        dataset: the data it was scored on.
        method: the method.
        metric: the metric.
        value: the mean over seeds, or None where the method gave no result.
        std: the standard deviation over seeds, or None.
        seeds: the number of seeds, or None.
        aim: the target value, or None.
        met: whether the aim was met, or None.
        note: a remark for the reader.
        ours: whether the method is part of jepakit; otherwise it is a floor or a rival.
        lower_is_better: whether lower values are better: errors, times, memory.
    """

    dataset: str
    method: str
    metric: str
    value: float | None
    std: float | None = None
    seeds: int | None = None
    aim: float | None = None
    met: bool | None = None
    note: str = ""
    ours: bool = False
    lower_is_better: bool = False

    __pydantic_config__ = STRICT


@dataclass(frozen=True)
class ResultGroup:
    """The rows of one data set and metric: our methods, then the floors and rivals, each best first."""

    dataset: str
    metric: str
    lower_is_better: bool
    ours: tuple[ResultRow, ...]
    others: tuple[ResultRow, ...]

    @property
    def rows(self) -> tuple[ResultRow, ...]:
        """All rows: ours, then the others."""
        return self.ours + self.others

    @property
    def best(self) -> float | None:
        """The best value of all rows, or None where no row has one."""
        values = [row.value for row in self.rows if row.value is not None]
        return (min if self.lower_is_better else max)(values, default=None)

    def gain_over(self, row: ResultRow) -> float | None:
        """How much better the best of ours is than ``row`` (negative: worse), or None where either has no value."""
        if not self.ours or self.ours[0].value is None or row.value is None:
            return None
        gain = self.ours[0].value - row.value
        return -gain if self.lower_is_better else gain

    @property
    def decimals(self) -> int:
        """Decimals that show about four digits of the largest value, the same for all rows so that columns align."""
        largest = max((abs(row.value) for row in self.rows if row.value is not None), default=0.0)
        return 3 if largest < 10 else 2 if largest < 100 else 1 if largest < 10_000 else 0


def read_rows(rows: object, *, file: str | Path | None = None) -> tuple[ResultRow, ...]:
    """Parsed JSON rows, checked.

    Args:
        rows: the value of ``rows``: a list of mappings. A null stands for the default.
        file: the file they came from, for the message.

    Raises:
        DataError: not a list of mappings, a field is missing, unknown or of another type.
    """
    return checked(tuple[ResultRow, ...], with_defaults(rows), file=file, field="rows")


def with_defaults(rows: object) -> object:
    """Parsed JSON rows with the values that a file does not state, or predates."""
    if not isinstance(rows, list | tuple):
        return rows
    return [_with_defaults(row) if isinstance(row, dict) else row for row in rows]


def _with_defaults(row: Mapping[str, Any]) -> dict[str, Any]:
    given = {name: value for name, value in row.items() if value is not None}
    # Files that predate `ours` and `lower_is_better` are read by the rule of that time.
    small = r"\b(rmse|mae|mse|error|loss|perplexity|time|seconds|latency|memory|iterations|pivots)\b"
    method, metric = str(given.get("method")).lower(), re.sub("[^a-z]", " ", str(given.get("metric")).lower())
    ours = "aim" in given or method.startswith("jepakit") or method.endswith("(ours)")
    return {"value": None, "ours": ours, "lower_is_better": re.search(small, metric) is not None, **given}


def group_rows(rows: Iterable[ResultRow]) -> list[ResultGroup]:
    """Groups rows by dataset and metric, in order of appearance.

    Raises:
        DataError: rows of one group disagree on ``lower_is_better``.
    """
    groups: dict[tuple[str, str], list[ResultRow]] = {}
    for row in rows:
        groups.setdefault((row.dataset, row.metric), []).append(row)
    return [_group(members) for members in groups.values()]


def rows_as_html(rows: Iterable[ResultRow]) -> str:
    """A table for each dataset and metric, for a notebook.

    Raises:
        DataError: see `group_rows`.
    """
    return "".join(
        html_table(
            ("method", group.metric, "note"),
            [(row.method, format_score(row, group.decimals), row.note) for row in group.rows],
            title=f"{group.dataset}, {group.metric}",
        )
        for group in group_rows(rows)
    )


def format_score(row: ResultRow, decimals: int) -> str:
    """``value ± std``, or a dash where there is no value."""
    if row.value is None:
        return "—"
    spread = "" if row.std is None else f" ± {row.std:.{decimals}f}"
    return f"{row.value:.{decimals}f}{spread}"


def _group(rows: list[ResultRow]) -> ResultGroup:
    first = rows[0]
    if len({row.lower_is_better for row in rows}) > 1:
        where = f"{first.dataset}, {first.metric}"
        raise DataError("rows disagree", field="lower_is_better", value=where, expected="the same in all rows")
    sign = 1 if first.lower_is_better else -1
    best_first = sorted(rows, key=lambda row: math.inf if row.value is None else sign * row.value)
    ours, others = (tuple(row for row in best_first if row.ours is side) for side in (True, False))
    return ResultGroup(first.dataset, first.metric, first.lower_is_better, ours, others)
