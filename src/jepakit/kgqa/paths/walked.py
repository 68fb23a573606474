"""The relation paths from the topics of some questions, with the set that each reaches: walked once, scored often."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, vstack

from jepakit.kgqa.data import Ids, Questions, ranges
from jepakit.kgqa.paths.reach import PathTable, Preference, Walker


@dataclass(frozen=True, eq=False)
class WalkedPaths:
    """The paths of Q questions, C in all: question ``q`` owns the rows ``ptr[q]:ptr[q + 1]``, shorter paths first.

    Where the beam of the walker had no room for all, some paths were not followed: they exist, and count as reaching
    nothing. Paths that extend them are missing.

    Args:
        questions: Q questions.
        ptr: ``[Q + 1]`` int64.
        topic: row of the entity that each path starts from, ``[C]`` int64.
        path: its number in the `PathTable`, ``[C]`` int64.
        sets: the entities that each reaches, ``[C, N]`` bool; none where it was not followed.
    """

    questions: Questions
    ptr: Ids
    topic: Ids
    path: Ids
    sets: csr_array

    @classmethod
    def of(
        cls, walker: Walker, table: PathTable, questions: Questions, hops: int, prefer: Preference | None = None
    ) -> WalkedPaths:
        """The paths of at most ``hops`` relations from the topics of each question. New paths are added to ``table``.

        A question with several topics has the paths of each; one without topics has none.

        Args:
            walker: follows the paths.
            table: numbers them.
            questions: Q questions.
            hops: relations of the longest path.
            prefer: which paths of a question are followed where the walker's beam has no room for all: called with the
                question and the number of each path. None: those of the fewest triples.
        """
        owner = np.repeat(np.arange(len(questions)), [len(topics) for topics in questions.topics])
        topics = np.array([row for listed in questions.topics for row in listed], np.int64)
        if prefer is None:
            different, place = np.unique(topics, return_inverse=True)
            levels = walker.paths(different, hops, table)
        else:
            # Questions prefer different paths, so each walks alone.
            different, place = topics, np.arange(len(topics))
            levels = walker.paths(topics, hops, table, lambda start, path: prefer(owner[start], path))
        start, path = (np.concatenate([getattr(level, name) for level in levels]) for name in ("topic", "path"))
        by_topic = np.argsort(start, kind="stable")
        first = np.searchsorted(start[by_topic], np.arange(len(different) + 1))
        counts = np.diff(first)[place]
        rows, question = by_topic[ranges(first[place], counts)], np.repeat(owner, counts)
        # Rows are numbered level by level: this order has shorter paths first.
        order = np.lexsort((rows, question))
        rows, question = rows[order], question[order]
        sets = csr_array(vstack([level.sets for level in levels], format="csr"))[rows]
        ptr = np.searchsorted(question, np.arange(len(questions) + 1))
        return cls(questions, ptr, different[start[rows]], path[rows], sets)

    @cached_property
    def question(self) -> Ids:
        """The question of each path, ``[C]``."""
        return np.repeat(np.arange(len(self.questions)), np.diff(self.ptr))

    @cached_property
    def size(self) -> Ids:
        """Number of entities that each path reaches, ``[C]``; 0 where it was not followed."""
        return np.diff(self.sets.indptr).astype(np.int64)

    @cached_property
    def hits(self) -> Ids:
        """Answers among the entities that each path reaches, ``[C]``."""
        answers = [row for listed in self.questions.answers for row in listed]
        ends = np.cumsum([0, *(len(listed) for listed in self.questions.answers)])
        sets: Any = self.sets
        shape = len(self.questions), sets.shape[1]
        gold: Any = csr_array((np.ones(len(answers), bool), np.array(answers, np.int64), ends), shape=shape)
        common: Any = sets.multiply(gold[self.question])
        return np.asarray(common.sum(1)).ravel().astype(np.int64)

    @cached_property
    def share(self) -> NDArray[np.float64]:
        """Share of answers among the entities that each path reaches, ``[C]``."""
        return self.hits / np.maximum(self.size, 1)

    @property
    def complete(self) -> bool:
        """Whether all paths were followed."""
        return bool(self.size.all())

    def best(self) -> tuple[Ids, NDArray[np.float64]]:
        """The path of the largest share of each question, the shortest of equals, and its share; ``[Q], [Q]``.

        The path is a row of ``[C]``, and -1 with a share of 0 where no path reaches an answer.
        """
        order = np.lexsort((np.arange(len(self.path)), -self.share, self.question))
        owned = np.flatnonzero(np.diff(self.ptr))
        row, share = np.full(len(self.questions), -1), np.zeros(len(self.questions))
        row[owned] = order[self.ptr[owned]]
        share[owned] = self.share[row[owned]]
        return np.where(share > 0, row, -1), share
