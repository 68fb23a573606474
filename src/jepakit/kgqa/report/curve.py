"""The curve by labels: how well questions are answered after training on more and more of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from jepakit.errors import ConfigError
from jepakit.kgqa.data import KnowledgeGraph, Questions
from jepakit.kgqa.metrics import answer_metrics
from jepakit.kgqa.paths.fitting import RetrieverConfig, fit_retriever
from jepakit.progress import tracked
from jepakit.text import TextEncoder
from jepakit.training.results import ReportCurve


def label_curve(
    graph: KnowledgeGraph,
    training: Questions,
    measured: Questions,
    encoder: TextEncoder,
    config: RetrieverConfig,
    counts: Sequence[int],
) -> ReportCurve:
    """hit@1 after training on 0 and on ``counts`` of the training questions, and the ceiling of relation paths.

    Args:
        graph: the graph.
        training: a smaller number of them is part of a larger.
        measured: other questions.
        encoder: frozen.
        config: of all trainings.
        counts: numbers of questions; those above all there are count as all.

    Raises:
        ConfigError: there is no number, or one below 1.
        DataError: no path answers any of the first training questions.
    """
    numbers = sorted({min(count, len(training)) for count in counts})
    if not numbers or numbers[0] < 1:
        raise ConfigError("curve", list(counts), "numbers of questions, at least 1")
    hits: list[float] = []
    ceiling = 0.0
    for count in tracked(numbers, "curve by labels", unit="trainings"):
        labelled, unlabelled = training.divide(count, seed=config.seed)
        fitted = fit_retriever(graph, labelled, encoder, config, unlabelled=unlabelled)
        untrained = fitted.retriever.with_matcher(fitted.random_encoder)
        matchers = [fitted.retriever] if hits else [untrained, fitted.retriever]
        ranked: list[list[np.ndarray]] = [[] for _ in matchers]
        shares: list[np.ndarray] = []
        for walked in fitted.retriever.walk(measured):
            for place, retriever in enumerate(matchers):
                ranked[place] += [one.entities for one in retriever.rank_shared(walked, 1)]
            shares.append(walked.best()[1])
        missing = measured.missing or None
        hits += [float(answer_metrics(rows, measured.answers, missing=missing)[:, 0].mean()) for rows in ranked]
        ceiling = float(np.concatenate(shares).mean())
    return ReportCurve(
        "Curve by labels",
        "training questions",
        "hit@1",
        (0.0, *map(float, numbers)),
        (("path matcher", tuple(hits)), ("ceiling: the best path", (ceiling,) * len(hits))),
    )
