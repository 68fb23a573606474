"""The pairs that an adapter is chosen on: held out of the training pairs by document where they allow it."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from jepakit.errors import DataError
from jepakit.retrieval.data import Pairs, RetrievalDataset
from jepakit.retrieval.datasets.splits import (
    divisible_by_document,
    folds_by_document,
    folds_by_query,
    repeated_documents,
    train_and_dev,
)


@dataclass(frozen=True)
class HeldOut:
    """Training pairs, and pairs that are held out of them.

    Args:
        parts: training and held-out pairs of each fold; no query is in both.
        how: how they were divided, for a sentence; ``""``: by document, so that no document is in both.
    """

    parts: tuple[tuple[Pairs, Pairs], ...]
    how: str = ""


def hold_out(dataset: RetrievalDataset, *, folds: int, enough: int, seed: int, tuned: bool = False) -> HeldOut:
    """Divides the train and dev pairs of a collection for model selection.

    - By document into ``folds`` folds, if the pairs allow it.
    - Else, with a development split of its own, that split is held out.
    - Else by query into ``folds`` folds.

    Args:
        dataset: with splits, see `jepakit.retrieval.datasets.splits.ensure_splits`.
        folds: parts into which the pairs are divided; each is held out once.
        enough: number of held-out queries after which no further fold is made.
        seed: determines the folds.
        tuned: hold out only the development pairs, since the base was trained on the others.

    Raises:
        DataError: nothing can be held out, for lack of queries.
    """
    pairs, documents = dataset.training, dataset.documents
    if tuned:
        return _described(dataset, (train_and_dev(dataset),), "the development pairs are held out")
    if divisible_by_document(pairs, documents, folds):
        return HeldOut(_parts(pairs, folds_by_document(pairs, documents, folds, seed=seed), folds, enough))
    given = (dataset.splits[name].relevant for name in ("train", "dev") if name in dataset.splits)
    if dataset.own_dev and sum(len(part) > 0 for part in given) == 2:
        return _described(dataset, (train_and_dev(dataset),), "the given dev split is held out")
    parts = _parts(pairs, folds_by_query(pairs, folds, seed=seed), folds, enough)
    return _described(dataset, parts, "pairs are held out by query")


def _parts(pairs: Pairs, fold: Tensor, folds: int, enough: int) -> tuple[tuple[Pairs, Pairs], ...]:
    """(training, held-out) pairs of the first folds that have both and together enough queries."""
    parts: list[tuple[Pairs, Pairs]] = []
    for number in range(folds):
        train, held_out = pairs[fold != number], pairs[fold == number]
        full = sum(len(part.relevant.queries) for _, part in parts) >= enough
        if not full and len(train.relevant) and len(held_out.relevant):
            parts.append((train, held_out))
    if not parts:
        expected = "pairs of at least two queries"
        raise DataError("nothing can be held out", field="pairs", value=len(pairs), expected=expected)
    return tuple(parts)


def _described(dataset: RetrievalDataset, parts: tuple[tuple[Pairs, Pairs], ...], how: str) -> HeldOut:
    """The parts, and ``how`` with the share of held-out documents that training has too, if there are any."""
    counts = [len(held_out.relevant.documents) for _, held_out in parts]
    shares = [repeated_documents(*part, dataset.documents) for part in parts]
    shared = sum(count * share for count, share in zip(counts, shares, strict=True))
    share = shared / sum(counts)
    return HeldOut(parts, f"{how}; {100 * share:.0f} % of their documents are in training too" if shared else how)
