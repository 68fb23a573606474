"""Results of probes, and checks of their arguments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from jepakit.errors import ConfigError, DataError

Array = ArrayLike | Tensor
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Chosen = dict[str, float | str]
Metric = Literal["accuracy", "roc auc", "rmse"]
_T = TypeVar("_T")


@dataclass(frozen=True)
class ProbeResult:
    """The scores of a probe.

    Args:
        method: the classifier or regressor.
        metric: ``accuracy``, ``roc auc`` or ``rmse``.
        mean: the mean of ``seed_scores``.
        std: their standard deviation (n - 1 in the denominator), None for a single seed.
        seed_scores: a score per seed, the mean of its parts.
        part_scores: per seed, a score per fold, labelled subset or task; NaN, which the mean excludes, for a task that
            cannot be scored.
        chosen: per seed and part, the selected hyper-parameters.
        recall: per class in ascending order, over all seeds and parts; empty without classes.
        lower_is_better: whether the metric is an error.
        replicates: scores of the resamples of a given split, see `jepakit.graph.probe.resampling`; empty without any.
    """

    method: str
    metric: Metric
    mean: float
    std: float | None
    seed_scores: tuple[float, ...]
    part_scores: tuple[tuple[float, ...], ...]
    chosen: tuple[tuple[Chosen, ...], ...]
    recall: tuple[float, ...] = ()
    lower_is_better: bool = False
    replicates: tuple[float, ...] = ()


def summarize(
    method: str,
    metric: Metric,
    part_scores: Sequence[Sequence[float]],
    chosen: Sequence[Sequence[Chosen]],
    recall: Sequence[float] = (),
    *,
    lower_is_better: bool = False,
    replicates: Sequence[float] = (),
) -> ProbeResult:
    """The `ProbeResult` of the scores of each seed's parts."""
    seed_scores = tuple(float(np.nanmean(parts)) for parts in part_scores)
    return ProbeResult(
        method=method,
        metric=metric,
        mean=float(np.mean(seed_scores)),
        std=float(np.std(seed_scores, ddof=1)) if len(seed_scores) > 1 else None,
        seed_scores=seed_scores,
        part_scores=tuple(tuple(map(float, parts)) for parts in part_scores),
        chosen=tuple(map(tuple, chosen)),
        recall=tuple(map(float, recall)),
        lower_is_better=lower_is_better,
        replicates=tuple(map(float, replicates)),
    )


def joined(results: Sequence[ProbeResult]) -> ProbeResult:
    """The result of all seeds of several results of one method; the replicates are those of the first."""
    first = results[0]
    recall = np.mean([result.recall for result in results], axis=0)
    return summarize(
        first.method,
        first.metric,
        [parts for result in results for parts in result.part_scores],
        [parts for result in results for parts in result.chosen],
        recall.tolist(),
        lower_is_better=first.lower_is_better,
        replicates=first.replicates,
    )


def summarize_classes(
    method: str,
    truth: Sequence[Ints],
    predicted: Sequence[Ints],
    chosen: Sequence[Chosen],
    parts: int,
    *,
    replicates: Sequence[float] = (),
) -> ProbeResult:
    """The accuracy of the predictions of several splits, ``parts`` of them for each seed.

    Args:
        method: the classifier.
        truth: the classes of the test rows of each split.
        predicted: the predictions for them.
        chosen: the hyper-parameters of each split.
        parts: splits a seed.
        replicates: see `ProbeResult`.
    """

    def by_seed(values: Sequence[_T]) -> list[Sequence[_T]]:
        return [values[start : start + parts] for start in range(0, len(values), parts)]

    hits = [rows == y for rows, y in zip(predicted, truth, strict=True)]
    labels, every_hit = np.concatenate(truth), np.concatenate(hits)
    recall = [float(every_hit[labels == label].mean()) for label in np.unique(labels)]
    scores = by_seed([float(rows.mean()) for rows in hits])
    return summarize(method, "accuracy", scores, by_seed(chosen), recall, replicates=replicates)


def as_array(values: Array) -> NDArray[Any]:
    """A numpy array of an array, a nested sequence or a tensor on any device."""
    if not isinstance(values, Tensor):
        return np.asarray(values)
    tensor = values.detach().cpu()
    return (tensor.double() if tensor.is_floating_point() else tensor).numpy()


def checked_features(features: Array, rows: int, field: str = "features") -> Floats:
    """``[rows, D]`` float64; raises DataError if the shape differs, or a value is not finite."""
    x = np.asarray(as_array(features), dtype=np.float64)
    if x.ndim != 2 or len(x) != rows or x.shape[1] == 0:
        raise DataError("not one row for every label", field=field, value=x.shape, expected=f"[{rows}, D]")
    if not np.isfinite(x).all():
        row, column = np.argwhere(~np.isfinite(x))[0].tolist()
        place, expected = f"{field}[{row}, {column}]", "finite values; a diverged encoder gives NaN embeddings"
        raise DataError("not a finite number", field=place, value=float(x[row, column]), expected=expected)
    return x


def checked_labels(y: Array, field: str = "y") -> Ints:
    """``[G]`` int64; raises DataError if it is not a whole number per row."""
    labels = as_array(y)
    if labels.ndim != 1 or labels.dtype.kind not in "iub":
        value = f"{labels.dtype} {list(labels.shape)}"
        raise DataError("not one class per row", field=field, value=value, expected="integers [G]")
    return labels.astype(np.int64)


def checked_splits(splits: Mapping[str, Array], rows: int) -> tuple[Ints, ...]:
    """The row numbers of ``train``, ``val`` and ``test``.

    Raises:
        DataError: a split is missing, empty, has a row outside the data, or shares a row with another split.
    """
    parts = []
    for name in ("train", "val", "test"):
        if name not in splits:
            raise DataError("a split is missing", field="splits", value=sorted(splits), expected="train, val and test")
        parts.append(checked_rows(splits[name], rows, f"splits[{name!r}]"))
    ids, counts = np.unique(np.concatenate(parts), return_counts=True)
    if counts.max() > 1:
        row = int(ids[counts.argmax()])
        raise DataError("a row is in the splits twice", field="splits", value=row, expected="disjoint splits")
    return tuple(parts)


def checked_rows(ids: Array, rows: int, field: str) -> Ints:
    """Row numbers of a list or a mask; raises DataError if there are none, or one is outside the data."""
    found = as_array(ids)
    found = np.flatnonzero(found) if found.dtype.kind == "b" else found.astype(np.int64)
    if len(found) == 0 or found.min() < 0 or found.max() >= rows:
        value = "no rows" if len(found) == 0 else f"rows {found.min()} to {found.max()}"
        raise DataError("a split does not fit the data", field=field, value=value, expected=f"0 to {rows - 1}")
    return found


def checked_seeds(seeds: Sequence[int]) -> Sequence[int]:
    """``seeds``; raises ConfigError if there are none."""
    if len(seeds) == 0:
        raise ConfigError("seeds", list(seeds), "at least one")
    return seeds
