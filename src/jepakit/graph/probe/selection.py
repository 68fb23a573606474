"""Selects a classifier and its hyper-parameters on the training part of a split.

A `Candidate` is a classifier with fixed hyper-parameters except C. All candidates and all C are scored on held-out rows
of the training part; the best is refitted and predicts the test rows.
"""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, NamedTuple, Protocol, TypeVar, cast

import joblib
import numpy as np
from threadpoolctl import threadpool_limits

from jepakit.errors import DataError, MissingExtraError
from jepakit.graph.probe.folds import Seed, stratified_folds
from jepakit.graph.probe.result import Chosen, Floats, Ints
from jepakit.progress import tracked

Classifier = Literal["logistic", "svm", "best"]
View = Literal["signed log", "one scale", "none"]
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
    """Columns of mean 0 and variance 1 in the first ``fit_rows`` rows; zero where a column is constant in them."""
    mean, std = features[:fit_rows].mean(axis=0), features[:fit_rows].std(axis=0)
    informative = std > _ROUNDING * np.maximum(np.abs(mean), 1e-9)
    return (features - mean) * np.divide(1.0, std, out=np.zeros_like(std), where=informative)


def signed_log(features: Floats) -> Floats:
    """``sign(x) log(1 + |x|)``."""
    return np.sign(features) * np.log1p(np.abs(features))


def prepared(features: Floats, fit_rows: int, view: View) -> Floats:
    """The features as input of a classifier, fitted on the first ``fit_rows`` rows.

    ``none`` standardises each column. ``signed log`` does so after `signed_log`, because sums over nodes have heavy
    tails. ``one scale`` centres each column after `signed_log` and divides all columns by one root mean square.

    Each column is clipped to the range of the fitted rows, extended by its width on both sides. A substructure that is
    rare in the training rows can put a test row thousands of standard deviations away from them, where the predictions
    of a classifier or regression are arbitrary.
    """
    if view != "none":
        features = signed_log(features)
    if view == "one scale":
        fitted = features[:fit_rows]
        features = (features - fitted.mean(axis=0)) / max(float(np.sqrt(fitted.var(axis=0).mean())), 1e-12)
    else:
        features = standardize(features, fit_rows)
    low, high = features[:fit_rows].min(axis=0), features[:fit_rows].max(axis=0)
    return np.clip(features, low - (high - low), high + (high - low))


@dataclass(frozen=True)
class Candidate:
    """A classifier with a grid of C, for the rows of a split, training rows first.

    Args:
        chosen: the other hyper-parameters.
        strengths: the grid of C.
        predict: ``(fit rows, rows, strengths)`` -> classes ``[len(strengths), len(rows)]``.
    """

    chosen: Chosen
    strengths: Sequence[float]
    predict: Callable[[Ints, Ints, Sequence[float]], Ints]


class SplitScore(NamedTuple):
    """Predicted classes ``[len(test)]`` of a split, the selected hyper-parameters, and predictions of resamples."""

    predicted: Ints
    chosen: Chosen
    resampled: tuple[Ints, ...] = ()


@dataclass(frozen=True)
class FeatureSource:
    """Features ``[G, D]``, for L2 logistic regression, an RBF support vector machine, or both.

    Logistic regression uses every view of `prepared`, the support vector machine the first. The width of its kernel is
    in units of the median squared distance between training rows.
    """

    features: Floats
    classifier: Classifier
    views: tuple[View, ...] = MANY_ROWS

    def candidates(self, y: Ints, rows: Ints) -> Iterator[Candidate]:
        """The candidates for ``rows``, the simplest first, fitted on the first ``len(y)`` rows only."""
        features, view = self.features[rows], self.views[0]
        if self.classifier != "svm":
            for name in self.views:
                predict = partial(predict_logistic, prepared(features, len(y), name), y)
                yield Candidate({"classifier": "logistic", "view": name}, LOGISTIC_C, predict)
        if self.classifier != "logistic":
            z = prepared(features, len(y), view)
            distance = squared_distances(z, z[: len(y)])
            width = max(float(np.median(distance[: len(y)])), 1e-12)
            for gamma in GAMMA:
                predict = partial(_predict_svm, np.exp(-gamma / width * distance), y)
                yield Candidate({"classifier": "svm", "view": view, "gamma": gamma}, SVM_C, predict)


@dataclass(frozen=True)
class KernelSource:
    """Precomputed kernels ``[G, G]``, for a support vector machine."""

    kernels: tuple[Floats, ...]

    def candidates(self, y: Ints, rows: Ints) -> Iterator[Candidate]:
        """See `FeatureSource`."""
        train = rows[: len(y)]
        for number, kernel in enumerate(self.kernels):
            # Division by the mean diagonal makes one grid of C suitable for kernels of any scale.
            scale = max(float(kernel.diagonal()[train].mean()), 1e-12)
            predict = partial(_predict_svm, kernel[np.ix_(rows, train)] / scale, y)
            yield Candidate({"classifier": "svm", "kernel": number}, KERNEL_C, predict)


class Source(Protocol):
    """What has candidates: a `FeatureSource`, a `KernelSource`, or another."""

    def candidates(self, y: Ints, rows: Ints) -> Iterator[Candidate]:
        """See `FeatureSource`."""
        ...


def evaluate_split(source: Source, y: Ints, train: Ints, test: Ints, seed: Seed) -> SplitScore:
    """Selects on inner folds of ``train``, refits on ``train``, predicts ``test``, whose labels are not read.

    There are three inner folds, or two if a class has only two training rows. Few rows are split up to three times; of
    many rows, about a thousand are held out.

    Raises:
        DataError: a class has a single training row, or there is only one class.
    """
    smallest = int(np.unique(y[train], return_counts=True)[1].min())
    if smallest < 2:
        raise DataError("a class has one training row", field="y", value=smallest, expected="two for the inner folds")
    root, folds = seed if isinstance(seed, tuple) else (seed,), min(INNER_FOLDS, smallest)
    inner = [
        (np.flatnonzero(fold != f), np.flatnonzero(fold == f))
        for repeat in range(max(min(_MAX_ROWS_REPEATED // len(train), INNER_REPEATS), 1))
        for fold in [stratified_folds(y[train], folds, (*root, repeat))]
        for f in range(min(folds, -(-_MAX_ROWS_HELD_OUT * folds // len(train))))
    ]
    return _evaluate(source, y, train, train, test, inner)


def evaluate_validated(
    source: Source, y: Ints, train: Ints, val: Ints, test: Ints, halves: Sequence[Ints] = ()
) -> SplitScore:
    """Fits on ``train``, selects on ``val``, predicts ``test``, whose labels are not read.

    What is selected is fitted again on each of ``halves``, rows of ``train``, and predicts ``test``.
    """
    labelled = np.concatenate([train, val])
    inner = [(np.arange(len(train)), np.arange(len(train), len(labelled)))]
    fits = [np.flatnonzero(np.isin(train, half)) for half in halves]
    return _evaluate(source, y, train, labelled, test, inner, fits)


def _evaluate(
    source: Source,
    y: Ints,
    train: Ints,
    labelled: Ints,
    test: Ints,
    inner: Sequence[tuple[Ints, Ints]],
    refits: Sequence[Ints] = (),
) -> SplitScore:
    """Selects by the hits on ``inner``, pairs of fitted and held-out positions in ``labelled``, and predicts ``test``.

    ``labelled`` are the rows whose labels may be read, those of ``train`` first; ``refits`` are positions in it. Of
    equally good choices the first candidate and its C nearest to 1 win.
    """
    best, strength, most = None, 0.0, -1
    for candidate in source.candidates(y[train], np.concatenate([labelled, test])):
        predictions = [(candidate.predict(fit, rows, candidate.strengths), rows) for fit, rows in inner]
        hits = np.sum([(predicted == y[labelled[rows]]).sum(axis=1) for predicted, rows in predictions], axis=0)
        if hits.max() > most:
            tied = np.asarray(candidate.strengths)[hits == hits.max()]
            best, strength, most = candidate, float(tied[np.abs(np.log10(tied)).argmin()]), int(hits.max())
    assert best is not None, "a source has at least one candidate"
    rows = len(labelled) + np.arange(len(test))
    predicted, *resampled = (best.predict(fit, rows, [strength])[0] for fit in (np.arange(len(train)), *refits))
    return SplitScore(predicted, best.chosen | {"C": strength}, tuple(resampled))


def logistic_path(features: Floats, y: Ints, strengths: Sequence[float] = LOGISTIC_C) -> Iterator[Any]:
    """L2 logistic regression at each C, ascending; yields the same model again, refitted from the last solution."""
    model = sklearn_module("linear_model").LogisticRegression(max_iter=20_000, warm_start=True)
    for strength in strengths:
        with _accept_rounding():
            model.set_params(C=strength).fit(features, y)
        yield model


def predict_logistic(features: Floats, y: Ints, fit: Ints, rows: Ints, strengths: Sequence[float]) -> Ints:
    """Classes ``[len(strengths), len(rows)]``, by L2 logistic regression at each C fitted to the rows ``fit``."""
    models = logistic_path(features[fit], y[fit], strengths)
    return np.stack([model.predict(features[rows]) for model in models])


def _predict_svm(kernel: Floats, y: Ints, fit: Ints, rows: Ints, strengths: Sequence[float]) -> Ints:
    among, across = kernel[np.ix_(fit, fit)], kernel[np.ix_(rows, fit)]
    machine = partial(sklearn_module("svm").SVC, kernel="precomputed", cache_size=1000, max_iter=1_000_000)
    with _accept_rounding():
        return np.stack([machine(C=strength).fit(among, y[fit]).predict(across) for strength in strengths])


@contextmanager
def _accept_rounding() -> Generator[None]:
    """Suppresses convergence warnings: held-out scores also judge a model that stopped early."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", sklearn_module("exceptions").ConvergenceWarning)
        yield


def sklearn_module(name: str) -> Any:
    """``sklearn.NAME``; raises MissingExtraError where scikit-learn is not installed."""
    try:
        return importlib.import_module(f"sklearn.{name}")
    except ImportError as error:
        raise MissingExtraError("scikit-learn", "graph") from error


def in_parallel(
    function: Callable[..., Result], arguments: Sequence[tuple[Any, ...]], jobs: int, *, name: str, unit: str
) -> list[Result]:
    """``function(*a)`` for each ``a`` of ``arguments``, in order, computed in ``jobs`` processes.

    ``name`` and ``unit`` are for `jepakit.progress`.
    """
    parallel = joblib.Parallel(n_jobs=jobs, return_as="generator")
    # Matrices are small: several threads of OpenBLAS took more than five times as long. joblib limits its processes.
    with threadpool_limits(1 if jobs == 1 else None):
        results = cast(Iterable[Result], parallel(joblib.delayed(function)(*a) for a in arguments))
        return list(tracked(results, name, len(arguments), unit=unit))


def squared_distances(rows: Floats, columns: Floats) -> Floats:
    """``[R, C]``, between each of the rows ``[R, D]`` and each of the rows ``[C, D]``."""
    squares = (rows**2).sum(axis=1)[:, None] + (columns**2).sum(axis=1)
    return np.maximum(squares - 2 * rows @ columns.T, 0)
