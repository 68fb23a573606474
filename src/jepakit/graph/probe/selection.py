"""Choosing a classifier and its hyper-parameters inside the training part of a split, and only there.

A `Candidate` is a classifier at every strength C for one choice of everything else. `evaluate_split` tries all
candidates and all C on inner folds of the training rows, refits the best on all of these and predicts the test rows.
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

__all__ = [
    "FEW_ROWS",
    "LOGISTIC_C",
    "MANY_ROWS",
    "Chosen",
    "Classifier",
    "FeatureSource",
    "KernelSource",
    "Source",
    "SplitScore",
    "View",
    "evaluate_split",
    "evaluate_validated",
    "in_parallel",
    "logistic_path",
    "prepared",
    "signed_log",
    "sklearn_module",
    "standardize",
]

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
# Once this many rows were held out, dealing them into inner folds again, or holding out further folds, changes little.
_ENOUGH_HELD_OUT, _ENOUGH_OF_A_DEAL = 500, 1000
# With few rows the spread of a single column is mostly chance, and one scale for all columns generalises better.
MANY_ROWS: tuple[View, ...] = ("signed log", "none")
FEW_ROWS: tuple[View, ...] = ("one scale", "signed log")
# Spread below this share of the mean is the rounding of float32 embeddings; scaled up it would pass for a feature.
_NOISE = 1e-6


def standardize(features: Floats, fit_rows: int) -> Floats:
    """Centres and scales columns by the mean and standard deviation of the first ``fit_rows`` rows.

    A column that is constant in those rows says nothing about them and is set to zero everywhere.
    """
    mean, std = features[:fit_rows].mean(axis=0), features[:fit_rows].std(axis=0)
    informative = std > _NOISE * np.maximum(np.abs(mean), 1e-9)
    return (features - mean) * np.divide(1.0, std, out=np.zeros_like(std), where=informative)


def signed_log(features: Floats) -> Floats:
    """``sign(x) log(1 + |x|)``: almost linear near zero, and large values in proportion to their order of magnitude."""
    return np.sign(features) * np.log1p(np.abs(features))


def prepared(features: Floats, fit_rows: int, view: View) -> Floats:
    """The features as a classifier reads them, fitted on the first ``fit_rows`` rows.

    ``none`` standardises each column. ``signed log`` does so after `signed_log`, which tames the heavy tails of sums
    over nodes. ``one scale`` centres each column after `signed_log` and divides all by one root mean square. The rows
    that were not fitted on are kept within reach of the others, see `_within_reach`.
    """
    if view != "none":
        features = signed_log(features)
    if view != "one scale":
        return _within_reach(standardize(features, fit_rows), fit_rows)
    fitted = features[:fit_rows]
    scaled = (features - fitted.mean(axis=0)) / max(float(np.sqrt(fitted.var(axis=0).mean())), 1e-12)
    return _within_reach(scaled, fit_rows)


def _within_reach(features: Floats, fit_rows: int) -> Floats:
    """Cuts each column off one range of the fitted rows beyond them.

    A kind of substructure that is all but absent from the training rows and present in a test row would otherwise stand
    thousands of standard deviations out, where no classifier or regression has learnt anything.
    """
    low, high = features[:fit_rows].min(axis=0), features[:fit_rows].max(axis=0)
    reach = high - low
    return np.clip(features, low - reach, high + reach)


class Candidate(Protocol):
    """A classifier at every strength C; its rows are those of one split, the training rows first."""

    @property
    def chosen(self) -> Chosen: ...

    @property
    def strengths(self) -> Sequence[float]: ...

    def predict(self, fit: Ints, rows: Ints, strengths: Sequence[float]) -> Ints:
        """Trains on the rows ``fit`` and predicts ``rows``: ``[len(strengths), len(rows)]`` classes."""
        ...


class Source(Protocol):
    """What is being probed: features or kernels."""

    def candidates(self, y: Ints, train: Ints, test: Ints) -> Iterator[Candidate]:
        """The candidates for a split, the simplest first, with nothing but ``train`` rows fitted on."""
        ...


@dataclass(frozen=True)
class SplitScore:
    """What one split gave: predicted classes ``[len(test)]`` and what the inner folds chose."""

    predicted: Ints
    chosen: Chosen


@dataclass(frozen=True)
class FeatureSource:
    """Features ``[G, D]``, for L2 logistic regression, an RBF support vector machine, or the better by inner folds.

    Logistic regression tries every view of `prepared`, the support vector machine the first; the width of its kernel is
    measured in median squared distances between training rows.
    """

    features: Floats
    classifier: Classifier
    views: tuple[View, ...] = MANY_ROWS

    def candidates(self, y: Ints, train: Ints, test: Ints) -> Iterator[Candidate]:
        rows = self.features[np.concatenate([train, test])]
        if self.classifier != "svm":
            for view in self.views:
                yield _Logistic(prepared(rows, len(train), view), y[train], {"classifier": "logistic", "view": view})
        if self.classifier != "logistic":
            z = prepared(rows, len(train), self.views[0])
            distance = _squared_distances(z, z[: len(train)])
            width = max(float(np.median(distance[: len(train)])), 1e-12)
            for gamma in GAMMA:
                named: Chosen = {"classifier": "svm", "view": self.views[0], "gamma": gamma}
                yield _KernelMachine(np.exp(-gamma / width * distance), y[train], named, SVM_C)


@dataclass(frozen=True)
class KernelSource:
    """Precomputed kernels ``[G, G]``, for a support vector machine; inner folds choose among several."""

    kernels: tuple[Floats, ...]

    def candidates(self, y: Ints, train: Ints, test: Ints) -> Iterator[Candidate]:
        rows = np.concatenate([train, test])
        for number, kernel in enumerate(self.kernels):
            # Divided by its mean diagonal, so that one grid of C fits kernels of any scale.
            scale = max(float(kernel.diagonal()[train].mean()), 1e-12)
            named: Chosen = {"classifier": "svm", "kernel": number}
            yield _KernelMachine(kernel[np.ix_(rows, train)] / scale, y[train], named, KERNEL_C)


def evaluate_split(source: Source, y: Ints, train: Ints, test: Ints, seed: Seed) -> SplitScore:
    """Chooses on inner folds of ``train``, refits on ``train``, predicts ``test``.

    Args:
        source: what is probed.
        y: classes, ``[G]``; those of ``test`` are never read.
        train: training rows.
        test: test rows.
        seed: of the inner folds: three, or two where a class has only two training rows; dealt up to three times where
            rows are few, and not all of them held out where the first hold a thousand rows.

    Raises:
        DataError: a class has a single training row, or there is only one class.
    """
    smallest = int(np.unique(y[train], return_counts=True)[1].min())
    if smallest < 2:
        raise DataError("a class has one training row", field="y", value=smallest, expected="two for the inner folds")
    root = seed if isinstance(seed, tuple) else (seed,)
    deals = [
        stratified_folds(y[train], min(INNER_FOLDS, smallest), (*root, repeat))
        for repeat in range(max(min(_ENOUGH_HELD_OUT // len(train), INNER_REPEATS), 1))
    ]
    candidate, strength = _choose(source.candidates(y, train, test), lambda one: _inner_hits(one, y[train], deals))
    rows = len(train) + np.arange(len(test))
    return SplitScore(candidate.predict(np.arange(len(train)), rows, [strength])[0], candidate.chosen | {"C": strength})


def evaluate_validated(source: Source, y: Ints, train: Ints, val: Ints, test: Ints) -> SplitScore:
    """Fits on ``train``, chooses on ``val``, predicts ``test``; arguments as in `evaluate_split`."""
    fit, held_out = np.arange(len(train)), len(train) + np.arange(len(val))
    candidate, strength = _choose(
        source.candidates(y, train, np.concatenate([val, test])),
        lambda one: (one.predict(fit, held_out, one.strengths) == y[val]).sum(axis=1),
    )
    rows = len(train) + len(val) + np.arange(len(test))
    return SplitScore(candidate.predict(fit, rows, [strength])[0], candidate.chosen | {"C": strength})


def _choose(candidates: Iterator[Candidate], hits: Callable[[Candidate], Ints]) -> tuple[Candidate, float]:
    """The candidate and the C with the most hits; ties go to the earlier candidate and its C nearest to 1."""
    winner, strength, most = None, 0.0, -1
    for candidate in candidates:
        found = hits(candidate)
        if found.max() > most:
            tied = np.asarray(candidate.strengths)[found == found.max()]
            winner, strength, most = candidate, float(tied[np.abs(np.log10(tied)).argmin()]), int(found.max())
    assert winner is not None, "a source has at least one candidate"
    return winner, strength


def _inner_hits(candidate: Candidate, y: Ints, deals: Sequence[Ints]) -> Ints:
    hits = np.zeros(len(candidate.strengths), dtype=np.int64)
    for fold in deals:
        folds = int(fold.max()) + 1
        for f in range(min(folds, -(-_ENOUGH_OF_A_DEAL * folds // len(fold)))):
            held_out = np.flatnonzero(fold == f)
            predicted = candidate.predict(np.flatnonzero(fold != f), held_out, candidate.strengths)
            hits += (predicted == y[held_out]).sum(axis=1)
    return hits


def logistic_path(features: Floats, y: Ints, strengths: Sequence[float] = LOGISTIC_C) -> Iterator[Any]:
    """L2 logistic regression at each C in turn; one model, so use it before asking for the next.

    A warm start along rising C makes the whole path little dearer than its last point.
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
    """Lets a solver stop at the limit of floating point or of its steps without a warning.

    The held-out rows judge a model that stopped early as they judge any other.
    """
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
    """``function(*a)`` for each ``a`` of ``arguments``, in ``jobs`` processes; the results are in order.

    Raises:
        MissingExtraError: scikit-learn, which brings joblib, is not installed.
    """
    try:
        import joblib
    except ImportError as error:
        raise MissingExtraError("scikit-learn", "graph") from error
    return cast(list[Result], joblib.Parallel(n_jobs=jobs)(joblib.delayed(function)(*a) for a in arguments))


def _squared_distances(rows: Floats, columns: Floats) -> Floats:
    squares = (rows**2).sum(axis=1)[:, None] + (columns**2).sum(axis=1)
    return np.maximum(squares - 2 * rows @ columns.T, 0)
