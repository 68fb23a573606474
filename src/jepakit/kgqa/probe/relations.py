"""Relation prediction: the relation of two given entities, from frozen embeddings and few labels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from jepakit.kgqa.data import Ids
from jepakit.kgqa.probe.logistic import STRENGTHS, Scores, classify, few_of_each, unit_rows
from jepakit.kgqa.probe.split import TripleSplit


def probe_relations(
    embeddings: Sequence[NDArray[np.floating]],
    split: TripleSplit,
    *,
    fraction: float = 1.0,
    draw: int = 0,
    strengths: Sequence[float] = STRENGTHS,
) -> Scores:
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
    rows = labelled(split.train, fraction, draw)
    parts = [(_pairs(embeddings, triples), triples[:, 1]) for triples in (rows, split.val, split.test)]
    return classify(*parts, strengths=strengths)


def labelled(triples: Ids, fraction: float, draw: int) -> Ids:
    """A share of the triples, at random, with at least one of each relation."""
    return triples[few_of_each(triples[:, 1], fraction, draw)]


def _pairs(embeddings: Sequence[NDArray[np.floating]], triples: Ids) -> NDArray[np.float32]:
    columns = []
    for rows in embeddings:
        head, tail = (unit_rows(rows[triples[:, end]]) for end in (0, 2))
        columns += [head, tail, head * tail]
    return np.concatenate(columns, axis=1).astype(np.float32)
