"""Pre-training on a knowledge graph: what frozen embeddings of entities are worth beside floors without a network.

    python -m benchmarks.kgqa_pretrain            # an hour on two cores; goes on where it was interrupted
    python -m benchmarks.kgqa_pretrain --quick    # minutes on two cores: one seed, short training

PrimeKG (subset of 59,478 triples). 30 % of the pairs of entities are held out with all their triples, and no encoder
sees them. Relation prediction: the relation of a held-out triple from its two entities, by logistic regression with
1 % and 10 % of 10,600 labels. Entity classification: drug, disease or gene, from 1 % and 10 % of 8,700 labels; the
class follows from the relations of an entity and of its neighbours. Three draws of labels a seed. Link prediction: the
filtered mean reciprocal rank of the held-out triples by a DistMult head, trained on the triples of the graph. Settings
of the probes are chosen on validation rows.

A seed is a split, an initialisation and the draws. Variants of pre-training are compared on the split of seed 0; the
best of them, by the mean of the four aims' values relative to the default's, is measured on the other seeds beside the
default. Measurements run side by side in processes of one thread.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import product
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.harness import Options, Steps, data_dir, main, mean_row, side_by_side, workers
from benchmarks.kgqa_features import kept_features
from jepakit.kgqa.data import Ids, KnowledgeGraph
from jepakit.kgqa.datasets.triples import load_triples
from jepakit.kgqa.embed import embed_entities
from jepakit.kgqa.encoder import KnowledgeEncoder
from jepakit.kgqa.features import EntityFeatures
from jepakit.kgqa.pretrain import PretrainConfig, pretrain
from jepakit.kgqa.probe.entities import probe_entities
from jepakit.kgqa.probe.links import LinkConfig, popularity_mrr, probe_links
from jepakit.kgqa.probe.relations import labelled, probe_relations
from jepakit.kgqa.probe.split import TripleSplit, split_triples, step_counts
from jepakit.training.presets import configured
from jepakit.training.result_rows import ResultRow

DATASET, TRIED = "PrimeKG subset", "PrimeKG subset, split that chooses the variant"
FRACTIONS, DRAWS = (0.01, 0.1), 3
DEFAULT, GAT, RANDOM = "default", "GATv2", "random encoder"
TEXT, COUNTS, FLOOR = "names (all-MiniLM-L6-v2)", "relation counts", "majority or popularity"
BOTH = f"{COUNTS} + {TEXT}"
LINKS = "link prediction, filtered MRR %"
VARIANTS: dict[str, dict[str, Any]] = {
    DEFAULT: {},
    GAT: {"encoder.conv": "gat"},
    "random masks": {"masking.strategy": "random"},
    "masks along walks": {"masking.strategy": "walk"},
    "60 % masked": {"masking.ratio": 0.6},
    "relations hidden": {"views.hide_relations": 0.5},
    "edges dropped": {"views.drop_edges": 0.5},
    "masked entities removed, cross-attention": {
        "encoder.position": "random_walk",
        "views.context": "drop",
        "views.target": "region",
        "objective.predictor": "cross_attention",
    },
    "entities and subgraph predicted": {"objective.predict": ["node", "graph"]},
    "two views": {"views.target": "view", "views.drop_edges": 0.3},
    "no EMA (SimSiam)": {"objective.target": "simsiam"},
    "LeJEPA": {"objective.target": "lejepa", "objective.sigreg": 0.05, "objective.normalize_target": False},
    "random walks": {"sampling.method": "walk"},
    "three times as long": {"epochs": 54},
}
"""Name -> dotted options of `PretrainConfig`; ``epochs`` is of the full run."""
Numbers = dict[str, float]
"""Metric -> value."""


@dataclass(frozen=True)
class Job:
    """One measurement.

    Args:
        method: a name of `VARIANTS`, that of a floor, or the random encoder of a variant.
        seed: of split, initialisation and draws.
        tried: only what is needed to choose a variant.
        quick: a sixth of the training, one draw of labels.
    """

    method: str
    seed: int
    tried: bool
    quick: bool

    @property
    def key(self) -> tuple[Any, ...]:
        """Of `Steps.value`."""
        return (DATASET, self.method, self.seed, self.tried, self.quick)


def rows(options: Options, steps: Steps) -> list[ResultRow]:
    """All rows; `steps` keeps what is already measured."""
    quick = options.quick
    seeds = (1,) if quick else (1, 2, 3)
    variants = list(VARIANTS)[:3] if quick else list(VARIANTS)
    fixed = [DEFAULT, GAT, random_of(DEFAULT), random_of(GAT), BOTH, TEXT, COUNTS, FLOOR]
    with workers() as pool:

        def measured(jobs: list[Job]) -> dict[Job, Numbers]:
            numbers = side_by_side(pool, steps, {job.key: partial(measure, job) for job in jobs})
            return {job: numbers[job.key] for job in jobs}

        table = [Job(method, seed, False, quick) for method, seed in product(fixed, seeds)]
        trials = [Job(method, 0, True, quick) for method in [random_of(DEFAULT), *variants]]
        # What trains goes first.
        found = measured(sorted([*trials, *table], key=lambda job: job.method not in VARIANTS))
        best = chosen({job.method: found[job] for job in trials if job.method in VARIANTS})
        if best not in fixed:
            found |= measured([Job(best, seed, False, quick) for seed in seeds])
    tried = [_row(TRIED, metric, job, [value]) for job in trials for metric, value in found[job].items()]
    return [*_table(found, seeds, best), *tried]


def load_graph() -> KnowledgeGraph:
    """The graph."""
    return load_triples(data_dir() / "kgqa" / "primekg_subset" / "triples_59k.tsv")


def random_of(variant: str) -> str:
    """The name of the untrained encoder of a variant."""
    return f"{RANDOM}, {_conv(variant)}"


def chosen(tried: Mapping[str, Numbers]) -> str:
    """The variant with the greatest mean of its values, each relative to the default's."""
    return max(
        tried,
        key=lambda name: float(np.mean([value / tried[DEFAULT][metric] for metric, value in tried[name].items()])),
    )


def entity_classes(graph: KnowledgeGraph) -> Ids:
    """0 drug, 1 disease, 2 gene; -1 where the relations leave it open. ``[N]``.

    A relation joins two different classes, in either order; an entity is of a class that all its relations allow, and
    of the other one where its neighbour's class is known.
    """
    drug, disease, gene = 1, 2, 4
    pairs = {"ASSOCIATED_WITH": disease | gene}
    pairs |= dict.fromkeys(("CONTRAINDICATION", "INDICATION", "OFF_LABEL_USE"), drug | disease)
    pairs |= dict.fromkeys(("CARRIER", "ENZYME", "TARGET", "TRANSPORTER"), drug | gene)
    head, relation, tail = graph.triples().T
    ends = np.array([pairs[one.name] for one in graph.relations])[relation]
    allowed = np.full(graph.num_entities, drug | disease | gene)
    known = -1
    while (allowed == allowed & -allowed).sum() > known:
        known = int((allowed == allowed & -allowed).sum())
        for one, other in ((head, tail), (tail, head)):
            settled = allowed[other] == (allowed[other] & -allowed[other])
            np.bitwise_and.at(allowed, one, np.where(settled, ends & ~allowed[other], ends))
    return np.array([-1, 0, 1, -1, 2, -1, -1, -1])[allowed]


def measure(job: Job) -> Numbers:
    """All numbers of a method."""
    split, features, classes = _data(job.seed)
    if job.method == FLOOR:
        return _floors(split, classes)
    counts = torch.from_numpy(np.log1p(step_counts(split.graph))).float()
    text = {TEXT: [features.text], COUNTS: [counts], BOTH: [counts, features.text]}
    if job.method == BOTH:
        return _beside(_probed(text[BOTH], split, classes, job))
    if job.method in text:
        return _probed(text[job.method], split, classes, job)
    embedding = _embedded(split, features, job)
    numbers = _probed([embedding], split, classes, job)
    return numbers if job.tried else numbers | _beside(_probed([embedding, *text[BOTH]], split, classes, job))


def _beside(numbers: Numbers) -> Numbers:
    return {f"{metric}, beside {BOTH}": value for metric, value in numbers.items()}


@lru_cache(maxsize=1)
def _data(seed: int) -> tuple[TripleSplit, EntityFeatures, Ids]:
    graph = load_graph()
    return split_triples(graph, seed=seed), kept_features(graph), entity_classes(graph)


def _conv(variant: str) -> str:
    return str(VARIANTS[variant].get("encoder.conv", "rgcn"))


def _embedded(split: TripleSplit, features: EntityFeatures, job: Job) -> Tensor:
    """Embeddings of all entities by the trained or by the random encoder."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    trained = job.method in VARIANTS
    variant = job.method if trained else next(name for name in VARIANTS if random_of(name) == job.method)
    length = VARIANTS[variant].get("epochs", 18) // (6 if job.quick else 1) if trained else 1
    config = configured(PretrainConfig(), VARIANTS, variant, **_lengths(length, trained), seed=job.seed)
    result = pretrain(split.graph, config, features=features)
    encoder: KnowledgeEncoder = result.encoder if trained else result.random_encoder
    return embed_entities(split.graph, encoder.to(device), features)


def _lengths(epochs: int, trained: bool) -> dict[str, Any]:
    return {"epochs": epochs, "subgraphs": 320 if trained else 16, "progress": False, "diagnose_every": 1000}


def _probed(parts: list[Tensor], split: TripleSplit, classes: Ids, job: Job) -> Numbers:
    """All probes; of embeddings side by side no link prediction, whose head would weigh them together."""
    arrays = [part.numpy() for part in parts]
    draws = range(1 if job.quick else DRAWS)
    numbers: Numbers = {}
    for fraction in FRACTIONS:
        relation = [probe_relations(arrays, split, fraction=fraction, draw=draw) for draw in draws]
        entity = [probe_entities(arrays, classes, fraction=fraction, seed=job.seed, draw=draw) for draw in draws]
        for what, scores in (("relation", relation), ("entity", entity)):
            numbers[_metric(what, "macro F1", fraction)] = float(np.mean([score.macro_f1 for score in scores]))
            if len(parts) == 1 and not job.tried:
                numbers[_metric(what, "accuracy", fraction)] = float(np.mean([score.accuracy for score in scores]))
    if len(parts) == 1:
        config = LinkConfig(epochs=2 if job.quick else 8, seed=job.seed)
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        numbers[LINKS] = probe_links(parts[0].to(device), split, config)
    return numbers


def _floors(split: TripleSplit, classes: Ids) -> Numbers:
    numbers = {LINKS: popularity_mrr(split)}
    known = classes[classes >= 0]
    relations = (np.bincount(labelled(split.train, 1.0, 0)[:, 1]).argmax(), split.test[:, 1])
    for what, (most, asked) in {"relation": relations, "entity": (np.bincount(known).argmax(), known)}.items():
        share = float((asked == most).mean())
        for fraction in FRACTIONS:
            # The F1 of the class that is always answered; that of all others is 0.
            f1 = 2 * share / (1 + share) / len(np.unique(asked))
            numbers[_metric(what, "macro F1", fraction)] = 100 * f1
            numbers[_metric(what, "accuracy", fraction)] = 100 * share
    return numbers


def _metric(what: str, score: str, fraction: float) -> str:
    return f"{what}, {score} %, with {fraction:.0%} of the labels"


def _table(found: Mapping[Job, Numbers], seeds: tuple[int, ...], best: str) -> list[ResultRow]:
    """Rows over the seeds."""
    table: list[ResultRow] = []
    for first in [job for job in found if not job.tried and job.seed == seeds[0]]:
        several = [found[Job(first.method, seed, False, first.quick)] for seed in seeds]
        for metric in several[0]:
            own = [numbers[metric] for numbers in several]
            aim = None
            if first.method in VARIANTS:
                rivals = [random_of(first.method), BOTH]
                jobs = [[Job(rival, seed, False, first.quick) for seed in seeds] for rival in rivals]
                aim = max(
                    float(np.mean([found[job][metric] for job in one])) for one in jobs if metric in found[one[0]]
                )
            table.append(_row(DATASET, metric, first, own, aim, "chosen" if first.method == best else ""))
    return table


def _row(
    dataset: str, metric: str, job: Job, values: list[float], aim: float | None = None, note: str = ""
) -> ResultRow:
    """Ours is to be above the random encoder of its kind."""
    ours = job.method in VARIANTS
    name = f"jepakit: JEPA, {_conv(job.method)}" if ours else job.method
    if ours and job.method not in (DEFAULT, GAT):
        name += f", {job.method}"
    return mean_row(dataset, name, metric, values, aim=aim, ours=ours, note=note)


if __name__ == "__main__":
    main("kgqa_pretrain", rows, depends_on="kgqa/**/*.py")
