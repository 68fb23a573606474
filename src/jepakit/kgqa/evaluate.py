"""The protocol: the learned retriever, the same one before training, the classic ones, and the ceilings of paths."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from jepakit.errors import DataError, require_at_least, require_choice
from jepakit.kgqa.advice import advice
from jepakit.kgqa.data import Ids, KnowledgeGraph, Questions
from jepakit.kgqa.linking import EntityLinker, Match
from jepakit.kgqa.linking.matches import best_entities, mask_matches, mask_topics
from jepakit.kgqa.metrics import METRICS, answer_metrics
from jepakit.kgqa.paths.matcher import PathMatcher
from jepakit.kgqa.report.examples import examples_of
from jepakit.kgqa.report.sections import (
    BestPath,
    abstention_section,
    by_hops,
    by_relation,
    found_by_section,
    linking_section,
)
from jepakit.kgqa.retriever import PathRetriever, Ranked
from jepakit.kgqa.retrievers import Query
from jepakit.kgqa.retrievers.named import TITLES, ClassicName, classic_retrievers
from jepakit.progress import phase, tracked
from jepakit.training.result_rows import ResultRow
from jepakit.training.results import Evaluation, ReportSection

OURS, UNTRAINED = "jepakit: path matcher", "the same matcher, untrained (cosine of question and path)"
LINKED = "jepakit: path matcher, topics linked"
REACHABLE, EXACT = "ceiling: an answer within the hops", "ceiling: the best path, one of its entities"
_TOPICS = {"given": OURS, "linked": LINKED}
_QUESTIONS_AT_ONCE = 256


@dataclass
class EvaluateConfig:
    """What is measured.

    Args:
        split: split of the questions; by default ``test``, else the only one.
        sample: measure so many of its questions, drawn at random; None: all.
        limit: entities ranked for each question, at least 20.
        retrievers: the classic ones beside ours: ``bm25``, ``knn`` (nearest entity texts), ``khop`` and ``path``
            (around the topics), ``pcst`` (KNN, connected by a Steiner tree), ``rrf`` and ``weighted`` (KNN and BM25).
            All but ``bm25`` encode the texts of all entities, which takes minutes on a CPU the first time.
        linking: also measure with the topics that the questions' words name, instead of the given ones.
        examples: questions shown with their paths.
    """

    split: str | None = None
    sample: int | None = None
    limit: int = 20
    retrievers: list[ClassicName] = field(default_factory=lambda: ["bm25", "knn", "khop", "pcst"])
    linking: bool = True
    examples: int = 5

    def __post_init__(self) -> None:
        # For recall@20.
        require_at_least(self, limit=20, examples=0)
        if self.sample is not None:
            require_at_least(self, sample=1)
        for name in self.retrievers:
            require_choice("retrievers", name, get_args(ClassicName))


def evaluate(
    graph: KnowledgeGraph,
    questions: Questions,
    retriever: PathRetriever,
    random_encoder: PathMatcher,
    config: EvaluateConfig,
    *,
    training_seconds: float | None = None,
) -> Evaluation:
    """Measures all retrievers on the same questions, whose topics are given.

    Ours finds the answers of a question without a topic in the graph by text; to the ceilings of paths it adds 0.
    Where a beam leaves paths out, the ceilings are those of the paths that were followed.
    Precision, recall and F1 are those of the entities with at least half of the best score: a path gives the same to
    all that it reaches. Scores by text, and those of the classic retrievers, do not say how many answers there are: of
    them the best entity counts.

    Args:
        graph: the graph of the retriever.
        questions: with their answers.
        retriever: ours.
        random_encoder: its matcher before training.
        config: what is measured.
        training_seconds: of the retriever, for the recommendation; None leaves it out, so that a run that was
            interrupted has the same results.

    Raises:
        DataError: there are no questions.
    """
    if not len(questions):
        raise DataError("no questions to measure on", field="questions", expected="at least one")
    if config.sample is not None:
        questions = questions.sample(config.sample, seed=0)
    ranked, best = _rank_by_paths(questions, retriever, retriever.with_matcher(random_encoder), config.limit)
    sections: list[ReportSection] = []
    if config.linking:
        with phase(f"linking the topics of {len(questions)} questions"):
            matches = EntityLinker(graph).link(questions.texts)
        sections.append(linking_section(matches, questions))
        ranked[LINKED] = _rank_linked(questions, matches, retriever, ranked[OURS], config.limit)
    entities = {method: [one.entities for one in results] for method, results in ranked.items()}
    predicted = {method: [_predicted(one) for one in results] for method, results in ranked.items()}
    for name, classic in classic_retrievers(config.retrievers, graph, retriever.encoder).items():
        entities[TITLES[name]] = [
            one.entities
            for start in tracked(
                range(0, len(questions), _QUESTIONS_AT_ONCE), f"answering by {TITLES[name]}", unit="batches"
            )
            for one in classic.retrieve(_queries(questions, start), config.limit)
        ]
    missing = questions.missing or None
    tables = {
        method: answer_metrics(rows, questions.answers, predicted=predicted.get(method), missing=missing)
        for method, rows in entities.items()
    }
    hits = {method: table[:, 0] for method, table in tables.items()}
    compared = {method: values for method, values in hits.items() if method != LINKED}
    found = {name: (ranked[method], hits[method]) for name, method in _TOPICS.items() if method in ranked}
    sections += [found_by_section(found), abstention_section(ranked[OURS], hits[OURS])]
    sections += [by_hops(best, ranked[OURS], hits[OURS], hits[UNTRAINED]), by_relation(graph, best, hits[OURS])]
    return Evaluation(
        title=f"Questions over {graph.name}",
        summary=_summary(ranked[OURS], hits, best),
        recommendation=advice(compared, OURS, "the trained retriever", training_seconds),
        rows=_rows(f"{graph.name}, {len(questions)} questions", tables, best),
        sections=tuple(sections),
        examples=examples_of(questions, ranked[OURS], hits[OURS], retriever, config.examples),
    )


def split_of(splits: dict[str, Questions], name: str | None) -> Questions:
    """The split of a name; by default ``test``, or the only one.

    Raises:
        ConfigError: there is no such split.
        DataError: no name is given, and there are several splits without ``test``.
    """
    if name is not None:
        return splits[require_choice("split", name, splits)]
    if "test" in splits:
        return splits["test"]
    if len(splits) == 1:
        return next(iter(splits.values()))
    raise DataError("several splits", field="split", value=sorted(splits), expected="the name of one")


def _rank_by_paths(
    questions: Questions, retriever: PathRetriever, untrained: PathRetriever, limit: int
) -> tuple[dict[str, list[Ranked]], list[BestPath]]:
    """The answers of both retrievers, and the best path of each question; the paths are walked once if all are."""
    ranked: dict[str, list[Ranked]] = {OURS: [], UNTRAINED: []}
    best: list[BestPath] = []
    with phase("answering by paths", len(questions), unit="questions") as answering:
        for walked in retriever.walk(questions):
            ranked[OURS] += retriever.rank_walked(walked, limit)
            # A beam follows the paths that its own matcher prefers.
            ranked[UNTRAINED] += untrained.rank_shared(walked, limit)
            for row, share in zip(*(column.tolist() for column in walked.best()), strict=True):
                best.append(BestPath(() if row < 0 else retriever.table.steps(int(walked.path[row])), share))
            answering.advance(len(walked.questions))
    return ranked, best


def _rank_linked(
    questions: Questions, matches: list[tuple[Match, ...]], retriever: PathRetriever, ranked: list[Ranked], limit: int
) -> list[Ranked]:
    """The answers from linked topics; ``ranked`` from the given ones."""
    linked = replace(questions, topics=tuple(best_entities(listed) for listed in matches))
    masked = [mask_matches(text, listed) for text, listed in zip(questions.texts, matches, strict=True)]
    given = mask_topics(retriever.graph, questions)
    other = [
        row
        for row, topics in enumerate(questions.topics)
        if set(topics) != set(linked.topics[row]) or masked[row] != given[row]
    ]
    answers = list(ranked)
    if other:
        vectors = retriever.encoder.encode([masked[row] for row in other], "query")
        for row, one in zip(other, retriever.rank(linked[other], limit, vectors=vectors), strict=True):
            answers[row] = one
    return answers


def _predicted(ranked: Ranked) -> Ids:
    if ranked.found_by == "text":
        return ranked.entities[:1]
    return ranked.entities[ranked.scores >= ranked.scores.max(initial=0) / 2]


def _queries(questions: Questions, start: int) -> list[Query]:
    block = slice(start, start + _QUESTIONS_AT_ONCE)
    return list(map(Query, questions.texts[block], questions.topics[block]))


def _rows(dataset: str, tables: dict[str, NDArray[np.float64]], best: list[BestPath]) -> tuple[ResultRow, ...]:
    rows = [
        ResultRow(dataset, method, metric, float(table[:, column].mean()), ours=method in (OURS, LINKED))
        for column, metric in enumerate(METRICS)
        for method, table in tables.items()
    ]
    shares = np.array([one.share for one in best])
    ceilings = {REACHABLE: float((shares > 0).mean()), EXACT: float(shares.mean())}
    return (*rows, *(ResultRow(dataset, method, "hit@1", value) for method, value in ceilings.items()))


def _summary(ranked: list[Ranked], hits: dict[str, NDArray[np.float64]], best: list[BestPath]) -> tuple[str, ...]:
    without = sum(one.found_by == "text" for one in ranked)
    by_text = f"; {without} ({without / len(ranked):.0%}) have no topic and are answered by text" if without else ""
    exact = float(np.mean([one.share for one in best]))
    ours, floor = float(hits[OURS].mean()), float(hits[UNTRAINED].mean())
    share = f", which is {ours / exact:.0%} of it" if exact else ""
    return (
        f"{len(ranked)} questions, topics given, number of hops not given{by_text}.",
        f"hit@1: untrained {floor:.3f}; the best path of each question gives {exact:.3f}; ours {ours:.3f}{share}.",
    )
