"""Molecules: pre-train once on the unlabelled molecules of HIV.csv, then probe and fine-tune on other tables.

    python -m benchmarks.graph_transfer            # hours on two cores; goes on where it was interrupted
    python -m benchmarks.graph_transfer --quick    # minutes: one seed, 2,000 molecules, one epoch

Beside the random encoder stands what a chemist would use instead: Morgan fingerprints and RDKit's descriptors (which
our encoder learns to predict, and then does without) with logistic regression (ridge regression for ESOL), a random
forest, a kernel, and the mean of a forest and a kernel, and each together with embeddings. Scaffold split; what is
chosen is chosen on its validation part. A tenth of the labels is drawn anew three times for each seed, the same ones
for every method (fine-tuning takes the first). The learning curve pre-trains on fewer molecules of HIV.csv.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, partial
from itertools import product
from pathlib import Path
from typing import Any

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
from jepakit.graph.probe.binary import Member
from jepakit.graph.probe.selection import signed_log
from jepakit.graph.probe.targets import probe_mixture, probe_multilabel, probe_regression
from jepakit.training.result_rows import ResultRow

TABLES = {
    "Tox21": "tox21.csv.gz",
    "SIDER": "sider.csv.gz",
    "ClinTox": "clintox.csv.gz",
    "ESOL": "delaney-processed.csv",
}
REGRESSION = "ESOL"
OURS, RANDOM, MORGAN, DESCRIPTORS = "jepakit: JEPA", "random encoder", "Morgan fingerprints", "RDKit descriptors"
BOTH = f"{DESCRIPTORS} + {MORGAN}"
FOREST = f"{DESCRIPTORS}, random forest"
FEWER = (2_000, 10_000)
"""Molecules of the learning curve, beside all."""
FRACTIONS = (1.0, 0.1)
DRAWS = 3
Features = Callable[[], np.ndarray]
Scores = dict[tuple[str, str], list[float]]
"""(metric, method) -> a value for each seed."""
Members = Callable[[], Sequence[Member]]


@dataclass(frozen=True)
class Remembered(Member):
    """A member of several mixtures, fitted once for each draw."""

    known: dict[tuple[bytes, int], np.ndarray] = field(default_factory=dict)

    def scores(self, rows: np.ndarray, labels: np.ndarray, seed: int, **options: Any) -> np.ndarray:
        """See `Member.scores`."""
        key = (rows.tobytes(), seed)
        if key not in self.known:
            self.known[key] = super().scores(rows, labels, seed, **options)
        return self.known[key]


def rows(options: Options, steps: Steps) -> list[ResultRow]:
    """All rows; `steps` keeps what is already measured."""
    folder = data_dir() / "moleculenet"
    seeds = [0] if options.quick else [0, 1, 2]
    encoders = {seed: cache(partial(_pretrained, folder, seed, options)) for seed in seeds}
    fewer = {
        (seed, count): cache(partial(_pretrained, folder, seed, options, count))
        for seed, count in product(seeds, () if options.quick else FEWER)
    }
    scores = {
        name: _scores(name, load_molecules(folder / file), encoders, fewer, options, steps)
        for name, file in TABLES.items()
    }
    table = [
        mean_row(name, method, metric, values, ours=method.startswith(OURS), lower_is_better=name == REGRESSION)
        for name in TABLES
        for (metric, method), values in scores[name].items()
    ]
    return table + _averages([scores[name] for name in TABLES if name != REGRESSION])


def _pretrained(folder: Path, seed: int, options: Options, count: int | None = None) -> Pretrained:
    """Of all molecules of HIV.csv, or of ``count`` of them that the seed draws."""
    config = preset("molecules", seed=seed, progress=False, diagnose_every=1000)
    if not options.quick and count is None:
        return pretrain(load_molecules(folder / "HIV.csv", descriptors=True).dataset, config)
    molecules = load_molecules(folder / "HIV.csv")
    shuffled = torch.randperm(len(molecules.smiles), generator=torch.Generator().manual_seed(seed))
    few = shuffled[: count or len(molecules.smiles) // 20].sort().values
    values = molecular_descriptors([molecules.smiles[row] for row in few.tolist()])
    graphs = replace(molecules.dataset.graphs[few], descriptors=torch.from_numpy(values))
    config = replace(config, epochs=1) if options.quick else config
    return pretrain(replace(molecules.dataset, graphs=graphs), config)


def _scores(
    name: str,
    molecules: Molecules,
    encoders: dict[int, Callable[[], Pretrained]],
    fewer: dict[tuple[int, int], Callable[[], Pretrained]],
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
            # Nothing is drawn where all labels are used.
            if fraction < 1 or seed == first:
                measure(fraction, method, seed, partial(probe, (features,)))
        if not regression:
            less = {
                f"{OURS} of {count:,} molecules": cache(lambda p=p: p().encoder.embed(dataset.graphs).numpy())
                for (drawn, count), p in fewer.items()
                if drawn == seed
            }
            for method, members in _heads(learned, less, fixed, slow=seed == first and not options.quick).items():
                measure(fraction, method, seed, partial(_mixture, dataset, fraction, members))
    return scores


def _heads(
    learned: dict[str, Features], less: dict[str, Features], fixed: dict[str, Features], *, slow: bool
) -> dict[str, Members]:
    """Forests, kernels and their mean, of features that are learned, fixed or both; ``slow``: all forests."""
    forest = cache(lambda: Remembered("forest", (fixed[DESCRIPTORS](),)))

    def kernel(*parts: Features) -> Members:
        return cache(lambda: [Remembered("kernel", tuple(part() for part in parts))])

    def mixed(members: Members) -> Members:
        return lambda: [forest(), *members()]

    both = kernel(fixed[DESCRIPTORS], fixed[MORGAN])
    heads: dict[str, Members] = {
        FOREST: lambda: [forest()],
        f"{BOTH}, kernel": both,
        f"{BOTH}, forest and kernel": mixed(both),
    }
    for method, features in (learned | less).items():
        every = kernel(features, fixed[DESCRIPTORS], fixed[MORGAN])
        heads[f"{method}, kernel"] = kernel(features)
        heads[f"{method} + {BOTH}, kernel"] = every
        if method in learned:
            heads[f"{method} + {BOTH}, forest and kernel"] = mixed(every)
    if slow:
        fully = {MORGAN: (fixed[MORGAN],), BOTH: (fixed[DESCRIPTORS], fixed[MORGAN]), OURS: (learned[OURS],)}
        for method, parts in fully.items():
            heads[f"{method}, random forest"] = lambda p=parts: [Member("forest", tuple(part() for part in p))]
    return heads


def _mixture(dataset: GraphDataset, fraction: float, members: Members, draw: int) -> float:
    y = dataset.graphs.y
    assert y is not None
    return probe_mixture(members(), y, dataset.splits, label_fraction=fraction, seeds=[draw], jobs=2).mean


def _probe(dataset: GraphDataset, fraction: float, parts: Sequence[Features], draw: int) -> float:
    features = np.concatenate([part() if len(parts) == 1 else _block(part()) for part in parts], axis=1)
    y = dataset.graphs.y
    assert y is not None
    if dataset.task == "graph regression":
        return probe_regression(features, y, dataset.splits, label_fraction=fraction, seeds=[draw]).mean
    return probe_multilabel(features, y, dataset.splits, label_fraction=fraction, seeds=[draw], jobs=2).mean


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

    Ours is to be above what a chemist would use: RDKit's descriptors in a random forest. What of that the encoder adds
    can be read off the rows of the same classifiers without it.
    """
    table: list[ResultRow] = []
    for fraction in FRACTIONS:
        metric = _metric(False, fraction)
        methods = [method for known, method in tables[0] if known == metric]
        values = {m: np.mean([scores[metric, m] for scores in tables], axis=0).tolist() for m in methods}
        aim = float(np.mean(values[FOREST]))
        for method in methods:
            ours = method.startswith(OURS)
            table.append(mean_row("average", method, metric, values[method], aim=aim if ours else None, ours=ours))
    return table


if __name__ == "__main__":
    main("graph_transfer", rows)
