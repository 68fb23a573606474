"""Selects a classifier and its hyper-parameters on the training part of a split.

A `Candidate` is a classifier with fixed hyper-parameters except C. `evaluate_split` scores all candidates and all C on
inner folds of the training rows, refits the best on all training rows and predicts the test rows.
"""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from jepakit.errors import DataError, MissingExtraError
from jepakit.graph.probe.folds import Seed, stratified_folds

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Classifier = Literal["logistic", "svm", "best"]
View = Literal["signed log", "one scale", "none"]
Chosen = dict[str, float | str]
Result = TypeVar("Result")

LOGISTIC_C = (1e-3, 1e-2, 1e-1, 1.0, 10.0)
SVM_C = (1.0, 10.0, 100.0)
KERNEL_C = (1e-2, 1e-1, 1.0, 10.0, 100.0)
GAMMA = (0.3, 1.0, 3.0)
INNER_FOLDS = 3
INNER_REPEATS = 3
# More held-out rows hardly change the selection: the repeats, and the folds of each, stop at these numbers of rows.
_MAX_ROWS_REPEATED, _MAX_ROWS_HELD_OUT = 500, 1000
# With few rows the standard deviation of a column is mostly noise, and one scale for all columns generalises better.
MANY_ROWS: tuple[View, ...] = ("signed log", "none")
FEW_ROWS: tuple[View, ...] = ("one scale", "signed log")
# A smaller standard deviation, relative to the mean, is rounding error of float32 embeddings.
_ROUNDING = 1e-6


def standardize(features: Floats, fit_rows: int) -> Floats:
    """Centres and scales columns by the mean and standard deviation of the first ``fit_rows`` rows.

    A column that is constant in those rows is set to zero in all rows.
    """
    mean, std = features[:fit_rows].mean(axis=0), features[:fit_rows].std(axis=0)
    informative = std > _ROUNDING * np.maximum(np.abs(mean), 1e-9)
    return (features - mean) * np.divide(1.0, std, out=np.zeros_like(std), where=informative)


def signed_log(features: Floats) -> Floats:
    """``sign(x) log(1 + |x|)``: linear near zero, logarithmic for large values."""
    return np.sign(features) * np.log1p(np.abs(features))


def prepared(features: Floats, fit_rows: int, view: View) -> Floats:
    """The features as input of a classifier, fitted on the first ``fit_rows`` rows.

    ``none`` standardises each column. ``signed log`` does so after `signed_log`, because sums over nodes have heavy
    tails. ``one scale`` centres each column after `signed_log` and divides all columns by one root mean square. Other
    rows are clipped, see `_clip`.
    """
    if view != "none":
        features = signed_log(features)
    if view != "one scale":
        return _clip(standardize(features, fit_rows), fit_rows)
    fitted = features[:fit_rows]
    return _clip((features - fitted.mean(axis=0)) / max(float(np.sqrt(fitted.var(axis=0).mean())), 1e-12), fit_rows)


def _clip(features: Floats, fit_rows: int) -> Floats:
    """Clips each column to the range of the fitted rows, extended by its width on both sides.

    A substructure that is rare in the training rows can put a test row thousands of standard deviations away from
    them, where the predictions of a classifier or regression are arbitrary.
    """
    low, high = features[:fit_rows].min(axis=0), features[:fit_rows].max(axis=0)
    return np.clip(features, low - (high - low), high + (high - low))


class Candidate(Protocol):
    """A classifier with a grid of C, for the rows of one split, training rows first."""

    @property
    def chosen(self) -> Chosen:
        """The other hyper-parameters."""
        ...

    @property
    def strengths(self) -> Sequence[float]:
        """The grid of C."""
        ...

    def predict(self, fit: Ints, rows: Ints, strengths: Sequence[float]) -> Ints:
        """Fits on the rows ``fit`` and predicts ``rows``: classes ``[len(strengths), len(rows)]``."""
        ...


class Source(Protocol):
    """The input of a probe: features or kernels."""

    def candidates(self, y: Ints, train: Ints, test: Ints) -> Iterator[Candidate]:
        """The candidates for a split, the simplest first; they are fitted on ``train`` rows only."""
        ...


@dataclass(frozen=True)
class SplitScore:
    """Predicted classes ``[len(test)]`` of a split, and the selected hyper-parameters."""

    predicted: Ints
    chosen: Chosen


@dataclass(frozen=True)
class FeatureSource:
    """Features ``[G, D]``, for L2 logistic regression, an RBF support vector machine, or both.

    Logistic regression uses every view of `prepared`, the support vector machine the first. The width of its kernel is
    in units of the median squared distance between training rows.
    """

    features: Floats
    classifier: Classifier
    views: tuple[View, ...] = MANY_ROWS

    def candidates(self, y: Ints, train: Ints, test: Ints) -> Iterator[Candidate]:
        """See `Source`."""
        rows = self.features[np.concatenate([train, test])]
        if self.classifier != "svm":
            for view in self.views:
                yield _Logistic(prepared(rows, len(train), view), y[train], {"classifier": "logistic", "view": view})
        if self.classifier != "logistic":
            z = prepared(rows, len(train), self.views[0])
            distance = _squared_distances(z, z[: len(train)])
            width = max(float(np.median(distance[: len(train)])), 1e-12)
            for gamma in GAMMA:
                chosen: Chosen = {"classifier": "svm", "view": self.views[0], "gamma": gamma}
                yield _KernelMachine(np.exp(-gamma / width * distance), y[train], chosen, SVM_C)


@dataclass(frozen=True)
class KernelSource:
    """Precomputed kernels ``[G, G]``, for a support vector machine."""

    kernels: tuple[Floats, ...]

    def candidates(self, y: Ints, train: Ints, test: Ints) -> Iterator[Candidate]:
        """See `Source`."""
        rows = np.concatenate([train, test])
        for number, kernel in enumerate(self.kernels):
            # Division by the mean diagonal makes one grid of C suitable for kernels of any scale.
            scale = max(float(kernel.diagonal()[train].mean()), 1e-12)
            chosen: Chosen = {"classifier": "svm", "kernel": number}
            yield _KernelMachine(kernel[np.ix_(rows, train)] / scale, y[train], chosen, KERNEL_C)


def evaluate_split(source: Source, y: Ints, train: Ints, test: Ints, seed: Seed) -> SplitScore:
    """Selects on inner folds of ``train``, refits on ``train``, predicts ``test``.

    There are three inner folds, or two if a class has only two training rows. Few rows are split up to three times; of
    many rows, about a thousand are held out.

    Args:
        source: features or kernels.
        y: classes, ``[G]``; those of ``test`` are not read.
        train: training rows.
        test: test rows.
        seed: of the inner folds.

    Raises:
        DataError: a class has a single training row, or there is only one class.
    """
    smallest = int(np.unique(y[train], return_counts=True)[1].min())
    if smallest < 2:
        raise DataError("a class has one training row", field="y", value=smallest, expected="two for the inner folds")
    root = seed if isinstance(seed, tuple) else (seed,)
    splits = [
        stratified_folds(y[train], min(INNER_FOLDS, smallest), (*root, repeat))
        for repeat in range(max(min(_MAX_ROWS_REPEATED // len(train), INNER_REPEATS), 1))
    ]
    candidates = source.candidates(y, train, test)
    candidate, strength = _select(candidates, lambda candidate: _inner_hits(candidate, y[train], splits))
    rows = len(train) + np.arange(len(test))
    return SplitScore(candidate.predict(np.arange(len(train)), rows, [strength])[0], candidate.chosen | {"C": strength})


def evaluate_validated(source: Source, y: Ints, train: Ints, val: Ints, test: Ints) -> SplitScore:
    """Fits on ``train``, selects on ``val``, predicts ``test``; arguments as in `evaluate_split`."""
    fit, held_out = np.arange(len(train)), len(train) + np.arange(len(val))
    candidate, strength = _select(
        source.candidates(y, train, np.concatenate([val, test])),
        lambda candidate: (candidate.predict(fit, held_out, candidate.strengths) == y[val]).sum(axis=1),
    )
    rows = len(train) + len(val) + np.arange(len(test))
    return SplitScore(candidate.predict(fit, rows, [strength])[0], candidate.chosen | {"C": strength})


def _select(candidates: Iterator[Candidate], count_hits: Callable[[Candidate], Ints]) -> tuple[Candidate, float]:
    """The candidate and C with the most hits; of equal ones, the first candidate and its C nearest to 1."""
    best, strength, most = None, 0.0, -1
    for candidate in candidates:
        hits = count_hits(candidate)
        if hits.max() > most:
            tied = np.asarray(candidate.strengths)[hits == hits.max()]
            best, strength, most = candidate, float(tied[np.abs(np.log10(tied)).argmin()]), int(hits.max())
    assert best is not None, "a source has at least one candidate"
    return best, strength


def _inner_hits(candidate: Candidate, y: Ints, splits: Sequence[Ints]) -> Ints:
    hits = np.zeros(len(candidate.strengths), dtype=np.int64)
    for fold in splits:
        folds = int(fold.max()) + 1
        for f in range(min(folds, -(-_MAX_ROWS_HELD_OUT * folds // len(fold)))):
            held_out = np.flatnonzero(fold == f)
            predicted = candidate.predict(np.flatnonzero(fold != f), held_out, candidate.strengths)
            hits += (predicted == y[held_out]).sum(axis=1)
    return hits


def logistic_path(features: Floats, y: Ints, strengths: Sequence[float] = LOGISTIC_C) -> Iterator[Any]:
    """L2 logistic regression at each C; yields the same model again, refitted.

    With warm starts along ascending C, the whole path takes little longer than its last point.
    """
    model = sklearn_module("linear_model").LogisticRegression(max_iter=20_000, warm_start=True)
    for strength in strengths:
        with _accept_rounding():
            model.set_params(C=strength).fit(features, y)
        yield model


@dataclass(frozen=True)
class _Logistic:
    features: Floats
    y: Ints
    chosen: Chosen
    strengths: Sequence[float] = LOGISTIC_C

    def predict(self, fit: Ints, rows: Ints, strengths: Sequence[float]) -> Ints:
        models = logistic_path(self.features[fit], self.y[fit], strengths)
        return np.stack([model.predict(self.features[rows]) for model in models])


@dataclass(frozen=True)
class _KernelMachine:
    kernel: Floats
    y: Ints
    chosen: Chosen
    strengths: Sequence[float]

    def predict(self, fit: Ints, rows: Ints, strengths: Sequence[float]) -> Ints:
        among, across = self.kernel[np.ix_(fit, fit)], self.kernel[np.ix_(rows, fit)]
        svc = sklearn_module("svm").SVC
        predicted = []
        for strength in strengths:
            with _accept_rounding():
                model = svc(C=strength, kernel="precomputed", cache_size=1000, max_iter=1_000_000)
                predicted.append(model.fit(among, self.y[fit]).predict(across))
        return np.stack(predicted)


@contextmanager
def _accept_rounding() -> Generator[None]:
    """Suppresses convergence warnings: held-out scores decide about a model that stopped early, too."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", sklearn_module("exceptions").ConvergenceWarning)
        yield


def sklearn_module(name: str) -> Any:
    """``sklearn.NAME``.

    Raises:
        MissingExtraError: scikit-learn is not installed.
    """
    try:
        return importlib.import_module(f"sklearn.{name}")
    except ImportError as error:
        raise MissingExtraError("scikit-learn", "graph") from error


def in_parallel(function: Callable[..., Result], arguments: Iterable[tuple[Any, ...]], jobs: int) -> list[Result]:
    """``function(*a)`` for each ``a`` of ``arguments``, in order, computed in ``jobs`` processes.

    Raises:
        MissingExtraError: scikit-learn, which requires joblib, is not installed.
    """
    try:
        import joblib
    except ImportError as error:
        raise MissingExtraError("scikit-learn", "graph") from error
    return cast(list[Result], joblib.Parallel(n_jobs=jobs)(joblib.delayed(function)(*a) for a in arguments))


def _squared_distances(rows: Floats, columns: Floats) -> Floats:
    squares = (rows**2).sum(axis=1)[:, None] + (columns**2).sum(axis=1)
    return np.maximum(squares - 2 * rows @ columns.T, 0)
