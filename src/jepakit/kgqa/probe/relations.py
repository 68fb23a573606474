"""Relation prediction: the relation of two given entities, from frozen embeddings and few labels."""

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
from jepakit.kgqa.probe.split import TripleSplit

#: The stubs of scikit-learn know the words alone.
_ZERO: Any = 0
STRENGTHS = (0.01, 0.1, 1.0, 10.0)
"""C of logistic regression."""


@dataclass(frozen=True)
class RelationScores:
    """Scores on the test triples, in percent.

    Args:
        accuracy: share of the triples whose relation is right.
        macro_f1: mean over the relations of the F1 of each, over those that occur in the test.
        chosen: whether columns are standardised, and the C, as was best on the validation triples.
    """

    accuracy: float
    macro_f1: float
    chosen: tuple[bool, float]


def probe_relations(
    embeddings: Sequence[NDArray[np.floating]],
    split: TripleSplit,
    *,
    fraction: float = 1.0,
    draw: int = 0,
    strengths: Sequence[float] = STRENGTHS,
) -> RelationScores:
    """Logistic regression from both entities of a triple to its relation.

    The features of a triple are the embeddings of head and tail and their elementwise product. Whether the columns are
    standardised, and C, are chosen by macro F1 on the validation triples; the test triples are scored once.

    Args:
        embeddings: one or more ``[N, D]``, each of unit rows after normalisation, side by side.
        split: from `jepakit.kgqa.probe.split.split_triples`.
        fraction: of the training triples that are labelled.
        draw: which of them.
        strengths: values of C.
    """
    try:
        from sklearn.linear_model import LogisticRegression
        from sklearn.metrics import f1_score
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import FunctionTransformer, StandardScaler
    except ModuleNotFoundError as error:
        raise MissingExtraError(str(error.name), "kgqa") from error
    rows = labelled(split.train, fraction, draw)
    parts = [(_pairs(embeddings, triples), triples[:, 1]) for triples in (rows, split.val, split.test)]
    (x, y), (x_val, y_val), (x_test, y_test) = parts
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
    return RelationScores(100 * float((predicted == y_test).mean()), 100 * float(macro), chosen)


def labelled(triples: Ids, fraction: float, draw: int) -> Ids:
    """A share of the triples, at random, with at least one of each relation."""
    order = np.random.default_rng(draw).permutation(len(triples))
    _, first = np.unique(triples[order, 1], return_index=True)
    count = max(len(first), round(fraction * len(triples)))
    others = np.setdiff1d(np.arange(len(order)), first)
    return triples[order[np.concatenate([first, others])[:count]]]


def _pairs(embeddings: Sequence[NDArray[np.floating]], triples: Ids) -> NDArray[np.float32]:
    columns = []
    for rows in embeddings:
        head, tail = (_unit(rows[triples[:, end]]) for end in (0, 2))
        columns += [head, tail, head * tail]
    return np.concatenate(columns, axis=1).astype(np.float32)


def _unit(rows: NDArray[np.floating]) -> NDArray[np.floating]:
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
