"""Adapters of a frozen encoder: what they gain at home, on documents they have not seen, and what they cost elsewhere.

    python -m benchmarks.retrieval_adapters            # three quarters of an hour once all is encoded
    python -m benchmarks.retrieval_adapters --quick    # minutes: one seed, the two small collections

Every method is trained on each home and measured on the home's test pairs and on the test pairs of all other
collections. "disjoint" leaves out the training questions that share a document with the test; the official split of
SciFact is there because others report it. What is chosen is chosen on training and development pairs. Below ours stand
searches that need no training but the choice of a weight. Intervals are paired by question and pool the seeds. What a
search comes to in other collections, near ones among them, is in `benchmarks.retrieval_elsewhere`.
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
    DENSE,
    FLOORS,
    HOMES,
    LINEAR,
    OURS,
    Collection,
    against,
    against_floors,
    as_trained,
    base_encoder,
    home_dataset,
    linear_maps,
    load_collection,
)
from jepakit.retrieval import (
    AdapterConfig,
    Hits,
    ObjectiveConfig,
    PretrainConfig,
    Pretrained,
    RetrievalDataset,
    SearchSettings,
    ViewConfig,
    pretrain,
)
from jepakit.retrieval.datasets.splits import seen_queries
from jepakit.retrieval.measuring.metrics import ndcg
from jepakit.text import TextEncoder
from jepakit.training.result_rows import ResultRow

COLLECTIONS = ("scifact", "stackfaq", "medquad", "cranfield")
UNGATED = "jepakit: alone, without familiarity"
NO_PREDICTIVE = "jepakit: alone, without the predictive term"
PERCEPTRON = "jepakit: alone, perceptron instead of a linear map"
PROJECTED = "jepakit: alone, with a projection of both sides"
ISOTROPY = "jepakit: alone, with a projection and SIGReg"
CORPUS = "jepakit: alone, contrasted with the whole corpus"

VARIANTS: dict[str, PretrainConfig] = {
    OURS: PretrainConfig(),
    NO_PREDICTIVE: PretrainConfig(selection=replace(ALONE_SELECTION, predictive=[0.0])),
    PERCEPTRON: PretrainConfig(selection=ALONE_SELECTION, adapter=AdapterConfig(predictor_depth=2)),
    PROJECTED: PretrainConfig(selection=ALONE_SELECTION, adapter=AdapterConfig(projection_depth=1)),
    CORPUS: PretrainConfig(selection=ALONE_SELECTION, views=ViewConfig(candidates="corpus")),
    ISOTROPY: PretrainConfig(
        selection=ALONE_SELECTION, adapter=AdapterConfig(projection_depth=1), objective=ObjectiveConfig(isotropy=0.02)
    ),
}
#: Where the ablations are measured, with one seed: each takes minutes.
ABLATED = ("SciFact, disjoint",)
#: Other searches of the same adapter.
PARTS = (DENSE, ALONE, UNGATED)
METHODS = (*VARIANTS, *PARTS)
"""Those that are ours."""
SEEN, UNSEEN = "seen documents", "unseen documents"
AIMS = {(OURS, "SciFact, disjoint"): 0.73, (DENSE, "SciFact, disjoint"): 0.68}
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
    table: list[ResultRow] = []
    for home, (name, disjoint, aim) in HOMES.items():
        if name in names:
            place = Home(
                home,
                name,
                cache(lambda name=name, disjoint=disjoint: home_dataset(collections[name]().dataset, disjoint)),
                collections,
            )
            seeds = [0] if options.quick or name != "scifact" else [0, 1, 2]
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

    for seed in seeds:
        keep(LINEAR, seed, partial(_linear, home, seed))
        for method, config in VARIANTS.items():
            if method != OURS and (seed or home.name not in ABLATED):
                continue
            trained = cache(partial(_trained, home, encoder, replace(config, seed=seed, progress=False)))
            keep(method, seed, partial(_ours, home, trained, method))
            if method != OURS:
                continue
            for part in PARTS:
                keep(part, seed, partial(_ours, home, trained, part))
            for floor in FLOORS if not seed else ():
                keep(floor, seed, partial(_floor, home, trained, floor))
    return found


def _floor(home: Home, trained: Callable[[], Pretrained], floor: str) -> Values:
    weights = trained().choice.untrained
    return home.everywhere(lambda there, rows: there.by_floor(rows, floor, weights))


def _linear(home: Home, seed: int) -> Values:
    """Its length of training is chosen on dev."""
    here, train, dev = home.collection, home.dataset().splits["train"], home.dataset().splits["dev"]
    rows = dev.relevant.queries

    def value(weight: Tensor) -> float:
        return float(ndcg(here.by_map(rows, weight).rows, rows, dev).mean())

    best = max(linear_maps(here.queries, here.documents, train, epochs=20, seed=seed), key=value)
    return home.everywhere(lambda there, rows: there.by_map(rows, best))


def _trained(home: Home, encoder: TextEncoder, config: PretrainConfig) -> Pretrained:
    return pretrain(home.dataset(), encoder, config)


def _ours(home: Home, trained: Callable[[], Pretrained], method: str) -> Values:
    adapter, settings = trained().encoder, trained().choice.settings
    settings = settings if method in (OURS, DENSE) else SearchSettings()
    if method == UNGATED:
        adapter = as_trained(adapter)
        adapter.strength.copy_(trained().encoder.strength)
    return home.everywhere(lambda there, rows: there.by_adapter(rows, adapter, settings, words=method == OURS))


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
    floors = {name: np.array(found[name][0][home.where]) for name in FLOORS}
    for method, seeds in found.items():
        scores = [float(np.mean(values[home.where])) for values in seeds]
        wanted = AIMS.get((method, home.name), aim if method == OURS else None)
        values = np.mean([values[home.where] for values in seeds], axis=0)
        note = "" if method == BASE else against(values - floors[BASE])
        row = partial(mean_row, home.name, method, ours=method in METHODS)
        note = against_floors(values, floors) if method == OURS else note
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
