"""Molecules: pre-train once on the unlabelled molecules of HIV.csv, then probe and fine-tune on other tables.

    python -m benchmarks.graph_transfer            # hours on two cores; goes on where it was interrupted
    python -m benchmarks.graph_transfer --quick    # minutes: one seed, 2,000 molecules, one epoch

Beside the random encoder stands what a chemist would use instead: Morgan fingerprints with logistic regression (ridge
regression for ESOL) and a random forest, and fingerprints and embeddings together. Scaffold split; what is chosen is
chosen on its validation part.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from benchmarks.harness import Options, Steps, data_dir, main, mean_row
from jepakit.graph import (
    EncoderConfig,
    FinetuneConfig,
    GraphDataset,
    GraphEncoder,
    Masking,
    ObjectiveConfig,
    Pretrained,
    finetune,
    preset,
    pretrain,
)
from jepakit.graph.datasets.molecules import Molecules, load_molecules, morgan_fingerprints
from jepakit.graph.probe import probe_multilabel, probe_regression
from jepakit.graph.selection import signed_log
from jepakit.training.result_rows import ResultRow

TABLES = {
    "Tox21": "tox21.csv.gz",
    "SIDER": "sider.csv.gz",
    "ClinTox": "clintox.csv.gz",
    "ESOL": "delaney-processed.csv",
}
OURS, RANDOM = "jepakit: JEPA", "random encoder"
FRACTIONS = (1.0, 0.1)


def rows(options: Options, steps: Steps) -> list[ResultRow]:
    """All rows; `steps` keeps what is already measured."""
    folder = data_dir() / "moleculenet"
    seeds = [0] if options.quick else [0, 1]
    encoders = {seed: cache(partial(_pretrained, folder, seed, options)) for seed in seeds}
    table: list[ResultRow] = []
    for name, file in TABLES.items():
        table += _table(name, load_molecules(folder / file), encoders, options, steps)
    return table + _averages(table)


def _pretrained(folder: Path, seed: int, options: Options) -> Pretrained:
    dataset = load_molecules(folder / "HIV.csv").dataset
    config = preset(
        "best",
        seed=seed,
        # Pooled, not by prototypes: those of one set of molecules are strange to another.
        encoder=EncoderConfig(prototypes=0),
        masking=Masking(ratio=0.4),
        objective=ObjectiveConfig(predict=["node", "graph"]),
        epochs=3,
        batch_size=128,
        progress=False,
        diagnose_every=1000,
    )
    if options.quick:
        config = replace(config, epochs=1)
        dataset = replace(dataset, graphs=dataset.graphs[torch.arange(0, len(dataset.graphs), 20)])
    return pretrain(dataset, config)


def _table(
    name: str,
    molecules: Molecules,
    encoders: dict[int, Callable[[], Pretrained]],
    options: Options,
    steps: Steps,
) -> list[ResultRow]:
    dataset = molecules.dataset
    morgan = cache(lambda: morgan_fingerprints(molecules.smiles).astype(np.float64))
    scores: dict[tuple[str, str], list[float]] = {}
    regression = dataset.task == "graph regression"

    def measure(metric: str, method: str, seed: int, score: Callable[[], float]) -> None:
        value = steps.value((name, metric, method, seed, options.quick), score)
        scores.setdefault((metric, method), []).append(value if regression else 100 * value)

    for seed, pretrained in encoders.items():
        embed: dict[str, Callable[[], np.ndarray]] = {
            OURS: lambda p=pretrained: p().encoder.embed(dataset.graphs).numpy(),
            RANDOM: lambda p=pretrained: p().random_encoder.embed(dataset.graphs).numpy(),
            "Morgan fingerprints": morgan,
        }
        together = {
            f"{OURS} + Morgan": (embed[OURS], morgan),
            f"{RANDOM} + Morgan": (embed[RANDOM], morgan),
        }
        for fraction in FRACTIONS:
            metric = _metric(regression, fraction)
            for method, features in embed.items():
                measure(metric, method, seed, partial(_probe, dataset, (features,), fraction, seed))
            for method, parts in together.items():
                measure(metric, method, seed, partial(_probe, dataset, parts, fraction, seed))
            if not regression and seed == min(encoders):  # minutes a forest, and of a spread below a point
                forest = partial(_probe, dataset, (morgan,), fraction, seed, "forest")
                measure(metric, "Morgan fingerprints, random forest", seed, forest)
            for method, encoder in (("pre-trained", "encoder"), ("random", "random_encoder")):

                def tuned(
                    encoder: str = encoder,
                    fraction: float = fraction,
                    seed: int = seed,
                    pretrained: Callable[[], Pretrained] = pretrained,
                ) -> float:
                    return _finetuned(getattr(pretrained(), encoder), dataset, fraction, seed, options)

                label = f"{OURS}, fine-tuned" if method == "pre-trained" else "random encoder, fine-tuned"
                measure(metric, label, seed, tuned)
    return [mean_row(name, method, metric, values) for (metric, method), values in scores.items()]


def _probe(
    dataset: GraphDataset,
    parts: Sequence[Callable[[], np.ndarray]],
    fraction: float,
    seed: int,
    classifier: Literal["logistic", "forest"] = "logistic",
) -> float:
    features = np.concatenate([part() if len(parts) == 1 else _block(part()) for part in parts], axis=1)
    assert dataset.graphs.y is not None
    if dataset.task == "graph regression":
        return probe_regression(features, dataset.graphs.y, dataset.splits, label_fraction=fraction, seeds=[seed]).mean
    return probe_multilabel(
        features,
        dataset.graphs.y,
        dataset.splits,
        classifier=classifier,
        label_fraction=fraction,
        seeds=[seed],
        jobs=2,
    ).mean


def _block(features: np.ndarray) -> np.ndarray:
    """Sums over nodes brought to the scale of bits, so that neither block drowns the other; no label is read."""
    compressed = signed_log(features)
    return compressed / np.sqrt(compressed.var(axis=0).mean())


def _finetuned(encoder: GraphEncoder, dataset: GraphDataset, fraction: float, seed: int, options: Options) -> float:
    from sklearn.metrics import roc_auc_score

    train, test = dataset.splits["train"], dataset.splits["test"]
    size = max(2, round(fraction * train.numel()))
    rows = train[torch.randperm(train.numel(), generator=torch.Generator().manual_seed(seed))[:size]]
    model = finetune(
        encoder, dataset, rows, FinetuneConfig(seed=seed, epochs=2 if options.quick else 10, batch_size=64)
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


def _averages(table: Sequence[ResultRow]) -> list[ResultRow]:
    """The mean ROC-AUC over the three classification tables; ours is to be above every other method's."""
    average: list[ResultRow] = []
    for fraction in FRACTIONS:
        metric = _metric(False, fraction)
        methods = list(dict.fromkeys(row.method for row in table if row.metric == metric))
        means = {
            method: float(np.mean([row.value or 0.0 for row in table if (row.metric, row.method) == (metric, method)]))
            for method in methods
        }
        rival = max(value for method, value in means.items() if not method.startswith("jepakit"))
        for method, value in means.items():
            aim = rival if method.startswith("jepakit") else None
            average.append(
                ResultRow("average", method, metric, value, aim=aim, met=None if aim is None else value > aim)
            )
    return average


if __name__ == "__main__":
    main("graph_transfer", rows)
