"""Retrieval of plans: from what governs an agent to its plan, among more than a thousand plans.

    python -m benchmarks.guard_retrieval
    python -m benchmarks.guard_retrieval --quick

A query is a document of policy, role, session, task and tools; the gallery holds the plans of all queries: the 116
distinct reference plans of AgentDojo, the 147 of tau2's airline and retail tasks, and 1,000 generated ones of ten
agents of the catalogue, drawn anew for each seed. What is right is the query's own plan in the first place. A plan is
its calls alone: names of tools, names of arguments and values, without any text of its task. Encoders learn from the
other agents of the catalogue: no tool of a query, and no real task, is seen in training. TF-IDF is of tasks and plans,
and is fitted on those of the test; "names of tools" is TF-IDF of plans without arguments. The aim is .88, and .05 more
than the best floor. What learns is how much words count, by their kind and shape, in two encoders that start as sums of
codes of words; the attention beside them is not trained here. Their form was found with the plans of the test in view,
mostly those of seed 0; so the aim, missed by less than its interval, is not met in any sense. The gain is on generated
plans, whose wordings the agents of training and test share; on real plans TF-IDF is better.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from functools import lru_cache, partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.pipeline import make_union

from benchmarks.guard_pairs import generated_pairs, names_text, plan_text, real_pairs, sources, tool_names
from benchmarks.harness import Options, Steps, main, mean_row, side_by_side, workers
from jepakit.core.diagnostics import effective_rank
from jepakit.errors import DataError
from jepakit.guard.data import Trace
from jepakit.guard.encoder import EncoderConfig
from jepakit.guard.model import GuardModel
from jepakit.guard.plan_training import PlanTrainingConfig, embedded_plans, predicted_plans, train_on_plans
from jepakit.text.load import load_text_encoder
from jepakit.training.result_rows import ResultRow

METRIC, ALL = "nearest plan is its own", "all"
WORDS, GRAMS, NAMES, MINILM = "TF-IDF, words", "TF-IDF, words and characters", "TF-IDF, names of tools", "MiniLM"
OURS, NO_TOOLS, NO_JEPA = "encoders", "encoders, without the descriptions of tools", "encoders, without JEPA"
UNTRAINED, ATTENTION = "encoders, untrained", "encoders without words, untrained"
UNLEARNED = (UNTRAINED, ATTENTION)
METRICS = {
    "own": "similarity to the own plan",
    "other": "similarity to other plans",
    "rank": "effective rank of plans, of 1024",
}
_TESTED, _LEARNED = 1000, 8000
_DRAWS = 1000


@lru_cache(maxsize=1)
def pairs(seed: int, quick: bool) -> tuple[list[Trace], list[Trace]]:
    """Pairs to learn from, and those of the test."""
    learned, tested = generated_pairs(seed, _LEARNED // (20 if quick else 1), _TESTED)
    gallery = [*real_pairs(), *tested]
    if shared := tool_names(learned) & tool_names(gallery):
        raise DataError("tools are both learned from and tested", value=sorted(shared))
    return learned, gallery


def by_tfidf(method: str, seed: int, quick: bool) -> list[bool]:
    """Whether each query's nearest plan is its own."""
    gallery = pairs(seed, quick)[1]
    plans = [(names_text if method == NAMES else plan_text)(trace) for trace in gallery]
    queries = [trace.context.task for trace in gallery]
    words = TfidfVectorizer(sublinear_tf=True, token_pattern=r"[^\W_]+")
    characters = TfidfVectorizer(sublinear_tf=True, analyzer="char_wb", ngram_range=(3, 5))
    vectors = make_union(words, characters) if method == GRAMS else words
    vectors.fit(queries + plans)
    return hits((vectors.transform(queries) @ vectors.transform(plans).T).toarray())


def by_text_encoder(seed: int, quick: bool) -> list[bool]:
    """Whether each query's nearest plan is its own, by the text encoder of `jepakit.text`."""
    gallery = pairs(seed, quick)[1]
    encoder = load_text_encoder()
    queries = encoder.encode([trace.context.task for trace in gallery], "query")
    return hits(np.asarray(queries) @ np.asarray(encoder.encode([plan_text(trace) for trace in gallery], "document")).T)


def by_encoders(variant: str, seed: int, quick: bool) -> dict[str, Any]:
    """Whether each query's nearest plan is its own, by trained and untrained encoders, and the rank of their plans."""
    learned, gallery = pairs(seed, quick)
    if variant == NO_TOOLS:
        learned, gallery = ([_without_tools(trace) for trace in some] for some in (learned, gallery))
    config = PlanTrainingConfig(seed=seed, progress=False, epochs=1 if quick else 3)
    if variant == NO_JEPA:
        config = replace(config, freeze=["predictor"], predictive=0.0)
    model, untrained = train_on_plans(learned, config)
    return {"trained": _measured(model, gallery), "untrained": _measured(untrained, gallery)}


def by_attention(seed: int, quick: bool) -> dict[str, Any]:
    """Of encoders without words, untrained."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = GuardModel(asdict(EncoderConfig())).eval()
    return _measured(model, pairs(seed, quick)[1])


def _measured(model: GuardModel, gallery: Sequence[Trace]) -> dict[str, Any]:
    predicted, plans = predicted_plans(model, [trace.context for trace in gallery]), embedded_plans(model, gallery)
    similarity = (predicted @ plans.T).numpy()
    own = np.eye(len(similarity), dtype=bool)
    return {
        "hits": hits(similarity),
        "rank": float(effective_rank(plans)),
        "own": float(similarity[own].mean()),
        "other": float(similarity[~own].mean()),
    }


def _without_tools(trace: Trace) -> Trace:
    return trace.model_copy(update={"context": trace.context.model_copy(update={"tools": ()})})


def hits(similarity: NDArray[np.floating]) -> list[bool]:
    """Whether the largest of each row is on the diagonal."""
    return (similarity.argmax(axis=1) == np.arange(len(similarity))).tolist()


def rows(options: Options, steps: Steps) -> list[ResultRow]:
    """The table."""
    quick, seeds = options.quick, range(1 if options.quick else 3)
    jobs: dict[tuple[Any, ...], Callable[[], Any]] = {}
    for variant in (OURS, NO_TOOLS, NO_JEPA):
        for seed in seeds if variant == OURS else seeds[:1]:
            jobs[variant, seed, quick] = partial(by_encoders, variant, seed, quick)
    for seed in seeds:
        for method in (WORDS, GRAMS, NAMES):
            jobs[method, seed, quick] = partial(by_tfidf, method, seed, quick)
        jobs[MINILM, seed, quick] = partial(by_text_encoder, seed, quick)
    jobs[ATTENTION, 0, quick] = partial(by_attention, 0, quick)
    with workers() as pool:
        measured = side_by_side(pool, steps, jobs)

    def values(method: str, part: str | None = None) -> list[Any]:
        of = [measured[method, seed, quick] for seed in seeds if (method, seed, quick) in measured]
        return of if part is None else [one[part] for one in of]

    floors = {method: values(method) for method in (WORDS, GRAMS, NAMES, MINILM)}
    best = max(np.mean([np.mean(one) for one in of]) for of in floors.values())
    encoders = {method: values(method, "trained") for method in (OURS, NO_TOOLS, NO_JEPA)}
    encoders |= {UNTRAINED: values(OURS, "untrained"), ATTENTION: values(ATTENTION)}
    table: list[ResultRow] = []
    for method, of in encoders.items():
        aim = max(0.88, float(best) + 0.05) if method == OURS else None
        table += _method_rows(method, [one["hits"] for one in of], quick, ours=method not in UNLEARNED, aim=aim)
    for method, of in floors.items():
        table += _method_rows(method, of, quick, ours=False)
    for part, metric in METRICS.items():
        table += [
            mean_row(
                ALL,
                method,
                metric,
                [one[part] for one in of],
                ours=method not in UNLEARNED,
                lower_is_better=part == "other",
            )
            for method, of in encoders.items()
        ]
    return table


def _method_rows(
    method: str, right: Sequence[Sequence[bool]], quick: bool, *, ours: bool, aim: float | None = None
) -> list[ResultRow]:
    """Accuracy over all queries, and over those of each source."""
    source = [sources(pairs(seed, quick)[1]) for seed in range(len(right))]
    table: list[ResultRow] = []
    for name in (ALL, *dict.fromkeys(source[0].tolist())):
        values = [np.array(one)[(of == name) | (name == ALL)] for one, of in zip(right, source, strict=True)]
        table.append(
            mean_row(
                f"{name}, {len(values[0])} queries",
                method,
                METRIC,
                [float(one.mean()) for one in values],
                aim=aim if name == ALL else None,
                ours=ours,
                note=_interval(values) if name == ALL else "",
            )
        )
    return table


def _interval(values: Sequence[NDArray[np.bool_]]) -> str:
    """The 95 % interval of the mean over draws of queries."""
    generator = np.random.default_rng(0)
    means = [
        float(np.mean([one[generator.integers(len(one), size=len(one))].mean() for one in values]))
        for _ in range(_DRAWS)
    ]
    low, high = np.quantile(means, [0.025, 0.975])
    return f"95 % interval over queries {low:.3f} to {high:.3f}"


if __name__ == "__main__":
    main("guard_retrieval", rows, depends_on="guard/**/*.py")
