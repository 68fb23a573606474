"""Retrieval of plans: from what governs an agent to its plan, among more than a thousand plans.

    python -m benchmarks.guard_retrieval
    python -m benchmarks.guard_retrieval --quick

A query is a document of policy, role, session, task and tools; the gallery holds the plans of all queries: the 116
distinct reference plans of AgentDojo, the 147 of tau2's airline and retail tasks, and 1,000 generated ones of ten
agents of the catalogue, drawn anew for each seed. What is right is the query's own plan in the first place. A plan is
its calls alone: names of tools, names of arguments and values, without any text of its task. Encoders learn from the
other agents of the catalogue: no tool of a query, and no real task, is seen in training. TF-IDF is of tasks and plans,
and is fitted on those of the test; "names of tools" is TF-IDF of plans without arguments.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.pipeline import make_union

from benchmarks.guard_pairs import generated_pairs, names_text, plan_text, real_pairs, sources, tool_names
from benchmarks.harness import Options, Steps, main, mean_row, side_by_side, workers
from jepakit.errors import DataError
from jepakit.guard.data import Trace
from jepakit.text.load import load_text_encoder
from jepakit.training.result_rows import ResultRow

METRIC, ALL = "nearest plan is its own", "all"
WORDS, GRAMS, NAMES, MINILM = "TF-IDF, words", "TF-IDF, words and characters", "TF-IDF, names of tools", "MiniLM"
_TESTED, _LEARNED = 1000, 20_000
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


def hits(similarity: NDArray[np.floating]) -> list[bool]:
    """Whether the largest of each row is on the diagonal."""
    return (similarity.argmax(axis=1) == np.arange(len(similarity))).tolist()


def rows(options: Options, steps: Steps) -> list[ResultRow]:
    """The table."""
    quick, seeds = options.quick, range(1 if options.quick else 3)
    jobs: dict[tuple[Any, ...], Callable[[], Any]] = {}
    for seed in seeds:
        for method in (WORDS, GRAMS, NAMES):
            jobs[method, seed, quick] = partial(by_tfidf, method, seed, quick)
        jobs[MINILM, seed, quick] = partial(by_text_encoder, seed, quick)
    with workers() as pool:
        measured = side_by_side(pool, steps, jobs)
    table: list[ResultRow] = []
    for method in (WORDS, GRAMS, NAMES, MINILM):
        table += _method_rows(method, [measured[method, seed, quick] for seed in seeds], quick, ours=False)
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
