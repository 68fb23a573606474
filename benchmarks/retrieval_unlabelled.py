"""Documents alone: what an adapter gains that is trained on pairs made from the corpus, on questions people asked.

    python -m benchmarks.retrieval_unlabelled            # a quarter of an hour on two cores once all is encoded
    python -m benchmarks.retrieval_unlabelled --quick    # minutes: one seed, the two small collections

All pairs and questions of a collection are dropped; `jepakit.retrieval.with_training_pairs` makes pairs of its
documents, those of the test among them, as for anyone who brings documents and nothing else. Everything is chosen on
made pairs that were held out, and measured on the real test pairs; the same adapter followed all the way stands beside
it and shows what the choice is worth. Seeds differ in the training and in what is held out. The made pairs are the
same: encoding others takes an hour. Intervals are paired by question and pool the seeds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Any

import numpy as np

from benchmarks.harness import Options, Steps, main, mean_row
from benchmarks.retrieval_homes import (
    ALONE,
    BASE,
    DENSE,
    FLOORS,
    LINEAR,
    OURS,
    Collection,
    against,
    against_floors,
    as_trained,
    base_encoder,
    linear_maps,
    load_collection,
)
from jepakit.retrieval import (
    PretrainConfig,
    Pretrained,
    Queries,
    RetrievalDataset,
    SearchSettings,
    paired_interval,
    pretrain,
    with_training_pairs,
)
from jepakit.retrieval.measuring.untrained import Untrained
from jepakit.text import TextEncoder
from jepakit.training.result_rows import ResultRow

COLLECTIONS = ("scifact", "stackfaq", "medquad", "cranfield")
FULL = "jepakit: the whole way, without the choice"
CHOICE = "choice"
SCORE = "NDCG@10, no pairs given"
GAIN = "gain of the adapter alone in NDCG@10"
AHEAD = "collections where it is ahead by more than the interval"
METHODS = (OURS, DENSE, ALONE, FULL)
"""Those that are ours."""
EPOCHS = 10


@dataclass(frozen=True)
class Place:
    """A collection, and the pairs made of its documents."""

    collection: Collection
    made: RetrievalDataset
    encoder: TextEncoder


@dataclass
class Found:
    """What one collection came to.

    Args:
        values: method -> NDCG@10 of each test question, a seed each.
        choices: what was chosen, a seed each.
    """

    values: dict[str, list[list[float]]]
    choices: list[dict[str, float]]

    def difference(self, method: str) -> np.ndarray:
        """To the base, of each test question, the mean over seeds."""
        return np.mean(self.values[method], axis=0) - self.values[BASE][0]


def rows(options: Options, steps: Steps) -> list[ResultRow]:
    """All rows; `steps` keeps what is already measured."""
    encoder = base_encoder()
    names = ("stackfaq", "cranfield") if options.quick else COLLECTIONS
    seeds = [0] if options.quick else [0, 1, 2]
    found = {name: _found(name, cache(partial(_place, name, encoder)), seeds, options, steps) for name in names}
    scores = [row for name in names for row in _scores(name, found[name])]
    gains = [row for name in names for row in _gains(name, found[name])]
    return [*scores, *_ahead(found), *gains]


def _place(name: str, encoder: TextEncoder) -> Place:
    collection = load_collection(name, encoder)
    made = with_training_pairs(replace(collection.dataset, queries=Queries((), ()), splits={}))
    return Place(collection, made, encoder)


def _found(name: str, place: Callable[[], Place], seeds: Sequence[int], options: Options, steps: Steps) -> Found:
    found = Found({}, [])

    def known(method: str, seed: int, measure: Callable[[], Any]) -> Any:
        return steps.value((name, method, seed, options.quick), measure)

    for method in FLOORS:
        found.values[method] = [known(method, 0, partial(_floor, place, method))]
    for seed in seeds:
        found.values.setdefault(LINEAR, []).append(known(LINEAR, seed, partial(_linear, place, seed)))
        trained = cache(partial(_trained, place, seed))
        for method in METHODS:
            value = known(method, seed, partial(_ours, place, trained, method))
            found.values.setdefault(method, []).append(value)
        found.choices.append(known(CHOICE, seed, partial(_choice, trained)))
    return found


def _floor(place: Callable[[], Place], method: str) -> list[float]:
    """The weights are the defaults: without pairs nobody can choose them."""
    there, config = place().collection, PretrainConfig()
    together = SearchSettings(words=config.selection.words_elsewhere, sentences=config.selection.sentences[0])
    weights = Untrained(replace(Untrained().each, words=config.selection.words_elsewhere), together)
    return there.values(there.by_floor(there.test.relevant.queries, method, weights))


def _linear(place: Callable[[], Place], seed: int) -> list[float]:
    """Trained on all made pairs, ten epochs: there is nothing to choose them by but made pairs."""
    made, encoder, there = place().made, place().encoder, place().collection
    queries = encoder.encode(made.queries.texts, "query")
    documents = encoder.encode(made.documents.passages, "document")
    *_, weight = linear_maps(queries, documents, made.training, epochs=EPOCHS, seed=seed)
    return there.values(there.by_map(there.test.relevant.queries, weight))


def _trained(place: Callable[[], Place], seed: int) -> Pretrained:
    return pretrain(place().made, place().encoder, PretrainConfig(seed=seed, progress=False))


def _ours(place: Callable[[], Place], trained: Callable[[], Pretrained], method: str) -> list[float]:
    there, adapter, settings = place().collection, trained().encoder, trained().choice.settings
    rows = there.test.relevant.queries
    if method == FULL:
        return there.values(there.by_adapter(rows, as_trained(adapter), SearchSettings()))
    if method == ALONE:
        settings = SearchSettings()
    return there.values(there.by_adapter(rows, adapter, settings, words=method == OURS))


def _choice(trained: Callable[[], Pretrained]) -> dict[str, float]:
    choice = trained().choice
    low, high = choice.interval
    return {
        "strength": choice.strength,
        "predictive": choice.objective.predictive,
        "feedback": choice.settings.feedback,
        "sentences": choice.settings.sentences,
        "words": choice.settings.words,
        "gain": choice.chosen - choice.base,
        "low": low,
        "high": high,
    }


def _scores(name: str, found: Found) -> list[ResultRow]:
    table: list[ResultRow] = []
    base = float(np.mean(found.values[BASE][0]))
    for method, seeds in found.values.items():
        row = mean_row(name, method, SCORE, [float(np.mean(values)) for values in seeds], ours=method in METHODS)
        if method != BASE:
            row = replace(row, note=against(found.difference(method)))
        if method == OURS:
            floors = {floor: np.array(found.values[floor][0]) for floor in FLOORS}
            row = replace(row, note=against_floors(np.mean(seeds, axis=0), floors))
        if method in (OURS, DENSE):
            # Where the base is returned its rankings are the same, and the means of the means to the last bit or so.
            row = replace(row, aim=base, met=bool(found.difference(method).mean() > -1e-6))
        table.append(row)
    return table


def _ahead(found: dict[str, Found]) -> list[ResultRow]:
    """On how many collections a method is surely ahead of the base; the aim is most of them."""
    table: list[ResultRow] = []
    for method in next(iter(found.values())).values:
        if method == BASE:
            continue
        ahead = [name for name, those in found.items() if paired_interval(those.difference(method))[0] > 0]
        aim = len(found) // 2 + 1 if method in (OURS, DENSE) else None
        where = f"of {len(found)}: {', '.join(ahead) or 'none'}"
        ours = method in METHODS
        table.append(ResultRow("all collections", method, AHEAD, len(ahead), aim=aim, note=where, ours=ours))
    return table


def _gains(name: str, found: Found) -> list[ResultRow]:
    """Whether made pairs tell what real ones will: the gain on which the choice is made beside the one that comes."""

    def listed(key: str) -> str:
        return ", ".join(dict.fromkeys(f"{choice[key]:g}" for choice in found.choices))

    made = [choice["gain"] for choice in found.choices]
    chosen = f"chosen: strength {listed('strength')}, predictive weight {listed('predictive')}, feedback"
    chosen += f" {listed('feedback')}, sentences {listed('sentences')}, BM25 {listed('words')}"
    base = np.mean(found.values[BASE][0])
    method = "jepakit: on held-out made pairs, before it is weighed"
    table = [mean_row(name, method, GAIN, made, note=chosen, ours=True)]
    for method, where in ((ALONE, "as chosen"), (FULL, "the whole way")):
        gains = [float(np.mean(values) - base) for values in found.values[method]]
        table.append(mean_row(name, f"jepakit: on the test pairs, {where}", GAIN, gains, ours=True))
    return table


if __name__ == "__main__":
    main("retrieval_unlabelled", rows)
