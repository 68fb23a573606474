"""The relation paths that could answer each question, with what is known of the answers."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from jepakit.kgqa.data import Ids, Questions
from jepakit.kgqa.paths.reach import PathTable, Walker
from jepakit.kgqa.paths.walked import WalkedPaths
from jepakit.progress import phase

_QUESTIONS_AT_ONCE = 256


@dataclass(frozen=True)
class Candidates:
    """The paths from the topics of Q questions: question ``q`` owns the rows ``ptr[q]:ptr[q + 1]``.

    Args:
        ptr: ``[Q + 1]`` int64.
        path: number of each path in the `PathTable`, ``[C]`` int64.
        size: entities that it reaches, ``[C]`` int64; 0 where the beam of the walker left it out.
        hits: answers of the question among them, ``[C]`` int64.
    """

    ptr: Ids
    path: Ids
    size: Ids
    hits: Ids

    def __len__(self) -> int:
        return len(self.ptr) - 1

    @cached_property
    def question(self) -> Ids:
        """The question of each path, ``[C]``."""
        return np.repeat(np.arange(len(self)), np.diff(self.ptr))

    @property
    def share(self) -> NDArray[np.float64]:
        """Share of answers among the entities that each path reaches, ``[C]``; 0 where it was not followed."""
        return self.hits / np.maximum(self.size, 1)

    @cached_property
    def best_share(self) -> NDArray[np.float64]:
        """The largest share of a path of each question, ``[Q]``; 0 where no path reaches an answer."""
        best = np.zeros(len(self))
        np.maximum.at(best, self.question, self.share)
        return best


def find_candidates(walker: Walker, table: PathTable, questions: Questions, hops: int) -> Candidates:
    """The paths of at most ``hops`` relations from the topics of each question. New paths are added to ``table``.

    A question with several topics has the paths of each; one without topics has none. Where the beam of the walker has
    no room for all paths from a topic, those of the fewest triples are followed. The others count as reaching no
    answer, and those that extend them are no candidates.
    """
    # Questions with the same topics are walked together, so most topics are walked once.
    order = np.array(sorted(range(len(questions)), key=questions.topics.__getitem__), np.int64)
    columns: tuple[list[Ids], ...] = ([], [], [], [])
    at_once = walker.at_once(_QUESTIONS_AT_ONCE)
    with phase("walking paths", len(order), unit="questions") as walking:
        for start in range(0, len(order), at_once):
            rows = order[start : start + at_once]
            walked = WalkedPaths.of(walker, table, questions[rows], hops)
            parts = (rows[walked.question], walked.path, walked.size, walked.hits)
            for column, part in zip(columns, parts, strict=True):
                column.append(part)
            walking.advance(len(rows))
    question, path, size, hits = (np.concatenate([np.empty(0, np.int64), *column]) for column in columns)
    by_question = np.argsort(question, kind="stable")
    ptr = np.searchsorted(question[by_question], np.arange(len(questions) + 1))
    return Candidates(ptr, path[by_question], size[by_question], hits[by_question])
