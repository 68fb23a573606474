"""What a search comes to in collections it was not trained for, near ones and far ones: is it ever worse than nothing?

    python -m benchmarks.retrieval_elsewhere            # a quarter of an hour on two cores once all is encoded
    python -m benchmarks.retrieval_elsewhere --quick    # minutes: one seed, StackFAQ

Near ones are the publishers of MedQuAD, each with its own documents: for adapters of two of them the others are near,
for SciFact, whose documents are biomedical abstracts, all nine are. Far ones are the other collections. Of each at most
500 questions, in a fixed order, are measured.

The floor is the stronger of two searches without training, for each collection: the base model, and the base model
with BM25 at the weight that `jepakit.retrieval.SelectionConfig.words_elsewhere` has by default. With "BM25 at the
weight of home" the weight is the one chosen for the base model on the home's training questions. Intervals are paired
by question and pool the seeds; that of a mean over collections draws questions within each.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache, partial

import numpy as np
import torch
from torch import Tensor

from benchmarks.harness import Options, Steps, data_dir, main, mean_row
from benchmarks.retrieval_homes import (
    ALONE,
    BASE,
    HOMES,
    HYBRID,
    OURS,
    Collection,
    against,
    as_trained,
    base_encoder,
    encoded,
    home_dataset,
)
from jepakit.retrieval import (
    Documents,
    Hits,
    Pairs,
    PretrainConfig,
    Pretrained,
    RetrievalDataset,
    SearchSettings,
    SelectionConfig,
    load_dataset,
    pretrain,
)
from jepakit.text import TextEncoder
from jepakit.training.result_rows import ResultRow

#: The publishers of MedQuAD, and the rows of their documents, which stand in the order of its folders.
PUBLISHERS = {
    "CancerGov": (0, 701),
    "GARD": (701, 5945),
    "GHR": (5945, 11018),
    "MedlinePlus": (11018, 12000),
    "NIDDK": (12000, 13133),
    "NINDS": (13133, 14220),
    "SeniorHealth": (14220, 14989),
    "NHLBI": (14989, 15549),
    "CDC": (15549, 15808),
}
RARE = ("GARD", "GHR")
"""Both are about rare diseases, and are two thirds of MedQuAD."""
MEDQUAD_HOME = "MedQuAD, GARD and GHR"
#: Home -> seeds; on MedQuAD a training takes minutes.
SEEDS = {"SciFact, disjoint": (0, 1, 2), "StackFAQ": (0, 1, 2), MEDQUAD_HOME: (0,)}
QUESTIONS = 500
UNGATED = "jepakit: full search, without familiarity"
OLD = "jepakit: full search, without BM25 elsewhere"
AT_HOME = f"{BASE} + BM25 at the weight of home"
STRONGEST = "stronger of both"
LIMITS = {"mean": -0.001, "worst": -0.005}
SAMPLES = 10_000
Values = dict[str, list[float]]
"""Collection -> NDCG@10 of each question."""


@dataclass(frozen=True)
class Home:
    """Where a search is trained, and the other collections."""

    dataset: Callable[[], RetrievalDataset]
    others: Mapping[str, Callable[[], Collection]]


def rows(options: Options, steps: Steps) -> list[ResultRow]:
    """All rows; `steps` keeps what is already measured."""
    encoder = base_encoder()
    table: list[ResultRow] = []
    for name, seeds in SEEDS.items():
        if options.quick and name != "StackFAQ":
            continue
        home = _home(name, encoder)
        found: dict[str, list[Values]] = {}
        for seed in seeds[:1] if options.quick else seeds:
            trained = cache(lambda home=home, seed=seed: _trained(home, encoder, seed))
            for method in (OURS, OLD, UNGATED, ALONE, *((BASE, HYBRID, AT_HOME) if not seed else ())):
                measure = partial(_everywhere, home, trained, method)
                found.setdefault(method, []).append(steps.value((name, method, seed, options.quick), measure))
        table += _rows(name, found)
    return table


def _home(name: str, encoder: TextEncoder) -> Home:
    own = RARE if name == MEDQUAD_HOME else ()
    where = "medquad" if name == MEDQUAD_HOME else HOMES[name][0]
    load = cache(lambda which: load_dataset(which, data_dir=data_dir()))
    others: dict[str, Callable[[], Collection]] = {
        f"MedQuAD, {publisher}": cache(
            lambda publisher=publisher: _sampled(_all_pairs(load("medquad"), publisher), encoder)
        )
        for publisher in PUBLISHERS
        if publisher not in own
    }
    for which in ("scifact", "stackfaq", "cranfield"):
        if which != where:
            others[which] = cache(lambda which=which: _sampled(load(which), encoder))

    def dataset() -> RetrievalDataset:
        given = home_dataset(load(where), disjoint=True)
        return published(given, own) if own else given

    return Home(cache(dataset), others)


def published(dataset: RetrievalDataset, publishers: tuple[str, ...]) -> RetrievalDataset:
    """The documents of some publishers of MedQuAD, and the pairs of these documents."""
    kept = torch.cat([torch.arange(*PUBLISHERS[publisher]) for publisher in publishers])
    place = torch.full((len(dataset.documents),), -1)
    place[kept] = torch.arange(len(kept))
    given, chosen = dataset.documents, kept.tolist()
    columns = (given.ids, given.texts, given.titles, given.metadata)
    documents = Documents(*(tuple(column[row] for row in chosen) for column in columns))

    def of(pairs: Pairs) -> Pairs:
        pairs = pairs[place[pairs.document] >= 0]
        return replace(pairs, document=place[pairs.document])

    splits = {name: of(pairs) for name, pairs in dataset.splits.items()}
    return replace(dataset, documents=documents, splits=splits)


def _all_pairs(dataset: RetrievalDataset, publisher: str) -> RetrievalDataset:
    """One publisher, with all of its pairs as the test."""
    dataset = published(dataset, (publisher,))
    parts = dataset.splits.values()
    columns = zip(*((part.query, part.document, part.grade, part.pages) for part in parts), strict=True)
    return replace(dataset, splits={"test": Pairs(*map(torch.cat, columns))})


def _sampled(dataset: RetrievalDataset, encoder: TextEncoder) -> Collection:
    """With at most 500 test questions."""
    test = dataset.splits["test"]
    asked = test.relevant.queries
    chosen = asked[torch.randperm(len(asked), generator=torch.Generator().manual_seed(0))[:QUESTIONS]]
    splits = {**dataset.splits, "test": test[torch.isin(test.query, chosen)]}
    return encoded(replace(dataset, splits=splits), encoder)


def _trained(home: Home, encoder: TextEncoder, seed: int) -> Pretrained:
    return pretrain(home.dataset(), encoder, PretrainConfig(seed=seed, progress=False))


def _everywhere(home: Home, trained: Callable[[], Pretrained], method: str) -> Values:
    adapter, choice = trained().encoder, trained().choice
    hybrid = SearchSettings(words=SelectionConfig().words_elsewhere)
    at_home = SearchSettings(words=choice.untrained.each.words)
    settings = {OLD: replace(choice.settings, words_elsewhere=0.0), ALONE: SearchSettings()}
    settings |= {BASE: SearchSettings(), HYBRID: hybrid, AT_HOME: at_home}
    open_adapter = as_trained(adapter)
    open_adapter.strength.copy_(adapter.strength)
    used = {OURS: adapter, OLD: adapter, ALONE: adapter, UNGATED: open_adapter}.get(method)

    def search(there: Collection, rows: Tensor) -> Hits:
        return there.by_adapter(rows, used, settings.get(method, choice.settings), words=True)

    return {name: there().values(search(there(), there().test.relevant.queries)) for name, there in home.others.items()}


def _rows(home: str, found: dict[str, list[Values]]) -> list[ResultRow]:
    """The means first: over the collections, and that of the worst of them; then each collection."""
    floors = {
        name: max((np.array(found[floor][0][name]) for floor in (BASE, HYBRID)), key=np.mean) for name in found[BASE][0]
    }
    summary: list[ResultRow] = []
    single: list[ResultRow] = []
    for method, seeds in found.items():
        ours = method in (OURS, OLD, UNGATED, ALONE)
        differences = {
            name: np.mean([values[name] for values in seeds], axis=0) - floor for name, floor in floors.items()
        }
        means = {name: float(values.mean()) for name, values in differences.items()}
        worst = min(means, key=lambda name: means[name])
        low, high = interval_of_mean(list(differences.values()))
        of_mean = f"of {len(floors)} collections ({low:+.4f} to {high:+.4f})"
        of_worst = f"{worst}: {against(differences[worst], STRONGEST)}"
        numbers = {"mean": (float(np.mean(list(means.values()))), of_mean), "worst": (means[worst], of_worst)}
        for which, (value, note) in numbers.items():
            metric = f"NDCG@10 elsewhere against the stronger of base and base + BM25, {which}"
            aim = LIMITS[which] if method == OURS else None
            summary.append(ResultRow(home, method, metric, value, aim=aim, note=note, ours=ours, seeds=len(seeds)))
        for name, values in differences.items():
            scores = [float(np.mean(one[name])) for one in seeds]
            note = against(values, STRONGEST)
            single.append(mean_row(f"{home} -> {name}", method, "NDCG@10 elsewhere", scores, note=note, ours=ours))
    return summary + single


def interval_of_mean(differences: list[np.ndarray]) -> tuple[float, float]:
    """The 95 % bootstrap interval of the mean over collections of their mean difference."""
    draw = np.random.default_rng(0)
    means = np.zeros(SAMPLES)
    for values in differences:
        for start in range(0, SAMPLES, 500):
            means[start : start + 500] += values[draw.integers(0, len(values), (500, len(values)))].mean(1)
    low, high = np.quantile(means / len(differences), [0.025, 0.975])
    return float(low), float(high)


if __name__ == "__main__":
    main("retrieval_elsewhere", rows)
