"""Classification of entities from frozen embeddings and few labels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from jepakit.kgqa.data import Ids
from jepakit.kgqa.probe.logistic import STRENGTHS, Scores, classify, few_of_each, unit_rows


def probe_entities(
    embeddings: Sequence[NDArray[np.floating]],
    classes: Ids,
    *,
    fraction: float = 1.0,
    seed: int = 0,
    draw: int = 0,
    strengths: Sequence[float] = STRENGTHS,
) -> Scores:
    """Logistic regression from an entity to its class; of the entities 60 % train, 20 % validate, 20 % test.

    Args:
        embeddings: one or more ``[N, D]``, each of unit rows after normalisation, side by side.
        classes: of each entity, ``[N]``; entities of class -1 are left out.
        fraction: of the training entities that are labelled.
        seed: of the three parts.
        draw: which training entities are labelled.
        strengths: values of C.
    """
    known = np.flatnonzero(classes >= 0)
    order = np.random.default_rng(seed).permutation(known)
    train, val, test = np.split(order, [round(0.6 * len(order)), round(0.8 * len(order))])
    train = train[few_of_each(classes[train], fraction, draw)]
    parts = [
        (np.concatenate([unit_rows(one[rows]) for one in embeddings], 1).astype(np.float32), classes[rows])
        for rows in (train, val, test)
    ]
    return classify(*parts, strengths=strengths)
