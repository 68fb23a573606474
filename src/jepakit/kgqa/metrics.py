"""Metrics of ranked answers, as STaRK (Wu et al. 2024) and MetaQA (Zhang et al. 2018) use them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from jepakit.errors import DataError
from jepakit.kgqa.data import Ids

METRICS = ("hit@1", "hit@5", "recall@20", "mrr", "precision", "recall", "f1")
"""The columns of `answer_metrics`."""


def answer_metrics(
    ranked: Sequence[Ids],
    answers: Sequence[Sequence[int]],
    *,
    predicted: Sequence[Ids] | None = None,
    missing: Sequence[int] | None = None,
) -> NDArray[np.float64]:
    """The `METRICS` of each question, ``[Q, 7]``.

    hit@k: whether one of the first k is an answer. recall@20: share of the answers among the first 20. mrr: 1 / place
    of the first answer, 0 where there is none. precision, recall, f1: of the predicted set. A question without any
    answer is right (1) where nothing is predicted or ranked.

    Args:
        ranked: entities of each question, best first.
        answers: the gold entities of each.
        predicted: the set that is given as the answer; by default the best entity.
        missing: number of further gold answers of each that the graph does not have; they count as not found.

    Raises:
        DataError: not one entry for each question.
    """
    for name, column in (("answers", answers), ("predicted", predicted), ("missing", missing)):
        if column is not None and len(column) != len(ranked):
            raise DataError("not one for each question", field=name, value=len(column), expected=str(len(ranked)))
    table = np.zeros((len(ranked), len(METRICS)))
    for row, entities in enumerate(ranked):
        gold = set(answers[row])
        total = len(gold) + (0 if missing is None else missing[row])
        given = entities[:1] if predicted is None else predicted[row]
        table[row] = _of_question(entities, gold, total, given)
    return table


def _of_question(entities: Ids, gold: set[int], total: int, given: Ids) -> list[float]:
    if not total:
        empty = float(not len(entities))
        return [empty] * 4 + [float(not len(given))] * 3
    right = np.array([entity in gold for entity in entities.tolist()], bool)
    first = int(np.argmax(right)) if right.any() else None
    correct = sum(entity in gold for entity in given.tolist())
    precision = correct / len(given) if len(given) else 0.0
    recall = correct / total
    f1 = 2 * precision * recall / (precision + recall) if correct else 0.0
    ranked = [float(right[:1].any()), float(right[:5].any()), right[:20].sum() / total]
    return [*ranked, 0.0 if first is None else 1 / (first + 1), precision, recall, f1]
