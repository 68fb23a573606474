"""Pre-training on a knowledge graph: what frozen embeddings of entities are worth beside floors without a network.

    python -m benchmarks.kgqa_pretrain            # half an hour on two cores; goes on where it was interrupted
    python -m benchmarks.kgqa_pretrain --quick    # minutes: one seed, short training

PrimeKG (subset of 59,478 triples). 30 % of the pairs of entities are held out with all their triples, and no encoder
sees them. Relation prediction: the relation of a held-out triple from its two entities, by logistic regression with
1 % and 10 % of 10,600 labels, three draws a seed. Link prediction: the filtered mean reciprocal rank of the held-out
triples by a DistMult head, trained on the triples of the graph. Settings of the probes are chosen on validation
triples. A seed is a split, an initialisation and the draws. The defaults of pre-training were chosen on the split of
seed 0, which is not in the table.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, partial
from itertools import product
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.harness import Options, Steps, data_dir, main, mean_row
from jepakit.kgqa.data import KnowledgeGraph
from jepakit.kgqa.datasets.triples import load_triples
from jepakit.kgqa.embed import embed_entities
from jepakit.kgqa.encoder import EncoderConfig
from jepakit.kgqa.features import EntityFeatures, load_features
from jepakit.kgqa.pretrain import PretrainConfig, pretrain
from jepakit.kgqa.probe.links import LinkConfig, popularity_mrr, probe_links
from jepakit.kgqa.probe.relations import labelled, probe_relations
from jepakit.kgqa.probe.split import TripleSplit, split_triples, step_counts
from jepakit.text import TextConfig
from jepakit.training.result_rows import ResultRow

DATASET = "PrimeKG subset"
CONVS = ("rgcn", "gat")
FRACTIONS = (0.01, 0.1)
DRAWS = 3
TEXT, COUNTS, MAJORITY, POPULARITY = "names (all-MiniLM-L6-v2)", "relation counts", "majority", "popularity"
LINKS = "link prediction, filtered MRR %"
Embed = Callable[[], Tensor]
Scores = dict[tuple[str, str], list[float]]
"""(metric, method) -> a value for each seed."""


def rows(options: Options, steps: Steps) -> list[ResultRow]:
    """All rows; `steps` keeps what is already measured."""
    graph = load_triples(data_dir() / "kgqa" / "primekg_subset" / "triples_59k.tsv")
    features = load_features(graph, TextConfig())
    scores: Scores = {}
    for seed in [1] if options.quick else [1, 2, 3]:
        for (metric, method), value in _scores(graph, features, seed, options, steps).items():
            scores.setdefault((metric, method), []).append(value)
    return [_row(metric, method, values, scores) for (metric, method), values in scores.items()]


def jepa(conv: str) -> str:
    """The name of our encoder's row."""
    return f"jepakit: JEPA, {conv}"


def random(conv: str) -> str:
    """The name of the untrained encoder's row."""
    return f"random encoder, {conv}"


def config(conv: str, seed: int, options: Options) -> PretrainConfig:
    """The recipe; --quick trains a sixth of it."""
    length: dict[str, Any] = {"epochs": 3, "subgraphs": 320} if options.quick else {"epochs": 18, "subgraphs": 320}
    encoder = EncoderConfig(conv=conv)  # pyright: ignore[reportArgumentType]
    return PretrainConfig(encoder=encoder, seed=seed, progress=False, diagnose_every=1000, **length)


def _scores(
    graph: KnowledgeGraph, features: EntityFeatures, seed: int, options: Options, steps: Steps
) -> dict[tuple[str, str], float]:
    split = split_triples(graph, seed=seed)
    counts = torch.from_numpy(np.log1p(step_counts(split.graph))).float()
    fixed = {TEXT: features.text, COUNTS: counts}
    parts: dict[str, list[Embed]] = {name: [lambda x=x: x] for name, x in fixed.items()}
    parts[f"{COUNTS} + {TEXT}"] = [lambda x=x: x for x in fixed.values()]
    single: dict[str, Embed] = {TEXT: lambda: features.text}
    for conv in CONVS:
        trained = cache(partial(_embedded, split, features, config(conv, seed, options)))
        for place, name in enumerate((jepa(conv), random(conv))):
            single[name] = lambda trained=trained, place=place: trained()[place]
            parts[name] = [single[name]]
            parts[f"{name} + {COUNTS} + {TEXT}"] = [single[name], *parts[f"{COUNTS} + {TEXT}"]]

    found: dict[tuple[str, str], float] = {}
    for fraction, method in product(FRACTIONS, parts):
        key = (DATASET, "relations", fraction, method, seed, options.quick)
        measured = steps.value(key, partial(_relations, parts[method], split, fraction, options))
        found |= {(metric, method): value for metric, value in zip(_metrics(fraction), measured, strict=True)}
    for fraction in FRACTIONS:
        for metric, value in zip(_metrics(fraction), _majority(split), strict=True):
            found[metric, MAJORITY] = value
    links = LinkConfig(epochs=2 if options.quick else 8, seed=seed)
    for method, embed in single.items():
        key = (DATASET, "links", method, seed, options.quick)
        found[LINKS, method] = steps.value(key, lambda embed=embed: probe_links(embed(), split, links))
    found[LINKS, POPULARITY] = steps.value((DATASET, "links", POPULARITY, seed), lambda: popularity_mrr(split))
    return found


def _embedded(split: TripleSplit, features: EntityFeatures, settings: PretrainConfig) -> tuple[Tensor, Tensor]:
    """Embeddings of all entities by the trained and by the random encoder."""
    trained = pretrain(split.graph, settings, features=features)
    found = [embed_entities(split.graph, one, features) for one in (trained.encoder, trained.random_encoder)]
    return found[0], found[1]


def _relations(parts: Sequence[Embed], split: TripleSplit, fraction: float, options: Options) -> list[float]:
    """Macro F1 and accuracy, means over the draws of labels."""
    embeddings = [embed().numpy() for embed in parts]
    draws = range(1 if options.quick else DRAWS)
    scores = [probe_relations(embeddings, split, fraction=fraction, draw=draw) for draw in draws]
    return [float(np.mean([s.macro_f1 for s in scores])), float(np.mean([s.accuracy for s in scores]))]


def _majority(split: TripleSplit) -> list[float]:
    relation = np.bincount(labelled(split.train, 1.0, 0)[:, 1]).argmax()
    share = float((split.test[:, 1] == relation).mean())
    # The F1 of the relation that is always answered; that of all others is 0.
    return [100 * 2 * share / (1 + share) / len(np.unique(split.test[:, 1])), 100 * share]


def _metrics(fraction: float) -> tuple[str, str]:
    labels = f"with {fraction:.0%} of the labels"
    return f"relation, macro F1 %, {labels}", f"relation, accuracy %, {labels}"


def _row(metric: str, method: str, values: Sequence[float], scores: Scores) -> ResultRow:
    """Ours is to be above the random encoder of its kind, or above all that is not learned where it is used with it."""
    conv = next((conv for conv in CONVS if method.startswith(jepa(conv))), None)
    if conv is None:
        return mean_row(DATASET, method, metric, values)
    rival = method.replace(jepa(conv), random(conv))
    rivals = [rival, f"{COUNTS} + {TEXT}"] if rival != random(conv) else [rival]
    aim = max(float(np.mean(scores[metric, name])) for name in rivals)
    return mean_row(DATASET, method, metric, values, aim=aim, ours=True)


if __name__ == "__main__":
    main("kgqa_pretrain", rows)
