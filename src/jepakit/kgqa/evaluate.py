"""The protocol: the learned retriever beside the same one before training, and the ceilings of relation paths."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from jepakit.errors import DataError, require_at_least, require_choice
from jepakit.kgqa.data import Ids, KnowledgeGraph, Questions
from jepakit.kgqa.metrics import METRICS, answer_metrics
from jepakit.kgqa.paths.candidates import find_candidates
from jepakit.kgqa.retriever import PathRetriever, Ranked
from jepakit.training.result_rows import ResultRow
from jepakit.training.results import Evaluation, ReportSection

OURS, UNTRAINED = "jepakit: path matcher", "the same matcher, untrained (cosine of question and path)"
REACHABLE, EXACT = "ceiling: an answer within the hops", "ceiling: the best path, one of its entities"


@dataclass
class EvaluateConfig:
    """What is measured.

    Args:
        split: split of the questions; by default ``test``, else the only one.
        limit: entities ranked for each question.
        examples: questions shown with their paths.
    """

    split: str | None = None
    limit: int = 20
    examples: int = 5

    def __post_init__(self) -> None:
        require_at_least(self, limit=1, examples=0)


def evaluate(
    graph: KnowledgeGraph,
    questions: Questions,
    retriever: PathRetriever,
    untrained: PathRetriever,
    config: EvaluateConfig,
) -> Evaluation:
    """Measures both retrievers on questions whose topics are given.

    A question without a topic in the graph counts as not answered.

    Raises:
        DataError: there are no questions.
    """
    if not len(questions):
        raise DataError("no questions to measure on", field="questions", expected="at least one")
    ranked = retriever.rank(questions, config.limit)
    floor = untrained.rank(questions, config.limit)
    # An answer is within the hops exactly where some path reaches it.
    exact = find_candidates(retriever.walker, retriever.table, questions, retriever.matcher.hops).best_share
    dataset = f"{graph.name}, {len(questions)} questions"
    missing = questions.missing or None
    tables = {
        method: answer_metrics([one.entities for one in results], questions.answers, missing=missing)
        for method, results in ((OURS, ranked), (UNTRAINED, floor))
    }
    rows = [
        ResultRow(dataset, method, metric, float(table[:, column].mean()), ours=method == OURS)
        for column, metric in enumerate(METRICS)
        for method, table in tables.items()
    ]
    rows += [
        ResultRow(dataset, REACHABLE, "hit@1", float((exact > 0).mean())),
        ResultRow(dataset, EXACT, "hit@1", float(exact.mean())),
    ]
    hits = {method: float(table[:, 0].mean()) for method, table in tables.items()}
    better = hits[OURS] > hits[UNTRAINED]
    return Evaluation(
        title=f"Questions over {graph.name}",
        summary=(
            f"{len(questions)} questions, topics given, number of hops not given.",
            f"hit@1 {hits[OURS]:.3f}, untrained {hits[UNTRAINED]:.3f}; "
            f"the best path of each question gives {exact.mean():.3f}.",
        ),
        recommendation="use the trained retriever" if better else "the training did not help: use more questions",
        rows=tuple(rows),
        sections=(_by_length(ranked, tables[OURS]), _examples(graph, questions, ranked, config.examples)),
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


def _by_length(ranked: list[Ranked], table: np.ndarray) -> ReportSection:
    length = np.array([len(one.paths[0].steps) if one.paths else 0 for one in ranked])
    rows = [
        (
            f"{hops} relations" if hops else "no topic",
            float((length == hops).sum()),
            float(table[length == hops, 0].mean()),
        )
        for hops in np.unique(length).tolist()
    ]
    return ReportSection("By the length of the chosen path", ("path", "questions", "hit@1"), tuple(rows))


def _examples(graph: KnowledgeGraph, questions: Questions, ranked: list[Ranked], count: int) -> ReportSection:
    rows: list[tuple[str, str, str, str]] = []
    for place in np.linspace(0, len(questions) - 1, min(count, len(questions))).astype(int).tolist():
        result = ranked[place]
        path = " / ".join(map(graph.step_name, result.paths[0].steps)) if result.paths else "no path"
        chance = f" ({result.paths[0].probability:.2f})" if result.paths else ""
        rows.append(
            (
                questions.texts[place],
                path + chance,
                _names(graph, result.entities),
                _names(graph, questions.answers[place]),
            )
        )
    return ReportSection("Examples", ("question", "path", "answers", "gold"), tuple(rows))


def _names(graph: KnowledgeGraph, entities: Ids | tuple[int, ...], limit: int = 3) -> str:
    shown = ", ".join(graph.column("name", [int(row) for row in entities[:limit]]))
    return f"{shown}, ..." if len(entities) > limit else shown or "none"
