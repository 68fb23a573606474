"""Splits into train, dev and test that share no document, and the documents that given splits share.

If a training query and a test query share their document, the model can memorise where that document belongs, and the
test overestimates it (in SciFact, 196 of 300 test queries). So pairs that are connected go into the same split:
queries that share a document, and documents of one source.

Where most pairs hang together, as with many judged answers a query, this is impossible. Such pairs are divided by
query: no query is in two splits, but documents are, and `repeated_documents` counts them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from jepakit.errors import ConfigError, DataError
from jepakit.retrieval.data import Pairs, RetrievalDataset
from jepakit.search.documents import Documents

_ALL = {"train": 0.7, "dev": 0.1, "test": 0.2}
_WITH_DEV = {"train": 0.85, "dev": 0.15}


@dataclass(frozen=True)
class Leak:
    """``documents`` are relevant in training and test; ``queries`` ``of`` the test queries have such a document."""

    documents: int
    queries: int
    of: int

    @property
    def sentence(self) -> str:
        """The counts in a sentence, for reports."""
        if not self.documents:
            return f"None of the {self.of} test queries shares a relevant document with training."
        return (
            f"{self.queries} of {self.of} test queries share a relevant document with training "
            f"({self.documents} {'document' if self.documents == 1 else 'documents'})."
        )


def split_by_document(
    pairs: Pairs, documents: Documents, fractions: Mapping[str, float], *, seed: int
) -> dict[str, Pairs]:
    """Divides pairs so that no document, source or query is in two splits.

    Pairs (of any grade) that share a query, document or source form a group, and each group goes into one split: the
    largest group first, each into the split with the most relative room for it. Sizes are counted in pairs and are as
    near to the ``fractions`` (split -> share) as this allows; with too few groups a split stays empty. ``seed``
    determines the order of groups of equal size.

    Raises:
        ConfigError: the fractions are not positive numbers that sum to 1.
    """
    split = _assign(_components(pairs, documents), _shares(fractions), seed)
    return {name: pairs[split == place] for place, name in enumerate(fractions)}


def folds_by_document(pairs: Pairs, documents: Documents, folds: int, *, seed: int) -> Tensor:
    """The fold of each pair, ``[P]`` int64 in ``0 .. folds - 1``: no document, source or query is in two folds.

    Folds are as equal in pairs as that allows, see `split_by_document`.

    Raises:
        DataError: there are fewer groups of connected pairs than folds.
    """
    component = _components(pairs, documents)
    groups = int(component.unique().numel())
    if groups < folds:
        problem = f"the pairs cannot be divided into {folds} folds that share no document, source or query"
        raise DataError(problem, value=groups, expected=f"at least {folds} groups of pairs that share none")
    return _assign(component, [1 / folds] * folds, seed)


def split_by_query(pairs: Pairs, fractions: Mapping[str, float], *, seed: int) -> dict[str, Pairs]:
    """Divides pairs so that no query is in two splits; otherwise as `split_by_document`."""
    split = _assign(_by_query(pairs), _shares(fractions), seed)
    return {name: pairs[split == place] for place, name in enumerate(fractions)}


def folds_by_query(pairs: Pairs, folds: int, *, seed: int) -> Tensor:
    """The fold of each pair, ``[P]`` int64 in ``0 .. folds - 1``: no query is in two folds; a fold may be empty."""
    return _assign(_by_query(pairs), [1 / folds] * folds, seed)


def divisible_by_document(pairs: Pairs, documents: Documents, folds: int) -> bool:
    """Whether pairs make ``folds`` folds by document of which none holds more than half of them."""
    sizes = torch.bincount(_components(pairs, documents))
    return len(sizes) >= folds and 2 * int(sizes.max()) <= len(pairs)


def repeated_documents(train: Pairs, held_out: Pairs, documents: Documents) -> float:
    """The share, 0 to 1, of the relevant documents held out whose source has a relevant document in training."""
    source = source_numbers(documents)
    asked = held_out.relevant.documents
    return float(torch.isin(source[asked], source[train.relevant.document]).double().mean()) if len(asked) else 0.0


def shared_documents(train: Pairs, test: Pairs) -> Leak:
    """Counts the relevant documents that a test shares with training."""
    both = int(torch.isin(test.relevant.documents, train.relevant.documents).sum())
    return Leak(both, int(seen_queries(train, test).numel()), int(test.relevant.queries.numel()))


def seen_queries(train: Pairs, test: Pairs) -> Tensor:
    """Rows of the test queries with a relevant document that is relevant in training too, ascending, int64."""
    relevant = test.relevant
    return relevant.query[torch.isin(relevant.document, train.relevant.documents)].unique()


def without_shared(train: Pairs, test: Pairs, documents: Documents) -> Pairs:
    """The training pairs of queries that share no relevant document, and no source of one, with a test."""
    source = source_numbers(documents)
    relevant = train.relevant
    shares = torch.isin(source[relevant.document], source[test.relevant.document])
    return train[~torch.isin(train.query, relevant.query[shares])]


def train_and_dev(dataset: RetrievalDataset) -> tuple[Pairs, Pairs]:
    """The training pairs that share no document with the development pairs, and the development pairs.

    Where that would leave fewer than half of the training queries, all are kept that are no development queries.

    Raises:
        DataError: a split is missing or empty.
    """
    missing = [name for name in ("train", "dev") if name not in dataset.splits]
    if missing:
        expected = "splits train and dev, as jepakit.retrieval.with_training_pairs makes them"
        given = ", ".join(dataset.splits) or None
        raise DataError(f"no {' and no '.join(missing)} pairs", field="splits", value=given, expected=expected)
    dev = dataset.splits["dev"]
    given = dataset.splits["train"]
    train = without_shared(given, dev, dataset.documents)
    if 2 * len(train.relevant.queries) < len(given.relevant.queries):
        train = given[~torch.isin(given.query, dev.query)]
    if not len(train.relevant) or not len(dev.relevant):
        given = f"{len(train.relevant)} for training, {len(dev.relevant)} for development"
        expected = "some of both, of different queries"
        raise DataError("nothing can be held out", field="pairs", value=given, expected=expected)
    return train, dev


def ensure_splits(dataset: RetrievalDataset, *, seed: int = 0) -> RetrievalDataset:
    """A dataset with the splits that training needs; ``origin`` records the division.

    - ``all``: divided by document into train, dev and test, 70, 10 and 20 %.
    - train without dev: 15 % of train become dev, by document; the test split is not changed.
    - Any other splits, such as a test alone, are not changed.

    Where division by document would leave a split less than half of its share, the pairs are divided by query.

    Raises:
        DataError: the pairs have so few queries that a split would be empty.
    """
    given = dict(dataset.splits)
    if given.keys() == {"all"}:
        divided, fractions, name = given.pop("all"), _ALL, "all pairs"
    elif "train" in given and "dev" not in given:
        divided, fractions, name = given.pop("train"), _WITH_DEV, "the training pairs"
    else:
        return dataset
    made = split_by_document(divided, dataset.documents, fractions, seed=seed)
    how = "by document"
    if any(len(made[split].relevant) < share / 2 * len(divided.relevant) for split, share in fractions.items()):
        made = split_by_query(divided, fractions, seed=seed)
        others = torch.cat([pairs.query for split, pairs in made.items() if split != "train"])
        held_out = divided[torch.isin(divided.query, others)]
        repeated = repeated_documents(made["train"], held_out, dataset.documents)
        how = f"by query (most hang together: {100 * repeated:.0f} % of the other splits' documents are in train too)"
    empty = [split for split, pairs in made.items() if not len(pairs.relevant)]
    if empty:
        raise DataError(
            f"too few queries to divide into {', '.join(fractions)}",
            field="splits",
            value=f"{len(divided.relevant.queries)} queries on {len(divided.relevant.documents)} documents",
            expected=(
                "more of both, or pairs with a column 'split'; documents that are too few to train on can be searched"
                " without training: jepakit.retrieval.Searcher with an index and the base model alone"
            ),
        )
    shares = ", ".join(f"{split} {100 * share:.0f} %" for split, share in fractions.items())
    origin = f"{dataset.origin}; {name} divided {how} into {shares} (seed {seed})"
    return replace(dataset, splits={**made, **given}, origin=origin.removeprefix("; "), own_dev=False)


def source_numbers(documents: Documents) -> Tensor:
    """``[documents]``: a number for each source, or for each document if they have no sources."""
    number: dict[str, int] = {}
    return torch.tensor([number.setdefault(name, len(number)) for name in documents.source or documents.ids])


def _shares(fractions: Mapping[str, float]) -> list[float]:
    shares = list(fractions.values())
    if not shares or min(shares) <= 0 or abs(sum(shares) - 1) > 1e-6:
        raise ConfigError("fractions", dict(fractions), "positive numbers that sum to 1")
    return shares


def _by_query(pairs: Pairs) -> Tensor:
    """``[P]``: the number of each pair's query, from 0, without gaps."""
    return pairs.query.unique(return_inverse=True)[1]


def _components(pairs: Pairs, documents: Documents) -> Tensor:
    """``[P]``: the connected component of each pair, in the graph of queries and sources."""
    if not len(pairs):
        return torch.zeros(0, dtype=torch.long)
    query = pairs.query.unique(return_inverse=True)[1].numpy()
    source = source_numbers(documents)[pairs.document].unique(return_inverse=True)[1].numpy() + query.max() + 1
    edges = coo_array((np.ones(len(pairs)), (query, source)), shape=(source.max() + 1,) * 2)
    return torch.from_numpy(connected_components(edges, directed=False)[1][query]).long()


def _assign(component: Tensor, shares: Sequence[float], seed: int) -> Tensor:
    """``[P]``: the split of each pair, the same for all of a component."""
    sizes = torch.bincount(component)
    shuffled = torch.randperm(len(sizes), generator=torch.Generator().manual_seed(seed))
    order = shuffled[sizes[shuffled].argsort(descending=True, stable=True)]
    targets = [share * len(component) for share in shares]
    room = list(targets)
    split_of = torch.empty(len(sizes), dtype=torch.long)
    # Sequential: the split of a component depends on all earlier ones.
    for group, size in zip(order.tolist(), sizes[order].tolist(), strict=True):
        fitting = [split for split in range(len(room)) if room[split] >= size]
        best = max(fitting, key=lambda split: room[split] / targets[split]) if fitting else room.index(max(room))
        room[best] -= size
        split_of[group] = best
    return split_of[component]
