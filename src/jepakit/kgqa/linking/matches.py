"""A match of a part of a question with an entity, and what matches are good for: masking and recall."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from jepakit.errors import DataError
from jepakit.kgqa.data import KnowledgeGraph, Questions
from jepakit.kgqa.paths.wordings import TOPIC

Method = Literal["exact", "normalised", "fuzzy", "embedding"]
METHODS: tuple[Method, ...] = ("exact", "normalised", "fuzzy", "embedding")
"""The methods, most trusted first."""

LINKED_TOPICS = 3
"""Matches of a question that are tried as its topics."""


@dataclass(frozen=True)
class Match:
    """A part of a question that names an entity.

    Args:
        entity: its row in the graph.
        method: the most trusted method that finds it.
        score: 1 for exact and normalised matches; the similarity of the two normalised texts (fuzzy), or the cosine
            of their vectors (embedding), from 0 to 1.
        start: the first character of the part.
        end: the character after its last.
    """

    entity: int
    method: Method
    score: float
    start: int
    end: int

    @property
    def span(self) -> tuple[int, int]:
        """The part of the question, ``question[start:end]``."""
        return self.start, self.end


def mask_topic(question: str, span: tuple[int, int]) -> str:
    """The question with the part ``question[start:end]`` replaced by `jepakit.kgqa.paths.wordings.TOPIC`.

    Raises:
        DataError: there is no such part.
    """
    start, end = span
    if not 0 <= start < end <= len(question):
        raise DataError("no such part of the question", field="span", value=span, expected=f"in 0..{len(question)}")
    return question[:start] + TOPIC + question[end:]


def mask_topics(graph: KnowledgeGraph, questions: Questions) -> list[str]:
    """The questions with the names of their topics replaced by `jepakit.kgqa.paths.wordings.TOPIC`.

    A name is looked for in either case; an underscore in it matches a space. A question that does not contain it stays.
    """
    different = sorted({topic for listed in questions.topics for topic in listed})
    name = dict(zip(different, graph.column("name", different), strict=True))
    texts: list[str] = []
    for text, topics in zip(questions.texts, questions.topics, strict=True):
        masked = text
        for topic in sorted(topics, key=lambda row: -len(name[row])):
            pattern = re.escape(name[topic]).replace("_", "[_ ]").replace(r"\ ", "[_ ]")
            if name[topic] and (found := re.search(pattern, masked, re.IGNORECASE)):
                masked = mask_topic(masked, found.span())
        texts.append(masked)
    return texts


def mask_matches(question: str, matches: Sequence[Match], most: int = LINKED_TOPICS) -> str:
    """The question with the parts of its first ``most`` matches replaced as in `mask_topic`.

    Of parts that overlap the longest is replaced. How a part is spelt does not matter, other than for `mask_topics`.
    """
    spans: list[tuple[int, int]] = []
    for start, end in sorted({match.span for match in matches[:most]}, key=lambda span: (span[0] - span[1], span)):
        if all(end <= other or start >= stop for other, stop in spans):
            spans.append((start, end))
    for span in sorted(spans, reverse=True):
        question = mask_topic(question, span)
    return question


def best_entities(matches: Sequence[Match], most: int = LINKED_TOPICS) -> tuple[int, ...]:
    """The different entities of the first ``most`` matches of a question, best first: its topics, as far as known."""
    return tuple(dict.fromkeys(match.entity for match in matches[:most]))


def linking_recall(
    matches: Sequence[Sequence[Match]], questions: Questions, ranks: Sequence[int] = (1, 5)
) -> dict[Method, dict[int, float]]:
    """Recall of the topics: the fraction of topics that are among the first matches of their question.

    Args:
        matches: of each question, best first.
        questions: with their topics; questions without a topic do not count.
        ranks: how many matches count.

    Returns:
        For each method the recall at each rank when that method and those trusted more are used; the last is the recall
        of all. NaN where no question has a topic.

    Raises:
        DataError: ``matches`` are not those of these questions.
    """
    if len(matches) != len(questions):
        raise DataError("not one for each question", field="matches", value=len(matches), expected=str(len(questions)))
    total = sum(map(len, questions.topics))
    recalls: dict[Method, dict[int, float]] = {}
    for last, method in enumerate(METHODS):
        trusted = METHODS[: last + 1]
        ranked = [[match.entity for match in found if match.method in trusted] for found in matches]
        recalls[method] = {
            rank: sum(len({*topics} & {*found[:rank]}) for topics, found in zip(questions.topics, ranked, strict=True))
            / (total or float("nan"))
            for rank in ranks
        }
    return recalls
