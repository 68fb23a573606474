"""Molecules: pre-train once on the unlabelled molecules of HIV.csv, then probe and fine-tune on other tables.

    python -m benchmarks.graph_transfer            # hours on two cores; goes on where it was interrupted
    python -m benchmarks.graph_transfer --quick    # minutes: one seed, 2,000 molecules, one epoch

Beside the random encoder stands what a chemist would use instead: Morgan fingerprints and RDKit's descriptors (which
our encoder learns to predict, and then does without) with logistic regression (ridge regression for ESOL) and a random
forest, and each together with embeddings. Scaffold split; what is chosen is chosen on its validation part. A tenth of
the labels is drawn anew three times for each seed, the same ones for every method (fine-tuning takes the first).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache, partial
from itertools import product
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from benchmarks.harness import Options, Steps, data_dir, main, mean_row
from jepakit.graph import (
    FinetuneConfig,
    GraphDataset,
    GraphEncoder,
    Pretrained,
    finetune,
    preset,
    pretrain,
)
from jepakit.graph.datasets.molecules.descriptors import molecular_descriptors
from jepakit.graph.datasets.molecules.load import Molecules, load_molecules, morgan_fingerprints
from jepakit.graph.descriptors import normal_scores
from jepakit.graph.probe.selection import signed_log
from jepakit.graph.probe.targets import probe_multilabel, probe_regression
from jepakit.training.result_rows import ResultRow

TABLES = {
    "Tox21": "tox21.csv.gz",
    "SIDER": "sider.csv.gz",
    "ClinTox": "clintox.csv.gz",
    "ESOL": "delaney-processed.csv",
}
REGRESSION = "ESOL"
OURS, RANDOM, MORGAN, DESCRIPTORS = "jepakit: JEPA", "random encoder", "Morgan fingerprints", "RDKit descriptors"
LEARNED = {
    encoder: (encoder, f"{encoder} + {MORGAN}", f"{encoder} + {DESCRIPTORS}", f"{encoder}, fine-tuned")
    for encoder in (OURS, RANDOM)
}
"""Encoder -> the methods that use it."""
FRACTIONS = (1.0, 0.1)
DRAWS = 3
Features = Callable[[], np.ndarray]
Scores = dict[tuple[str, str], list[float]]
"""(metric, method) -> a value for each seed."""


def rows(options: Options, steps: Steps) -> list[ResultRow]:
    """All rows; `steps` keeps what is already measured."""
    folder = data_dir() / "moleculenet"
    seeds = [0] if options.quick else [0, 1]
    encoders = {seed: cache(partial(_pretrained, folder, seed, options)) for seed in seeds}
    scores = {
        name: _scores(name, load_molecules(folder / file), encoders, options, steps) for name, file in TABLES.items()
    }
    table = [
        mean_row(name, method, metric, values, ours=method in LEARNED[OURS], lower_is_better=name == REGRESSION)
        for name in TABLES
        for (metric, method), values in scores[name].items()
    ]
    return table + _averages([scores[name] for name in TABLES if name != REGRESSION])


def _pretrained(folder: Path, seed: int, options: Options) -> Pretrained:
    config = preset("molecules", seed=seed, progress=False, diagnose_every=1000)
    if not options.quick:
        return pretrain(load_molecules(folder / "HIV.csv", descriptors=True).dataset, config)
    molecules = load_molecules(folder / "HIV.csv")
    few = torch.arange(0, len(molecules.smiles), 20)
    values = molecular_descriptors([molecules.smiles[row] for row in few.tolist()])
    graphs = replace(molecules.dataset.graphs[few], descriptors=torch.from_numpy(values))
    return pretrain(replace(molecules.dataset, graphs=graphs), replace(config, epochs=1))


def _scores(
    name: str,
    molecules: Molecules,
    encoders: dict[int, Callable[[], Pretrained]],
    options: Options,
    steps: Steps,
) -> Scores:
    dataset = molecules.dataset
    fixed: dict[str, Features] = {
        MORGAN: cache(lambda: morgan_fingerprints(molecules.smiles).astype(np.float64)),
        DESCRIPTORS: cache(lambda: normal_scores(torch.from_numpy(molecular_descriptors(molecules.smiles))).numpy()),
    }
    scores: Scores = {}
    regression = dataset.task == "graph regression"
    first = min(encoders)

    def measure(fraction: float, method: str, seed: int, score: Callable[[int], float], draws: int = DRAWS) -> None:
        metric = _metric(regression, fraction)
        drawn = [DRAWS * seed + draw for draw in range(1 if fraction == 1 or options.quick else draws)]
        values = [
            steps.value((name, metric, method, seed, draw, options.quick), partial(score, draw)) for draw in drawn
        ]
        scores.setdefault((metric, method), []).append(float(np.mean(values)) * (1 if regression else 100))

    for (seed, pretrained), fraction in product(encoders.items(), FRACTIONS):
        probe = partial(_probe, dataset, fraction)
        learned: dict[str, Features] = {
            OURS: cache(lambda p=pretrained: p().encoder.embed(dataset.graphs).numpy()),
            RANDOM: cache(lambda p=pretrained: p().random_encoder.embed(dataset.graphs).numpy()),
        }
        for method, features in learned.items():
            measure(fraction, method, seed, partial(probe, (features,)))
            for other, more in fixed.items():
                measure(fraction, f"{method} + {other}", seed, partial(probe, (features, more)))
        for method, role in ((OURS, "encoder"), (RANDOM, "random_encoder")):
            tune = partial(_finetuned, dataset, fraction, options, lambda p=pretrained, role=role: getattr(p(), role))
            measure(fraction, f"{method}, fine-tuned", seed, tune, draws=1)
        for method, features in fixed.items():
            # Nothing is drawn where all labels are used, and a forest takes minutes.
            if fraction < 1 or seed == first:
                measure(fraction, method, seed, partial(probe, (features,)))
            if not regression and seed == first:
                measure(fraction, f"{method}, random forest", seed, partial(probe, (features,), classifier="forest"))
    return scores


def _probe(
    dataset: GraphDataset,
    fraction: float,
    parts: Sequence[Features],
    draw: int,
    classifier: Literal["logistic", "forest"] = "logistic",
) -> float:
    features = np.concatenate([part() if len(parts) == 1 else _block(part()) for part in parts], axis=1)
    y = dataset.graphs.y
    assert y is not None
    if dataset.task == "graph regression":
        return probe_regression(features, y, dataset.splits, label_fraction=fraction, seeds=[draw]).mean
    return probe_multilabel(
        features, y, dataset.splits, classifier=classifier, label_fraction=fraction, seeds=[draw], jobs=2
    ).mean


def _block(features: np.ndarray) -> np.ndarray:
    """Sums over nodes brought to the scale of bits, so that neither block drowns the other; no label is read."""
    compressed = signed_log(features)
    return compressed / np.sqrt(compressed.var(axis=0).mean())


def _finetuned(
    dataset: GraphDataset, fraction: float, options: Options, encoder: Callable[[], GraphEncoder], draw: int
) -> float:
    from sklearn.metrics import roc_auc_score

    train, test = dataset.splits["train"], dataset.splits["test"]
    size = max(2, round(fraction * train.numel()))
    rows = train[torch.randperm(train.numel(), generator=torch.Generator().manual_seed(draw))[:size]]
    model = finetune(
        encoder(), dataset, rows, FinetuneConfig(seed=draw, epochs=2 if options.quick else 10, batch_size=64)
    )
    assert dataset.graphs.y is not None
    predicted, truth = model.predict(dataset.graphs[test]), dataset.graphs.y[test]
    known = ~torch.isnan(truth)
    if dataset.task == "graph regression":
        return float((predicted - truth)[known].square().mean().sqrt())
    tasks = [t for t in range(truth.shape[1]) if truth[known[:, t], t].unique().numel() == 2]
    aucs = [float(roc_auc_score(truth[known[:, t], t], predicted[known[:, t], t])) for t in tasks]
    return float(np.mean(aucs))


def _metric(regression: bool, fraction: float) -> str:
    labels = "" if fraction == 1 else f" with {fraction:.0%} of the labels"
    return ("RMSE" if regression else "ROC-AUC %") + labels


def _averages(tables: Sequence[Scores]) -> list[ResultRow]:
    """The mean ROC-AUC over the three classification tables, seed by seed.

    Ours is to be above the random encoder, fingerprints and both together. RDKit's descriptors are its teacher: whether
    it is above them too can be read off the table.
    """
    table: list[ResultRow] = []
    for fraction in FRACTIONS:
        metric = _metric(False, fraction)
        methods = [method for known, method in tables[0] if known == metric]
        values = {m: np.mean([scores[metric, m] for scores in tables], axis=0).tolist() for m in methods}
        taught = (DESCRIPTORS, f"{DESCRIPTORS}, random forest", f"{RANDOM} + {DESCRIPTORS}")
        aim = max(float(np.mean(values[m])) for m in methods if m not in (*LEARNED[OURS], *taught))
        for method in methods:
            ours = method in LEARNED[OURS]
            table.append(mean_row("average", method, metric, values[method], aim=aim if ours else None, ours=ours))
    return table


if __name__ == "__main__":
    main("graph_transfer", rows)
