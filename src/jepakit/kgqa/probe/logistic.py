"""Logistic regression whose settings are chosen on validation rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jepakit.errors import MissingExtraError
from jepakit.kgqa.data import Ids

#: The stubs of scikit-learn know the words alone.
_ZERO: Any = 0
STRENGTHS = (0.01, 0.1, 1.0, 10.0)
"""C of logistic regression."""

Labelled = tuple[NDArray[np.float32], Ids]
"""Features and classes, ``[n, D], [n]``."""


@dataclass(frozen=True)
class Scores:
    """Scores on the test rows, in percent.

    Args:
        accuracy: share of the rows whose class is right.
        macro_f1: mean over the classes of the F1 of each, over those that occur in the test.
        chosen: whether columns are standardised, and the C, as was best on the validation rows.
    """

    accuracy: float
    macro_f1: float
    chosen: tuple[bool, float]


def classify(train: Labelled, val: Labelled, test: Labelled, *, strengths: Sequence[float] = STRENGTHS) -> Scores:
    """Trains on the first rows, chooses by macro F1 on the second, scores the third once.

    Whether the columns are standardised, and C, are chosen.

    Raises:
        MissingExtraError: scikit-learn is not installed.
    """
    try:
        from sklearn.linear_model import LogisticRegression
        from sklearn.metrics import f1_score
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import FunctionTransformer, StandardScaler
    except ModuleNotFoundError as error:
        raise MissingExtraError(str(error.name), "kgqa") from error
    (x, y), (x_val, y_val), (x_test, y_test) = train, val, test
    best, chosen, score = None, (False, 0.0), -1.0
    # To a root mean square of 1, so that a C means as much as after standardising.
    scale = 1 / max(float(np.sqrt((x**2).mean())), 1e-12)
    for standardise, strength in product((False, True), strengths):
        scaler = StandardScaler() if standardise else FunctionTransformer(partial(np.multiply, scale))
        model = make_pipeline(scaler, LogisticRegression(C=strength, max_iter=300, tol=1e-3)).fit(x, y)
        value = float(
            f1_score(y_val, model.predict(x_val), average="macro", labels=np.unique(y_val), zero_division=_ZERO)
        )
        if value > score:
            best, chosen, score = model, (standardise, strength), value
    assert best is not None
    predicted = best.predict(x_test)
    macro = f1_score(y_test, predicted, average="macro", labels=np.unique(y_test), zero_division=_ZERO)
    return Scores(100 * float((predicted == y_test).mean()), 100 * float(macro), chosen)


def few_of_each(classes: Ids, fraction: float, draw: int) -> Ids:
    """The places of a share of the rows, at random, with at least one of each class."""
    order = np.random.default_rng(draw).permutation(len(classes))
    _, first = np.unique(classes[order], return_index=True)
    count = max(len(first), round(fraction * len(classes)))
    others = np.setdiff1d(np.arange(len(order)), first)
    return order[np.concatenate([first, others])[:count]]


def unit_rows(rows: NDArray[np.floating]) -> NDArray[np.floating]:
    """The rows, each of length 1."""
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
