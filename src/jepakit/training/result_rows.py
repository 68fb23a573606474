"""The rows of a result table, as benchmarks, reports and model cards share them.

A row says what one method scored on one dataset: ``{"dataset", "method", "metric", "value", "std", "seeds", "aim",
"met", "note"}``. A table is honest when the floors stand beside ours; `group_rows` puts them side by side.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import TypeVar

from jepakit.errors import DataError

__all__ = ["ResultGroup", "ResultRow", "format_score", "group_rows", "read_rows"]

T = TypeVar("T")

_LOWER_IS_BETTER = frozenset(
    (
        "rmse",
        "mae",
        "mse",
        "error",
        "loss",
        "perplexity",
        "time",
        "seconds",
        "latency",
        "memory",
        "iterations",
        "pivots",
    )
)


@dataclass(frozen=True)
class ResultRow:
    """What one method scored.

    Args:
        dataset: the data it was scored on.
        method: the method; see `ours`.
        metric: the metric; see `ResultGroup.lower_is_better`.
        value: the mean over seeds, or None where the method gave no result.
        std: the standard deviation over seeds, or None.
        seeds: how many seeds the mean is over, or None.
        aim: the value that was aimed at, or None.
        met: whether the aim was met, or None.
        note: whatever the reader has to know.
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

    @property
    def ours(self) -> bool:
        """Whether the method is ours: its name begins with ``jepakit`` or ends in ``(ours)``, or it has an aim.

        Everything else in a table is what ours is measured against: a floor or a rival.
        """
        name = self.method.lower()
        return self.aim is not None or name.startswith("jepakit") or name.endswith("(ours)")


@dataclass(frozen=True)
class ResultGroup:
    """The rows of one dataset and metric: ours first, then what they are measured against, each best first."""

    dataset: str
    metric: str
    ours: tuple[ResultRow, ...]
    others: tuple[ResultRow, ...]

    @property
    def rows(self) -> tuple[ResultRow, ...]:
        return self.ours + self.others

    @property
    def lower_is_better(self) -> bool:
        """Read off the metric's name: errors, losses, times and memory are to be small, everything else large."""
        return _lower_is_better(self.metric)

    @property
    def best(self) -> float | None:
        """The best value of all rows, or None where no row has one."""
        values = [row.value for row in self.rows if row.value is not None]
        if not values:
            return None
        return min(values) if self.lower_is_better else max(values)

    def gain_over(self, row: ResultRow) -> float | None:
        """By how much the best of ours is better than ``row`` (negative: worse), or None where either has no value."""
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
    """Checks parsed JSON rows and returns them.

    Args:
        rows: what stood under ``rows``: a list of mappings.
        file: the file they came from, for the message.

    Raises:
        DataError: not a list of mappings, a field is missing, unknown or of another type.
    """
    if not isinstance(rows, Sequence) or isinstance(rows, str):
        raise DataError("is not a list", file=file, field="rows", value=rows, expected="a list of rows")
    return tuple(_read_row(row, f"rows[{index}]", file) for index, row in enumerate(rows))


def group_rows(rows: Iterable[ResultRow]) -> list[ResultGroup]:
    """Groups rows by dataset and metric, in order of appearance."""
    groups: dict[tuple[str, str], list[ResultRow]] = {}
    for row in rows:
        groups.setdefault((row.dataset, row.metric), []).append(row)
    return [
        ResultGroup(
            dataset,
            metric,
            ours=_best_first([row for row in members if row.ours], metric),
            others=_best_first([row for row in members if not row.ours], metric),
        )
        for (dataset, metric), members in groups.items()
    ]


def format_score(row: ResultRow, decimals: int) -> str:
    """``value ± std``, or a dash where there is no value."""
    if row.value is None:
        return "—"
    spread = "" if row.std is None else f" ± {row.std:.{decimals}f}"
    return f"{row.value:.{decimals}f}{spread}"


def _lower_is_better(metric: str) -> bool:
    return not _LOWER_IS_BETTER.isdisjoint(re.findall("[a-z]+", metric.lower()))


def _best_first(rows: list[ResultRow], metric: str) -> tuple[ResultRow, ...]:
    sign = 1 if _lower_is_better(metric) else -1
    return tuple(sorted(rows, key=lambda row: math.inf if row.value is None else sign * row.value))


def _read_row(row: object, where: str, file: str | Path | None) -> ResultRow:
    if not isinstance(row, Mapping):
        raise DataError(
            "is not a row", file=file, field=where, value=row, expected="a mapping with dataset, method, ..."
        )
    known = [field.name for field in fields(ResultRow)]
    for key in row:
        if key not in known:
            raise DataError("a row has no such field", file=file, field=f"{where}.{key}", expected=", ".join(known))
    take = partial(_take, row, where=where, file=file)
    return ResultRow(
        dataset=_text(take("dataset", (str,), "text"), f"{where}.dataset", file),
        method=_text(take("method", (str,), "text"), f"{where}.method", file),
        metric=_text(take("metric", (str,), "text"), f"{where}.metric", file),
        value=_finite(take("value", (int, float), "a number or null"), f"{where}.value", file),
        std=_finite(take("std", (int, float), "a number or null"), f"{where}.std", file),
        seeds=take("seeds", (int,), "a whole number or null"),
        aim=_finite(take("aim", (int, float), "a number or null"), f"{where}.aim", file),
        met=take("met", (bool,), "true, false or null"),
        note=take("note", (str,), "text or null") or "",
    )


def _take(
    row: Mapping[str, object],
    name: str,
    kinds: tuple[type[T], ...],
    expected: str,
    *,
    where: str,
    file: str | Path | None,
) -> T | None:
    value = row.get(name)
    if value is None:
        return None
    # bool is an int to Python, but `true` where a number belongs is a mistake.
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        raise DataError("has another type", file=file, field=f"{where}.{name}", value=value, expected=expected)
    return value


def _text(value: str | None, where: str, file: str | Path | None) -> str:
    if not value:
        raise DataError("is missing", file=file, field=where, expected="text")
    return value


def _finite(value: float | None, where: str, file: str | Path | None) -> float | None:
    if value is not None and not math.isfinite(value):
        raise DataError("is not finite", file=file, field=where, value=value, expected="a finite number or null")
    return None if value is None else float(value)
