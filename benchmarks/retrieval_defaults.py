"""Are the defaults of an adapter those that held-out pairs would choose? No test pair is read.

    python -m benchmarks.retrieval_defaults            # a quarter of an hour on two cores once all is encoded
    python -m benchmarks.retrieval_defaults --quick    # minutes: StackFAQ

Each setting is trained on all folds of the training and development pairs but one and measured on that one, as
`jepakit.retrieval.adapter.selection` does; what is shown is the held-out NDCG@10 of its best strength and weight of the
predictive term. Below stands what sentences and BM25 do for the base model on all of these pairs: nothing is trained
there, and their weights where there are no pairs, or in other collections, are read off it. The pairs are those of
`benchmarks.retrieval_homes`, without the ones that share a document with the test.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial

from benchmarks.harness import Options, Steps, main, mean_row
from benchmarks.retrieval_homes import ALONE_SELECTION, HOMES, base_encoder, home_dataset, load_collection
from jepakit.retrieval import (
    AdapterConfig,
    ObjectiveConfig,
    PretrainConfig,
    RetrievalDataset,
    ViewConfig,
    pretrain,
    weighted,
)
from jepakit.retrieval.measuring.metrics import ndcg
from jepakit.retrieval.ranking import with_sentences
from jepakit.text import TextEncoder
from jepakit.training.result_rows import ResultRow

DEFAULT, METRIC = "defaults", "held-out NDCG@10"
SENTENCES = (0.1, 0.2, 0.3, 0.4, 0.5)
WORDS = (0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5)
SETTINGS: dict[str, PretrainConfig] = {
    DEFAULT: PretrainConfig(),
    "told from the corpus": PretrainConfig(views=ViewConfig(candidates="corpus")),
    "told from the batch": PretrainConfig(views=ViewConfig(candidates="batch")),
    "five hard negatives too": PretrainConfig(views=ViewConfig(hard_negatives=5)),
    "temperature 0.02": PretrainConfig(objective=ObjectiveConfig(temperature=0.02)),
    "temperature 0.05": PretrainConfig(objective=ObjectiveConfig(temperature=0.05)),
    "temperature 0.1": PretrainConfig(objective=ObjectiveConfig(temperature=0.1)),
    "5 epochs": PretrainConfig(epochs=5),
    "20 epochs": PretrainConfig(epochs=20),
    "learning rate 0.0003": PretrainConfig(learning_rate=3e-4),
    "perceptron": PretrainConfig(adapter=AdapterConfig(predictor_depth=2)),
    "queries and documents predicted": PretrainConfig(adapter=AdapterConfig(direction="both")),
}


def rows(options: Options, steps: Steps) -> list[ResultRow]:
    """All rows; `steps` keeps what is already measured."""
    encoder = base_encoder()
    table: list[ResultRow] = []
    for home, (name, disjoint, _) in HOMES.items():
        if not disjoint or (options.quick and name != "stackfaq"):
            continue
        dataset = cache(partial(_dataset, name, encoder))
        for setting, config in SETTINGS.items():
            value = steps.value((home, setting, options.quick), partial(_held_out, dataset, encoder, config))
            if setting == DEFAULT:
                table.append(mean_row(home, "base model", METRIC, [value["base"]]))
            note = f"strength {value['strength']:g}, predictive weight {value['predictive']:g}"
            table.append(mean_row(home, setting, METRIC, [value["best"]], note=note))
        read = steps.value((home, "sentences", options.quick), partial(_read, name, encoder))
        table += [mean_row(home, f"base model, {step}", METRIC, [read[step]]) for step in read]
    return table


def _read(name: str, encoder: TextEncoder) -> dict[str, float]:
    """Sentences or BM25 at a weight -> NDCG@10 of the untrained base on the training and development pairs."""
    collection = load_collection(name, encoder)
    pairs = home_dataset(collection.dataset, disjoint=True).training
    rows = pairs.relevant.queries
    hits = collection.by_base(rows)
    best = collection.sentences.best(collection.queries[rows], hits.rows)
    words = collection.by_words(rows)
    found = {f"sentences at {weight:g}": with_sentences(hits, best, weight).rows for weight in SENTENCES}
    found |= {f"BM25 at {weight:g}": weighted(hits, words, weight).rows for weight in WORDS}
    return {step: float(ndcg(ranked, rows, pairs).mean()) for step, ranked in found.items()}


def _dataset(name: str, encoder: TextEncoder) -> RetrievalDataset:
    return home_dataset(load_collection(name, encoder).dataset, disjoint=True)


def _held_out(dataset: Callable[[], RetrievalDataset], base: TextEncoder, config: PretrainConfig) -> dict[str, float]:
    choice = pretrain(dataset(), base, replace(config, selection=ALONE_SELECTION, progress=False)).choice
    predictive, strength, best = max(choice.tried, key=lambda tried: tried[2])
    return {"base": choice.base, "best": best, "strength": strength, "predictive": predictive}


if __name__ == "__main__":
    main("retrieval_defaults", rows)
