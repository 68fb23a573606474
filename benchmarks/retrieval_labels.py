"""How many pairs an adapter needs, and what the presets come to where there are many.

    python -m benchmarks.retrieval_labels            # most of an hour on two cores once the collections are encoded
    python -m benchmarks.retrieval_labels --quick    # minutes: one seed, StackFAQ, fewer numbers of pairs and presets

Labels: whole questions with their pairs are drawn from the training and development pairs until there are so many.
Everything is chosen on those and nothing else. Three seeds, which draw other pairs.

Presets: on all pairs, from the identity and from random layers, the adapter alone. As trained, it is followed all the
way and everywhere, because with the choice on held-out pairs a poor one is replaced by the base; "with the
choice" shows that, with one seed. On MedQuAD, where each training takes a minute, the presets are left out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Any

import numpy as np
import torch

from benchmarks.harness import Options, Steps, main, mean_row
from benchmarks.retrieval_homes import (
    ALONE,
    BASE,
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
from jepakit.cli.command import parse
from jepakit.cli.reading import Command
from jepakit.retrieval import (
    PRESETS,
    PretrainConfig,
    Pretrained,
    RetrievalDataset,
    SearchSettings,
    SelectionConfig,
    pretrain,
)
from jepakit.text import TextEncoder
from jepakit.training.result_rows import ResultRow

COUNTS = (50, 200, 800, None)
"""Pairs that may be learned from; None: all."""
EPOCHS = 10
#: Homes in which the presets are not measured.
SLOW = ("MedQuAD, disjoint",)
MOSTLY_CONTRASTIVE = "contrastive-dominant"
#: What the library offers, and the same network where nearly all of the loss is contrastive.
ALL_PRESETS: dict[str, dict[str, Any]] = {
    **PRESETS,
    MOSTLY_CONTRASTIVE: {**PRESETS["minimal"], "objective.predictive": 0.1, "objective.contrastive": 0.9},
}
STARTS = ("identity", "random")
CHOSEN = ", with the choice"
Values = list[float]
"""NDCG@10 of each test question."""


@dataclass(frozen=True)
class Home:
    """Where adapters are trained and measured."""

    collection: Collection
    dataset: RetrievalDataset
    encoder: TextEncoder


def rows(options: Options, steps: Steps) -> list[ResultRow]:
    """All rows; `steps` keeps what is already measured."""
    encoder = base_encoder()
    labels: list[ResultRow] = []
    presets: list[ResultRow] = []
    for name, (where, disjoint, _) in HOMES.items():
        if name == "SciFact, official" or (options.quick and name != "StackFAQ"):
            continue
        home = cache(partial(_home, where, disjoint, encoder))
        base = steps.value((name, BASE, options.quick), lambda home=home: _base(home()))
        for count in COUNTS[:2] if options.quick else COUNTS:
            labels += _labels(name, count, home, base, options, steps)
        if name not in SLOW:
            presets += _presets(name, home, base, options, steps)
    return labels + presets


def _home(where: str, disjoint: bool, encoder: TextEncoder) -> Home:
    collection = load_collection(where, encoder)
    return Home(collection, home_dataset(collection.dataset, disjoint), encoder)


def _base(home: Home) -> Values:
    return home.collection.values(home.collection.by_base(home.collection.test.relevant.queries))


def _labels(
    name: str, count: int | None, home: Callable[[], Home], base: Values, options: Options, steps: Steps
) -> list[ResultRow]:
    """One number of pairs, all methods; nothing where there are no more pairs than that."""
    there = steps.value((name, "pairs"), lambda: len(home().dataset.training))
    if count is not None and count >= there:
        return []
    metric = f"NDCG@10, {'all' if count is None else count} pairs"
    found: dict[str, list[Values]] = {}
    strengths: list[float] = []
    for seed in [0] if options.quick else [0, 1, 2]:
        drawn = cache(lambda seed=seed: _drawn(home().dataset, count, seed))
        trained = cache(
            lambda seed=seed, drawn=drawn: pretrain(drawn(), home().encoder, PretrainConfig(seed=seed, progress=False))
        )

        def known(method: str, measure: Callable[[], Any], seed: int = seed) -> Any:
            return steps.value((name, method, count, seed, options.quick), measure)

        for method in (OURS, ALONE):
            measure = partial(_ours, home, trained, alone=method == ALONE)
            found.setdefault(method, []).append(known(method, measure))
        for floor in FLOORS[1:]:
            found.setdefault(floor, []).append(known(floor, partial(_floor, home, trained, floor)))
        linear = known(LINEAR, lambda drawn=drawn, seed=seed: _linear(home(), drawn(), seed))
        found.setdefault(LINEAR, []).append(linear)
        strengths.append(known("strength", lambda trained=trained: trained().choice.strength))
    table = [mean_row(name, BASE, metric, [float(np.mean(base))])]
    for method, seeds in found.items():
        note = against(np.mean(seeds, axis=0) - base)
        if method == OURS:
            floors = {floor: np.mean(found[floor], axis=0) for floor in FLOORS[1:]}
            note = against_floors(np.mean(seeds, axis=0), {BASE: np.array(base), **floors})
            chosen = ", ".join(f"{strength:g}" for strength in strengths)
            note += f"; strength {chosen}" + (f"; {there} pairs" if count is None else "")
        scores = [float(np.mean(values)) for values in seeds]
        table.append(mean_row(name, method, metric, scores, note=note, ours=method in (OURS, ALONE)))
    return table


def _drawn(dataset: RetrievalDataset, count: int | None, seed: int) -> RetrievalDataset:
    """The pairs of questions in a random order, until there are ``count`` of them or a few more."""
    if count is None:
        return dataset
    pairs = dataset.training.relevant
    asked = pairs.queries
    asked = asked[torch.randperm(len(asked), generator=torch.Generator().manual_seed(seed))]
    sizes = torch.bincount(pairs.query)[asked].cumsum(0)
    taken = asked[: int((sizes < count).sum()) + 1]
    return replace(dataset, splits={"train": pairs[torch.isin(pairs.query, taken)]})


def _ours(home: Callable[[], Home], trained: Callable[[], Pretrained], *, alone: bool) -> Values:
    there, adapter, settings = home().collection, trained().encoder, trained().choice.settings
    settings = SearchSettings() if alone else settings
    return there.values(there.by_adapter(there.test.relevant.queries, adapter, settings, words=not alone))


def _floor(home: Callable[[], Home], trained: Callable[[], Pretrained], floor: str) -> Values:
    """Its weights are chosen on the pairs that were drawn."""
    there = home().collection
    return there.values(there.by_floor(there.test.relevant.queries, floor, trained().choice.untrained))


def _linear(home: Home, drawn: RetrievalDataset, seed: int) -> Values:
    """All pairs, ten epochs: none are held out to choose them by."""
    there = home.collection
    *_, weight = linear_maps(there.queries, there.documents, drawn.training, epochs=EPOCHS, seed=seed)
    return there.values(there.by_map(there.test.relevant.queries, weight))


def _presets(name: str, home: Callable[[], Home], base: Values, options: Options, steps: Steps) -> list[ResultRow]:
    """Each preset as trained, and with the choice."""
    metric = "NDCG@10, presets on all pairs"
    table = [mean_row(name, BASE, metric, [float(np.mean(base))])]
    for preset in ("best", "minimal") if options.quick else ALL_PRESETS:
        for start in ("identity",) if preset == "best" else STARTS:
            method = f"jepakit: preset {preset}" + ("" if preset == "best" else f", start {start}")
            measures: Mapping[str, tuple[Callable[..., Values], Sequence[int]]] = {
                method: (_as_trained, [0] if options.quick else [0, 1, 2]),
                method + CHOSEN: (_with_choice, [0]),
            }
            for shown, (measure, seeds) in measures.items():
                found = [
                    steps.value(
                        (name, shown, seed, options.quick),
                        lambda measure=measure, seed=seed, preset=preset, start=start: measure(
                            home(), configured(preset, start, seed)
                        ),
                    )
                    for seed in seeds
                ]
                note = against(np.mean(found, axis=0) - base)
                scores = [float(np.mean(values)) for values in found]
                table.append(mean_row(name, shown, metric, scores, note=note, ours=True))
    return table


def configured(preset: str, start: str, seed: int) -> PretrainConfig:
    """A preset as the command line applies it."""
    command = Command(PretrainConfig, lambda *_: None, presets=ALL_PRESETS)
    given = {"preset": preset, "adapter.start": start, "seed": seed, "progress": "false"}
    given |= {"selection.feedback": "[]", "selection.sentences": "[]"}
    return parse(command, "train", [f"--{option}={value}" for option, value in given.items()])


def _as_trained(home: Home, config: PretrainConfig) -> Values:
    # Nothing is chosen: the one setting there is, on as little as `train` can hold out.
    config.selection = SelectionConfig(predictive=[], strengths=[1.0], feedback=[], sentences=[], folds=2, enough=1)
    there, adapter = home.collection, as_trained(pretrain(home.dataset, home.encoder, config).encoder)
    return there.values(there.by_adapter(there.test.relevant.queries, adapter, SearchSettings()))


def _with_choice(home: Home, config: PretrainConfig) -> Values:
    trained = pretrain(home.dataset, home.encoder, config)
    there, adapter = home.collection, trained.encoder
    return there.values(there.by_adapter(there.test.relevant.queries, adapter, trained.choice.settings))


if __name__ == "__main__":
    main("retrieval_labels", rows)
