"""Adapters of a frozen encoder: what they gain at home, on documents they have not seen, and what they cost elsewhere.

    python -m benchmarks.retrieval_adapters            # three quarters of an hour once all is encoded
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
from torch import Tensor

from benchmarks.harness import Options, Steps, main, mean_row
from benchmarks.retrieval_homes import (
    ALONE,
    ALONE_SELECTION,
    BASE,
    BM25,
    HOMES,
    LINEAR,
    OURS,
    OURS_BM25,
    Collection,
    against_base,
    base_encoder,
    home_dataset,
    linear_maps,
    load_collection,
)
from jepakit.retrieval import (
    Adapter,
    AdapterConfig,
    Hits,
    ObjectiveConfig,
    PretrainConfig,
    RetrievalDataset,
    SearchSettings,
    SelectionConfig,
    ViewConfig,
    pretrain,
    weighted,
)
from jepakit.retrieval.datasets.splits import seen_queries
from jepakit.retrieval.measuring.metrics import ndcg
from jepakit.retrieval.ranking import nearest
from jepakit.text import TextEncoder
from jepakit.training.result_rows import ResultRow

COLLECTIONS = ("scifact", "stackfaq", "medquad", "cranfield")
BASE_BM25, BASE_FEEDBACK = "base model + BM25", "base model with feedback"
UNREAD = "jepakit: adapter with feedback, without sentences"
UNGATED = "jepakit: alone, without familiarity"
NO_PREDICTIVE = "jepakit: alone, without the predictive term"
PERCEPTRON = "jepakit: alone, perceptron instead of a linear map"
PROJECTED = "jepakit: alone, with a projection of both sides"
ISOTROPY = "jepakit: alone, with a projection and SIGReg"
CORPUS = "jepakit: alone, contrasted with the whole corpus"

VARIANTS: dict[str, PretrainConfig] = {
    OURS: PretrainConfig(),
    UNREAD: PretrainConfig(selection=SelectionConfig(sentences=[])),
    ALONE: PretrainConfig(selection=ALONE_SELECTION),
    UNGATED: PretrainConfig(selection=ALONE_SELECTION, familiarity=False),
    NO_PREDICTIVE: PretrainConfig(selection=replace(ALONE_SELECTION, predictive=[0.0])),
    PERCEPTRON: PretrainConfig(selection=ALONE_SELECTION, adapter=AdapterConfig(predictor_depth=2)),
    PROJECTED: PretrainConfig(selection=ALONE_SELECTION, adapter=AdapterConfig(projection_depth=1)),
    CORPUS: PretrainConfig(selection=ALONE_SELECTION, views=ViewConfig(candidates="corpus")),
    ISOTROPY: PretrainConfig(
        selection=ALONE_SELECTION, adapter=AdapterConfig(projection_depth=1), objective=ObjectiveConfig(isotropy=0.02)
    ),
}
#: On MedQuAD, where a training takes a minute, the others have one seed, and those that take much longer none.
SEVERAL_SEEDS = (OURS, OURS_BM25, UNREAD, ALONE)
SLOW = (PROJECTED, CORPUS, ISOTROPY)
METHODS = (*VARIANTS, OURS_BM25)
"""Those that are ours."""
SEEN, UNSEEN = "seen documents", "unseen documents"
AIM_FUSED = {"SciFact, disjoint": 0.73}
Values = dict[str, list[float]]
"""Collection -> NDCG@10 of each test question."""


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
    encoder = base_encoder()
    names = ("stackfaq", "cranfield") if options.quick else COLLECTIONS
    collections = {name: cache(partial(load_collection, name, encoder)) for name in names}
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
            if home.where == "medquad" and (method in SLOW or (seed and method not in SEVERAL_SEEDS)):
                continue
            trained = cache(partial(_trained, home, encoder, replace(config, seed=seed, progress=False)))
            keep(method, seed, partial(_ours, home, trained, fused=False))
            if method == OURS:
                keep(OURS_BM25, seed, partial(_ours, home, trained, fused=True))
    return found


def _floor(method: str, home: Home) -> Values:
    def search(there: Collection, rows: Tensor) -> Hits:
        return there.by_words(rows) if method == BM25 else there.by_base(rows)

    return home.everywhere(search)


def _fused_base(home: Home) -> Values:
    """The weight that is best on the home's training questions."""
    pairs, here = home.dataset().training, home.collection
    rows = pairs.relevant.queries
    dense, words = here.by_base(rows), here.by_words(rows)
    weights = [step / 20 for step in range(21)]
    weight = max(weights, key=lambda weight: float(ndcg(weighted(dense, words, weight).rows, rows, pairs).mean()))
    return home.everywhere(lambda there, rows: weighted(there.by_base(rows), there.by_words(rows), weight))


def _moved_base(home: Home) -> Values:
    """Feedback with the weight that is best on the home's training questions."""
    pairs, here = home.dataset().training, home.collection
    rows = pairs.relevant.queries

    def value(weight: float) -> float:
        return float(ndcg(nearest(here.queries[rows], here.documents, 10, weight).rows, rows, pairs).mean())

    best = max([0.0, *SelectionConfig().feedback], key=value)
    return home.everywhere(lambda there, rows: there.by_base(rows, best))


def _linear(home: Home, seed: int) -> Values:
    """Its length of training is chosen on dev."""
    here, train, dev = home.collection, home.dataset().splits["train"], home.dataset().splits["dev"]
    rows = dev.relevant.queries

    def value(weight: Tensor) -> float:
        return float(ndcg(here.by_map(rows, weight).rows, rows, dev).mean())

    best = max(linear_maps(here.queries, here.documents, train, epochs=20, seed=seed), key=value)
    return home.everywhere(lambda there, rows: there.by_map(rows, best))


def _trained(home: Home, encoder: TextEncoder, config: PretrainConfig) -> tuple[Adapter, SearchSettings]:
    trained = pretrain(home.dataset(), encoder, config)
    return trained.encoder, trained.choice.settings


def _ours(home: Home, trained: Callable[[], tuple[Adapter, SearchSettings]], *, fused: bool) -> Values:
    adapter, settings = trained()
    return home.everywhere(lambda there, rows: there.by_adapter(rows, adapter, settings, fused=fused))


def _seen_and_unseen(home: Home) -> dict[str, np.ndarray]:
    """Which test questions share a document with training, and which do not; empty where none does."""
    dataset = home.dataset()
    test = dataset.splits["test"]
    seen = np.isin(test.relevant.queries.numpy(), seen_queries(dataset.training, test).numpy())
    return {SEEN: seen, UNSEEN: ~seen} if seen.any() else {}


def _rows(home: Home, found: dict[str, list[Values]], aim: float | None) -> list[ResultRow]:
    at_home: list[ResultRow] = []
    elsewhere: list[ResultRow] = []
    base, apart = found[BASE][0], _seen_and_unseen(home)
    for method, seeds in found.items():
        scores = [float(np.mean(values[home.where])) for values in seeds]
        wanted = aim if method == OURS else AIM_FUSED.get(home.name) if method == OURS_BM25 else None
        difference = np.mean([values[home.where] for values in seeds], axis=0) - base[home.where]
        note = "" if method == BASE else against_base(difference)
        row = partial(mean_row, home.name, method, ours=method in METHODS)
        at_home.append(row("NDCG@10 at home", scores, aim=wanted, note=note))
        for part, chosen in apart.items():
            scores = [float(np.mean(np.array(values[home.where])[chosen])) for values in seeds]
            floor = float(np.mean(np.array(base[home.where])[chosen]))
            wanted = floor if method == OURS and part == UNSEEN else None
            at_home.append(row(f"NDCG@10 at home, {part}", scores, aim=wanted))
        away = [name for name in base if name != home.where]
        changes = np.array([[np.mean(values[name]) - np.mean(base[name]) for name in away] for values in seeds])
        for metric, values, limit in (
            ("change of NDCG@10 elsewhere, mean", changes.mean(1), -0.001),
            ("change of NDCG@10 elsewhere, worst", changes.min(1), -0.005),
        ):
            limited = limit if method == OURS else None
            elsewhere.append(row(metric, values.tolist(), aim=limited))
    return at_home + elsewhere


if __name__ == "__main__":
    main("retrieval_adapters", rows)
