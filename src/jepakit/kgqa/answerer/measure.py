"""The protocol of an answerer: its order of the candidates beside the retriever's, and when it abstains."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from jepakit.errors import DataError, require_at_least
from jepakit.kgqa.advice import advice
from jepakit.kgqa.answerer.answering import Answer, QuestionAnswerer
from jepakit.kgqa.answerer.data import Example
from jepakit.kgqa.answerer.examples import retrieve_for
from jepakit.kgqa.data import KnowledgeGraph, Questions
from jepakit.kgqa.metrics import METRICS, answer_metrics
from jepakit.kgqa.retrievers.base import Retriever
from jepakit.training.result_rows import ResultRow
from jepakit.training.results import Cell, Evaluation, ReportSection

OURS, RETRIEVER = "jepakit: answerer", "the retriever alone"
CEILING = "ceiling: an answer among the candidates"


@dataclass
class MeasureConfig:
    """What is measured.

    Args:
        sample: so many of the questions, drawn at random; None: all.
        examples: questions shown with their answers.
    """

    sample: int | None = 200
    examples: int = 10

    def __post_init__(self) -> None:
        require_at_least(self, sample=1, examples=0)


def measure(
    graph: KnowledgeGraph,
    questions: Questions,
    answerer: QuestionAnswerer,
    retriever: Retriever,
    config: MeasureConfig,
    *,
    candidates: int,
) -> Evaluation:
    """Measures an answerer on questions whose topics are given.

    Args:
        graph: the graph that it was trained on.
        questions: with their answers.
        answerer: constrained to the candidates.
        retriever: finds the candidates, of which the answerer chooses.
        config: what is measured.
        candidates: of each question.

    Raises:
        DataError: there are no questions.
    """
    if config.sample is not None:
        questions = questions.sample(config.sample, seed=0)
    if not len(questions):
        raise DataError("no questions to measure on", field="questions", expected="at least one")
    found = retrieve_for(graph, questions, retriever, candidates)
    answers = answerer.answer(found.examples)
    ordered = [rows[list(answer.order)] for rows, answer in zip(found.entities, answers, strict=True)]
    missing = questions.missing or None
    tables = {
        method: answer_metrics(rows, questions.answers, missing=missing)
        for method, rows in ((OURS, ordered), (RETRIEVER, found.entities))
    }
    reached = [bool({*rows.tolist()} & {*gold}) for rows, gold in zip(found.entities, questions.answers, strict=True)]
    dataset = f"{graph.name}, {len(questions)} questions"
    rows = [
        ResultRow(dataset, method, metric, float(table[:, column].mean()), ours=method == OURS)
        for column, metric in enumerate(METRICS)
        for method, table in tables.items()
    ]
    rows.append(ResultRow(dataset, CEILING, "hit@1", float(np.mean(reached))))
    hits = {method: table[:, 0] for method, table in tables.items()}
    ours, alone = (float(hits[method].mean()) for method in (OURS, RETRIEVER))
    return Evaluation(
        title=f"Answers about {graph.name}",
        summary=(
            f"{len(questions)} questions, topics given; an answer is one of at most {candidates} candidates.",
            f"hit@1 {ours:.3f}, the retriever alone {alone:.3f}; an answer is among the candidates of "
            f"{np.mean(reached):.3f} of the questions.",
        ),
        recommendation=advice(hits, OURS, "the answerer"),
        rows=tuple(rows),
        sections=(_abstention(answers, hits[OURS]), _examples(questions, answers, found.examples, config.examples)),
    )


def _abstention(answers: Sequence[Answer], hits: np.ndarray) -> ReportSection:
    answered = np.array([answer.text is not None for answer in answers])
    rows: list[tuple[Cell, ...]] = []
    for name, chosen in (("answered", answered), ("not in this graph", ~answered)):
        rows.append((name, float(chosen.sum()), float(hits[chosen].mean()) if chosen.any() else None))
    return ReportSection("Abstention", ("answer", "questions", "share whose best candidate is right"), tuple(rows))


def _examples(
    questions: Questions, answers: Sequence[Answer], examples: Sequence[Example], count: int
) -> ReportSection:
    columns = ("question", "answer", "nearest", "confidence", "gold")
    rows: list[tuple[Cell, ...]] = [
        (text, answer.text or "not in this graph", answer.nearest, answer.confidence, ", ".join(example.answers[:5]))
        for text, answer, example in zip(questions.texts[:count], answers, examples, strict=False)
    ]
    return ReportSection("Examples", columns, tuple(rows))
