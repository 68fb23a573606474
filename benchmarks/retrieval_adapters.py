"""Adapters of a frozen encoder: what they gain at home, on documents they have not seen, and what they cost elsewhere.

    python -m benchmarks.retrieval_adapters            # half an hour on two cores once the collections are encoded
    python -m benchmarks.retrieval_adapters --quick    # minutes: one seed, the two small collections

Every method is trained on each home and measured on the home's test pairs and on the test pairs of all other
collections. "disjoint" leaves out the training questions that share a document with the test; the official split of
SciFact is there because others report it. What is chosen is chosen on training and development pairs. Intervals are
paired by question and pool the seeds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.harness import Options, Steps, data_dir, main, mean_row
from benchmarks.retrieval_homes import HOMES, home_dataset
from jepakit.retrieval import (
    Adapter,
    AdapterConfig,
    Hits,
    LexicalIndex,
    ObjectiveConfig,
    Pairs,
    RetrievalDataset,
    SearchSettings,
    SelectionConfig,
    TrainConfig,
    ViewConfig,
    load_dataset,
    paired_interval,
    train,
    weighted,
)
from jepakit.retrieval.evaluate import familiarity_in
from jepakit.retrieval.feedback import nearest
from jepakit.retrieval.fusion import choose_weight
from jepakit.retrieval.metrics import ndcg
from jepakit.retrieval.search import DEPTH
from jepakit.text import CachedEncoder, EmbeddingCache, TextEncoder, load_text_encoder
from jepakit.training.result_rows import ResultRow

COLLECTIONS = ("scifact", "stackfaq", "medquad", "cranfield")
BASE, BM25, BASE_BM25 = "base model", "BM25", "base model + BM25"
BASE_FEEDBACK = "base model with feedback"
STILL = "jepakit: without feedback"
LINEAR = "linear adapter, in-batch negatives"
OURS, OURS_BM25 = "jepakit: adapter", "jepakit: adapter + BM25"
UNGATED = "jepakit: without familiarity"
NO_PREDICTIVE = "jepakit: without the predictive term"
PERCEPTRON = "jepakit: perceptron instead of a linear map"
PROJECTED = "jepakit: with a projection of both sides"
ISOTROPY = "jepakit: with a projection and SIGReg"
CORPUS = "jepakit: told from the whole corpus"

VARIANTS: dict[str, TrainConfig] = {
    OURS: TrainConfig(),
    STILL: TrainConfig(selection=SelectionConfig(feedback=[])),
    UNGATED: TrainConfig(familiarity=False),
    NO_PREDICTIVE: TrainConfig(selection=SelectionConfig(predictive=[0.0])),
    PERCEPTRON: TrainConfig(adapter=AdapterConfig(predictor_depth=2)),
    PROJECTED: TrainConfig(adapter=AdapterConfig(projection_depth=1)),
    CORPUS: TrainConfig(views=ViewConfig(candidates="corpus")),
    ISOTROPY: TrainConfig(adapter=AdapterConfig(projection_depth=1), objective=ObjectiveConfig(isotropy=0.02)),
}
AIM_FUSED = {"SciFact, disjoint": 0.73}
Values = dict[str, list[float]]
"""Collection -> NDCG@10 of each test question."""


@dataclass(frozen=True)
class Collection:
    """A collection and the base's vectors of it."""

    dataset: RetrievalDataset
    queries: Tensor
    documents: Tensor
    words: LexicalIndex

    @property
    def test(self) -> Pairs:
        return self.dataset.splits["test"]

    def by_words(self, rows: Tensor) -> Hits:
        return self.words.search([self.dataset.queries.texts[row] for row in rows.tolist()], 100)

    def values(self, hits: Hits) -> list[float]:
        return ndcg(hits.rows, self.test.relevant.queries, self.test).tolist()


@dataclass(frozen=True)
class Home:
    """Where methods are trained, and the collections they are measured on.

    Args:
        name: in the table.
        where: the name of its collection.
        dataset: the pairs that may be learned from.
        collections: all of them, each loaded when it is first needed.
    """

    name: str
    where: str
    dataset: Callable[[], RetrievalDataset]
    collections: Mapping[str, Callable[[], Collection]]

    @property
    def collection(self) -> Collection:
        return self.collections[self.where]()

    def everywhere(self, search: Callable[[Collection, Tensor], Hits]) -> Values:
        """A search measured on the test questions of every collection."""
        return {
            name: there().values(search(there(), there().test.relevant.queries))
            for name, there in self.collections.items()
        }


def rows(options: Options, steps: Steps) -> list[ResultRow]:
    """All rows; `steps` keeps what is already measured."""
    encoder = CachedEncoder(load_text_encoder(), EmbeddingCache())
    names = ("stackfaq", "cranfield") if options.quick else COLLECTIONS
    collections = {name: cache(partial(_collection, name, encoder)) for name in names}
    seeds = [0] if options.quick else [0, 1, 2]
    table: list[ResultRow] = []
    for home, (name, disjoint, aim) in HOMES.items():
        if name in names:
            place = Home(
                home,
                name,
                cache(lambda name=name, disjoint=disjoint: home_dataset(collections[name]().dataset, disjoint)),
                collections,
            )
            table += _rows(place, _found(place, encoder, seeds, options, steps), aim)
    return table


def _found(
    home: Home, encoder: TextEncoder, seeds: Sequence[int], options: Options, steps: Steps
) -> dict[str, list[Values]]:
    """Method -> what it came to with each seed."""
    found: dict[str, list[Values]] = {}

    def keep(method: str, seed: int, measure: Callable[[], Values]) -> None:
        value = steps.value((home.name, method, seed, options.quick), measure)
        found.setdefault(method, []).append(value)

    for method in (BASE, BM25):
        keep(method, 0, partial(_floor, method, home))
    keep(BASE_BM25, 0, partial(_fused_base, home))
    keep(BASE_FEEDBACK, 0, partial(_moved_base, home))
    for seed in seeds:
        keep(LINEAR, seed, partial(_linear, home, seed))
        for method, config in VARIANTS.items():
            trained = cache(partial(_trained, home, encoder, replace(config, seed=seed, progress=False)))
            keep(method, seed, partial(_ours, home, trained, fused=False))
            if method == OURS:
                keep(OURS_BM25, seed, partial(_ours, home, trained, fused=True))
    return found


def _collection(name: str, encoder: TextEncoder) -> Collection:
    dataset = load_dataset(name, data_dir=data_dir())
    documents = encoder.encode(dataset.documents.passages, "document")
    queries = encoder.encode(dataset.queries.texts, "query")
    return Collection(dataset, queries, documents, LexicalIndex.build(dataset.documents.passages))


def _floor(method: str, home: Home) -> Values:
    def search(there: Collection, rows: Tensor) -> Hits:
        return there.by_words(rows) if method == BM25 else nearest(there.queries[rows], there.documents, DEPTH)

    return home.everywhere(search)


def _fused_base(home: Home) -> Values:
    """The weight that is best on the home's training questions."""
    pairs, here = home.dataset().training, home.collection
    rows = pairs.relevant.queries
    dense, words = nearest(here.queries[rows], here.documents, DEPTH), here.by_words(rows)
    weight = choose_weight(dense, words, lambda hits: float(ndcg(hits.rows, rows, pairs).mean()))

    def search(there: Collection, rows: Tensor) -> Hits:
        return weighted(nearest(there.queries[rows], there.documents, DEPTH), there.by_words(rows), weight)

    return home.everywhere(search)


def _moved_base(home: Home) -> Values:
    """Feedback with the weight that is best on the home's training questions."""
    pairs, here = home.dataset().training, home.collection
    rows = pairs.relevant.queries

    def value(weight: float) -> float:
        return float(ndcg(nearest(here.queries[rows], here.documents, 10, weight).rows, rows, pairs).mean())

    best = max([0.0, *SelectionConfig().feedback], key=value)
    return home.everywhere(lambda there, rows: nearest(there.queries[rows], there.documents, DEPTH, best))


def _linear(home: Home, seed: int) -> Values:
    """A linear map of the query, from the identity, with in-batch negatives; its length of training is chosen on dev.

    What LlamaIndex' and Chroma's adapters do, with their scale of 20 and batches that are large enough to learn from.
    """
    here, train, dev = home.collection, home.dataset().splits["train"].relevant, home.dataset().splits["dev"]
    dev_rows = dev.relevant.queries
    generator = torch.Generator().manual_seed(seed)
    weight = torch.eye(here.queries.shape[1]).requires_grad_()
    optimizer = torch.optim.AdamW([weight], lr=1e-3, weight_decay=0.01)
    best, kept = -1.0, weight.detach().clone()
    for _ in range(20):
        for batch in torch.randperm(len(train), generator=generator).split(128):
            predicted = F.normalize(here.queries[train.query[batch]] @ weight, dim=-1)
            scores = 20 * predicted @ here.documents[train.document[batch]].T
            optimizer.zero_grad()
            F.cross_entropy(scores, torch.arange(len(batch))).backward()
            optimizer.step()
        found = nearest(F.normalize(here.queries[dev_rows] @ weight.detach(), dim=-1), here.documents, DEPTH)
        value = float(ndcg(found.rows, dev_rows, dev).mean())
        if value > best:
            best, kept = value, weight.detach().clone()
    return home.everywhere(
        lambda there, rows: nearest(F.normalize(there.queries[rows] @ kept, dim=-1), there.documents, DEPTH)
    )


def _trained(home: Home, encoder: TextEncoder, config: TrainConfig) -> tuple[Adapter, SearchSettings]:
    trained = train(home.dataset(), encoder, config)
    return trained.adapter, trained.choice.settings


def _ours(home: Home, trained: Callable[[], tuple[Adapter, SearchSettings]], *, fused: bool) -> Values:
    adapter, settings = trained()

    def search(there: Collection, rows: Tensor) -> Hits:
        familiarity = familiarity_in(adapter, there.queries[rows], there.documents)
        found = nearest(
            adapter.queries(there.queries[rows], familiarity),
            adapter.documents(there.documents),
            DEPTH,
            settings.feedback * familiarity,
        )
        return weighted(found, there.by_words(rows), settings.words * familiarity) if fused else found

    return home.everywhere(search)


def _rows(home: Home, found: dict[str, list[Values]], aim: float | None) -> list[ResultRow]:
    at_home: list[ResultRow] = []
    elsewhere: list[ResultRow] = []
    base = found[BASE][0]
    for method, seeds in found.items():
        scores = [float(np.mean(values[home.where])) for values in seeds]
        wanted = aim if method == OURS else AIM_FUSED.get(home.name) if method == OURS_BM25 else None
        difference = np.mean([values[home.where] for values in seeds], axis=0) - base[home.where]
        low, high = paired_interval(difference)
        note = "" if method == BASE else f"against the base model {difference.mean():+.4f} ({low:+.4f} to {high:+.4f})"
        at_home.append(mean_row(home.name, method, "NDCG@10 at home", scores, aim=wanted, note=note))
        away = [name for name in base if name != home.where]
        changes = np.array([[np.mean(values[name]) - np.mean(base[name]) for name in away] for values in seeds])
        for metric, values, limit in (
            ("change of NDCG@10 elsewhere, mean", changes.mean(1), -0.001),
            ("change of NDCG@10 elsewhere, worst", changes.min(1), -0.005),
        ):
            limited = limit if method == OURS else None
            elsewhere.append(mean_row(home.name, method, metric, values.tolist(), aim=limited))
    return at_home + elsewhere


if __name__ == "__main__":
    main("retrieval_adapters", rows)
