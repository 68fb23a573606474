"""Tables of a report: how well topics are linked, and which questions fail."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from jepakit.kgqa.data import KnowledgeGraph, Questions
from jepakit.kgqa.linking.matches import Match, linking_recall
from jepakit.kgqa.retriever import Ranked
from jepakit.training.results import Cell, ReportSection

Hits = NDArray[np.float64]
KeyT = TypeVar("KeyT", int, str)

#: Relations in a table; the others are one row.
_RELATIONS = 20


class BestPath(NamedTuple):
    """The relation path whose set has the largest share of answers of a question.

    Args:
        steps: of the path; none where no path reaches an answer.
        share: answers among the entities that it reaches, as a fraction.
    """

    steps: tuple[int, ...]
    share: float


def linking_section(matches: Sequence[Sequence[Match]], questions: Questions) -> ReportSection:
    """The recall of the topics of the questions by the matches of each."""
    recalls = linking_recall(matches, questions)
    trusted = {method: recall for method, recall in recalls.items() if method != "embedding"}
    return ReportSection(
        "Entity linking",
        ("matches up to", *(f"recall@{rank}" for rank in next(iter(recalls.values())))),
        tuple((method, *recall.values()) for method, recall in trusted.items()),
        text="Share of the questions' topics that are among the first matches. Each row adds a method to those above.",
    )


def found_by_section(methods: Mapping[str, tuple[Sequence[Ranked], Hits]]) -> ReportSection:
    """How many questions have a topic and are answered by paths, how many have none and are answered by text.

    ``methods``: where topics come from -> the answers, and which are right.
    """
    rows: list[tuple[Cell, ...]] = []
    for topics, (ranked, hits) in methods.items():
        text = np.array([one.found_by == "text" for one in ranked])
        for name, some in (("paths", ~text), ("text", text)):
            right = float(hits[some].mean()) if some.any() else None
            rows.append((topics, name, float(some.sum()), float(some.mean()), right))
    columns = ("topics", "found by", "questions", "share", "hit@1")
    text = "A question without a topic entity has no relation path: its answers are found by their texts."
    return ReportSection("Questions with and without a topic", columns, tuple(rows), text)


def abstention_section(ranked: Sequence[Ranked], hits: Hits) -> ReportSection:
    """How many questions are answered, how many are not, and how many of each would be right."""
    withheld = np.array([one.abstained for one in ranked])
    rows = [
        (name, float(some.sum()), float(hits[some].mean()) if some.any() else None)
        for name, some in (("answered", ~withheld), ("\u201cnot in this graph\u201d", withheld))
    ]
    text = "A question of low confidence is not answered. The scores above count the best entity all the same."
    return ReportSection("Answers given and withheld", ("", "questions", "best entity right"), tuple(rows), text)


def by_hops(best: Sequence[BestPath], ranked: Sequence[Ranked], ours: Hits, untrained: Hits) -> ReportSection:
    """hit@1 by the number of relations of the best path."""
    hops = [len(one.steps) for one in best]
    chosen = [len(one.paths[0].steps) if one.paths else 0 for one in ranked]
    same = np.equal(hops, chosen).astype(np.float64)
    share = np.array([one.share for one in best])
    rows = [
        (
            f"{length} {'relation' if length == 1 else 'relations'}" if length else "no path to an answer",
            float(len(members)),
            *(float(column[members].mean()) for column in (ours, untrained, share)),
            float(same[members].mean()) if length else None,
        )
        for length, members in _groups(hops)
    ]
    columns = ("best path", "questions", "hit@1", "untrained", "ceiling", "chosen path as long")
    text = (
        "Questions by the length of their best path: the one whose entities have the largest share of answers. The"
        " ceiling is that share."
    )
    return ReportSection("Where it fails: by hops", columns, tuple(rows), text)


def by_relation(graph: KnowledgeGraph, best: Sequence[BestPath], ours: Hits) -> ReportSection:
    """hit@1 by the last relation of the best path, those with most failures first."""
    last = [graph.step_name(one.steps[-1]) if one.steps else "no path to an answer" for one in best]
    share = np.array([one.share for one in best])
    groups = _groups(last)
    groups.sort(key=lambda group: -float((1 - ours[group[1]]).sum()))
    if len(groups) > _RELATIONS:
        rest = np.concatenate([members for _, members in groups[_RELATIONS:]])
        groups[_RELATIONS:] = [(f"{len(groups) - _RELATIONS} others", rest)]
    rows = [
        (
            name,
            float(len(members)),
            float((1 - ours[members]).sum()),
            *(float(column[members].mean()) for column in (ours, share)),
        )
        for name, members in groups
    ]
    columns = ("last relation of the best path", "questions", "not right", "hit@1", "ceiling")
    return ReportSection("Where it fails: by relation", columns, tuple(rows))


def _groups(keys: Sequence[KeyT]) -> list[tuple[KeyT, NDArray[np.int64]]]:
    """The different keys, ascending, each with the places where it stands."""
    members: dict[KeyT, list[int]] = {}
    for place, key in enumerate(keys):
        members.setdefault(key, []).append(place)
    return [(key, np.array(members[key])) for key in sorted(members)]
