"""Runs of one system side by side: their scores, the options in which they differ, their curves."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np

from jepakit.errors import ConfigError, DataError
from jepakit.files import read_json
from jepakit.files.reading import parse_yaml
from jepakit.training.report.data import RunParts, read_run
from jepakit.training.result_rows import ResultRow
from jepakit.training.run import flat_options

#: Columns of metrics.csv that are compared.
_CURVES = ("train/", "diagnostics/")
#: Options that change what the loss is.
_OF_LOSS = ("objective", "views", "masking", "masks", "task", "jepa")


@dataclass(frozen=True)
class ComparedRun:
    """A run.

    Args:
        name: of its folder, or its path where two folders have the same name.
        parts: its files.
    """

    name: str
    parts: RunParts


@dataclass(frozen=True)
class ComparedScores:
    """The rows of one data set and metric.

    Args:
        dataset: the data.
        metric: the metric.
        lower_is_better: whether it is an error.
        methods: name, and the row of each run; None where it has none. Ours come first.
    """

    dataset: str
    metric: str
    lower_is_better: bool
    methods: tuple[tuple[str, tuple[ResultRow | None, ...]], ...]

    @property
    def decimals(self) -> int:
        """Decimals that show about four digits of the largest value."""
        values = [row.value for _, rows in self.methods for row in rows if row is not None and row.value is not None]
        largest = max(map(abs, values), default=0.0)
        return 3 if largest < 10 else 2 if largest < 100 else 1 if largest < 10_000 else 0

    def ours(self) -> list[ResultRow | None]:
        """The best of our rows of each run."""
        sign = 1 if self.lower_is_better else -1
        found: list[ResultRow | None] = []
        for rows in zip(*(rows for _, rows in self.methods), strict=True):
            scored = [(sign * row.value, row) for row in rows if row is not None and row.ours and row.value is not None]
            found.append(min(scored, key=lambda pair: pair[0])[1] if scored else None)
        return found


@dataclass(frozen=True)
class RunsComparison:
    """Runs side by side.

    Args:
        runs: in the order given.
        scores: data sets and metrics that two runs or more have.
        options: those that differ, and the value of each run; None where it has no such option.
        curves: columns of metrics.csv that two runs or more have: of each, the place of a run, and epoch and value of
            each row, ``[n, 2]``.
    """

    runs: tuple[ComparedRun, ...]
    scores: tuple[ComparedScores, ...]
    options: tuple[tuple[str, tuple[Any, ...]], ...]
    curves: tuple[tuple[str, tuple[tuple[int, np.ndarray], ...]], ...]

    @property
    def loss_changed(self) -> tuple[str, ...]:
        """The options that differ and change what the loss is: losses are then not comparable."""
        return tuple(name for name, _ in self.options if name.startswith(_OF_LOSS))

    @property
    def verdicts(self) -> tuple[str, ...]:
        """Which run is best in each metric, and whether that can be told."""
        return tuple(filter(None, map(self._verdict, self.scores)))

    def _verdict(self, scores: ComparedScores) -> str | None:
        sign = 1 if scores.lower_is_better else -1
        there = [
            (sign * row.value, run.name, row)
            for run, row in zip(self.runs, scores.ours(), strict=True)
            if row is not None and row.value is not None
        ]
        if len(there) < 2:
            return None
        (_, name, best), (_, _, second) = sorted(there, key=lambda one: one[0])[:2]
        assert best.value is not None
        assert second.value is not None
        gap, digits = abs(best.value - second.value), scores.decimals
        where = f"{scores.dataset}, {scores.metric}"
        if gap == 0:
            return f"{where}: the best runs are equal, {best.value:.{digits}f}."
        said = f"{where}: {name} is best, {best.value:.{digits}f}, {gap:.{digits}f} ahead of the next"
        if best.std is None or second.std is None:
            return f"{said}; without a spread over seeds nobody knows whether that is chance."
        within = gap <= math.hypot(best.std, second.std)
        return f"{said}; that is {'within' if within else 'more than'} the spread over seeds."


def compare_runs(folders: Sequence[str | Path]) -> RunsComparison:
    """Reads runs and puts side by side what they have in common.

    Raises:
        ConfigError: fewer than two folders, or one twice.
        DataError: they are of different systems, were not measured on the same data, or a file is damaged.
        ModelError: a folder is no run.
    """
    paths = [Path(folder) for folder in folders]
    if len(paths) < 2 or len({path.resolve() for path in paths}) < len(paths):
        raise ConfigError("runs", [str(path) for path in paths], "two or more different run folders")
    same = len({path.resolve().name for path in paths}) < len(paths)
    runs = tuple(ComparedRun(str(path) if same else path.resolve().name, read_run(path)) for path in paths)
    _require_one_kind(paths)
    comparison = RunsComparison(runs, _scores(runs), _options(runs), _curves(runs))
    measured = [run for run in runs if run.parts.results is not None and run.parts.results.rows]
    if len(measured) > 1 and not comparison.scores:
        first, other = (_measured_on(run) for run in measured[:2])
        raise DataError("not measured on the same data", field=measured[1].name, value=other, expected=first)
    if not comparison.scores and not comparison.curves:
        raise DataError("nothing in common", field=runs[1].name, expected=f"scores or curves that {runs[0].name} has")
    return comparison


def _require_one_kind(paths: Sequence[Path]) -> None:
    kinds = {path: kind for path in paths if (kind := _kind(path)) is not None}
    for path, kind in kinds.items():
        first = next(iter(kinds))
        if kind != kinds[first]:
            raise DataError("a run of another kind", file=path, value=kind, expected=f"{kinds[first]}, as {first} is")


def _kind(path: Path) -> str | None:
    """The class of the encoder of a run, or of its last stage; None where the folder has results alone."""
    for file in (path / "encoder" / "config.json", path / "config.json", *sorted(path.glob("*/encoder/config.json"))):
        if file.is_file():
            return str(read_json(file).get("architecture"))
    return None


def _measured_on(run: ComparedRun) -> str:
    assert run.parts.results is not None
    return "; ".join(dict.fromkeys(f"{row.dataset}, {row.metric}" for row in run.parts.results.rows))


def _scores(runs: Sequence[ComparedRun]) -> tuple[ComparedScores, ...]:
    tables: dict[tuple[str, str], dict[str, list[ResultRow | None]]] = {}
    for place, run in enumerate(runs):
        for row in run.parts.results.rows if run.parts.results else ():
            methods = tables.setdefault((row.dataset, row.metric), {})
            methods.setdefault(row.method, [None] * len(runs))[place] = row
    found: list[ComparedScores] = []
    for (dataset, metric), methods in tables.items():
        having = {place for rows in methods.values() for place, row in enumerate(rows) if row is not None}
        if len(having) < 2:
            continue
        directions = {row.lower_is_better for rows in methods.values() for row in rows if row is not None}
        if len(directions) > 1:
            where = f"{dataset}, {metric}"
            raise DataError("runs disagree", field="lower_is_better", value=where, expected="the same in all runs")
        ordered = sorted(methods.items(), key=lambda item: not any(row is not None and row.ours for row in item[1]))
        found.append(
            ComparedScores(dataset, metric, directions.pop(), tuple((name, tuple(rows)) for name, rows in ordered))
        )
    return tuple(found)


def _options(runs: Sequence[ComparedRun]) -> tuple[tuple[str, tuple[Any, ...]], ...]:
    given = [_flat(run.parts.config) for run in runs]
    names = dict.fromkeys(name for options in given for name in options)
    values = {name: tuple(options.get(name) for options in given) for name in names}
    return tuple((name, row) for name, row in values.items() if any(value != row[0] for value in row))


def _flat(config: str | None) -> dict[str, Any]:
    content: object = parse_yaml(config) if config else {}
    return dict(flat_options(cast(dict[str, Any], content))) if isinstance(content, dict) else {}


def _curves(runs: Sequence[ComparedRun]) -> tuple[tuple[str, tuple[tuple[int, np.ndarray], ...]], ...]:
    names = dict.fromkeys(name for run in runs for name in run.parts.metrics or {} if name.startswith(_CURVES))
    found = {
        name: tuple(
            (place, rows) for place, run in enumerate(runs) if (rows := (run.parts.metrics or {}).get(name)) is not None
        )
        for name in names
    }
    return tuple((name, curves) for name, curves in found.items() if len(curves) > 1)
