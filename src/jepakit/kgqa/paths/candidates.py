"""The relation paths that could answer each question, with what is known of the answers."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from jepakit.kgqa.data import Ids, Questions, ranges
from jepakit.kgqa.paths.reach import PathTable, Reached, Walker

_TOPICS_AT_ONCE = 256


@dataclass(frozen=True)
class Candidates:
    """The paths from the topics of Q questions: question ``q`` owns the rows ``ptr[q]:ptr[q + 1]``.

    Args:
        ptr: ``[Q + 1]`` int64.
        path: number of each path in the `PathTable`, ``[C]`` int64.
        size: entities that it reaches, ``[C]`` int64.
        hits: answers of the question among them, ``[C]`` int64.
    """

    ptr: Ids
    path: Ids
    size: Ids
    hits: Ids

    def __len__(self) -> int:
        return len(self.ptr) - 1

    @property
    def share(self) -> NDArray[np.float64]:
        """Share of answers among the entities that each path reaches, ``[C]``."""
        return self.hits / self.size

    @cached_property
    def best_share(self) -> NDArray[np.float64]:
        """The largest share of a path of each question, ``[Q]``; 0 where no path reaches an answer."""
        best = np.zeros(len(self))
        np.maximum.at(best, np.repeat(np.arange(len(self)), np.diff(self.ptr)), self.share)
        return best


def find_candidates(walker: Walker, table: PathTable, questions: Questions, hops: int) -> Candidates:
    """All paths of at most ``hops`` relations from the topics of each question. New paths are added to ``table``.

    A question with several topics has the paths of each; one without topics has none.
    """
    owner = np.repeat(np.arange(len(questions)), [len(topics) for topics in questions.topics])
    topic = np.array([row for topics in questions.topics for row in topics], np.int64)
    answer_owner = np.repeat(np.arange(len(questions)), [len(answers) for answers in questions.answers])
    answers = np.array([row for listed in questions.answers for row in listed], np.int64)
    answer_ptr = np.searchsorted(answer_owner, np.arange(len(questions) + 1))
    different, place = np.unique(topic, return_inverse=True)
    parts: list[tuple[Ids, ...]] = []
    for start in range(0, len(different), _TOPICS_AT_ONCE):
        inside = np.flatnonzero((place >= start) & (place < start + _TOPICS_AT_ONCE))
        for level in walker.paths(different[start : start + _TOPICS_AT_ONCE], hops, table):
            parts.append(_of_level(level, owner[inside], place[inside] - start, answers, answer_ptr))
    columns = [np.concatenate(column) if parts else np.empty(0, np.int64) for column in zip(*parts, strict=True)]
    question, path, size, hits = columns if parts else [np.empty(0, np.int64)] * 4
    order = np.argsort(question, kind="stable")
    ptr = np.searchsorted(question[order], np.arange(len(questions) + 1))
    return Candidates(ptr, path[order], size[order], hits[order])


def _of_level(level: Reached, question: Ids, place: Ids, answers: Ids, answer_ptr: Ids) -> tuple[Ids, Ids, Ids, Ids]:
    """Question, path, size and hits of each pair of a question and a path of its topic."""
    # The paths of a topic stand together in a level.
    first = np.searchsorted(level.topic, place)
    count = np.searchsorted(level.topic, place, "right") - first
    row = ranges(first, count)
    owner = np.repeat(question, count)
    # Whether an answer is in a set: the sets are sorted, so all of them together are, as keys of row and entity.
    width = level.num_entities
    keys = np.repeat(np.arange(len(level.path)), level.size) * width + level.sets.indices
    listed = answer_ptr[owner + 1] - answer_ptr[owner]
    wanted = np.repeat(row, listed) * width + answers[ranges(answer_ptr[owner], listed)]
    at = np.searchsorted(keys, wanted)
    hit = keys[np.minimum(at, len(keys) - 1)] == wanted if len(keys) else np.zeros(len(wanted), bool)
    hits = np.bincount(np.repeat(np.arange(len(row)), listed)[hit], minlength=len(row))
    return owner, level.path[row], level.size[row], hits
