"""The batches that train a path matcher."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from jepakit.core import Where
from jepakit.core.packed import offsets, owners, positions, select_groups
from jepakit.kgqa.paths.candidates import Candidates
from jepakit.kgqa.paths.objective import Paths, QuestionBatch, RetrieverViews
from jepakit.kgqa.paths.vectors import PathVectors

#: Paths that a text is contrasted with, where the questions of the batch have no more.
CONTRASTED_PATHS = 4096
#: Wordings of paths, questions' wordings, and questions of each wording, that a batch has of what is not labelled.
PATH_WORDINGS, QUESTION_WORDINGS, QUESTIONS_OF_A_WORDING = 256, 120, 6


class PathBatches:
    """``(indices, generator) -> RetrieverViews``, with as many labelled questions as there are indices.

    Args:
        texts: the questions with their topics masked: equal texts are one wording.
        vectors: of the texts, ``[Q, D]``.
        candidates: of the questions.
        paths: the vectors of paths, of the table that numbers the candidates.
        labelled: questions to train on by their answers, ``[L]`` int64.
        read: whether the teacher reads questions.
    """

    def __init__(
        self,
        texts: Sequence[str],
        vectors: Tensor,
        candidates: Candidates,
        paths: PathVectors,
        labelled: Tensor,
        *,
        read: bool,
    ) -> None:
        self.vectors, self.paths, self.labelled = vectors, paths, labelled
        self.ptr, self.path = torch.from_numpy(candidates.ptr), torch.from_numpy(candidates.path)
        self.share = torch.from_numpy(candidates.share.astype(np.float32))
        with_paths = self.ptr.diff().nonzero()[:, 0] if read else torch.empty(0, dtype=torch.long)
        wordings, wording = np.unique([texts[row] for row in with_paths.tolist()], return_inverse=True)
        order = torch.from_numpy(np.argsort(wording, kind="stable"))
        self.by_wording = with_paths[order]
        self.wording_ptr = offsets(torch.from_numpy(np.bincount(wording, minlength=len(wordings))))
        lengths = (paths(torch.arange(len(paths.table)))[1] < paths.graph.num_steps).sum(1)
        self.by_length, counts = torch.argsort(lengths, stable=True), lengths.bincount()
        self.length_counts, self.length_starts = counts[counts > 0], offsets(counts)[:-1][counts > 0]

    def __call__(self, indices: Tensor, generator: torch.Generator) -> RetrieverViews:
        groups = [self._labelled(len(indices), generator), self._unlabelled(generator)]
        chosen = self._contrasted([rows for rows, _ in groups], generator)
        column = torch.full((len(self.by_length),), -1)
        column[chosen] = torch.arange(len(chosen))
        labelled, unlabelled = (self._questions(rows, wording, column) for rows, wording in groups)
        texts, worded = self._wordings(generator)
        return RetrieverViews(
            texts,
            worded,
            Where(target_rows=torch.arange(len(texts))),
            paths=Paths(*self.paths(chosen)),
            labelled=labelled,
            unlabelled=unlabelled,
        )

    def _labelled(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Some questions with answers, each of its own wording."""
        rows = self.labelled[torch.randperm(len(self.labelled), generator=generator)[:count]]
        return rows, torch.arange(len(rows))

    def _unlabelled(self, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Some questions of some wordings, and the wording of each."""
        wordings = torch.randperm(len(self.wording_ptr) - 1, generator=generator)[:QUESTION_WORDINGS]
        places, ptr = select_groups(self.wording_ptr, wordings)
        wording = owners(ptr.diff())
        # Shuffled within each wording, so that its first are a sample.
        order = torch.randperm(len(places), generator=generator)
        order = order[torch.argsort(wording[order], stable=True)]
        first = positions(ptr.diff()) < QUESTIONS_OF_A_WORDING
        return self.by_wording[places[order]][first], wording[first]

    def _contrasted(self, questions: list[Tensor], generator: torch.Generator) -> Tensor:
        """All paths of a small table; of a large one those of the questions, and others up to `CONTRASTED_PATHS`."""
        if len(self.by_length) <= CONTRASTED_PATHS:
            return torch.arange(len(self.by_length))
        used = torch.cat([self.path[select_groups(self.ptr, rows)[0]] for rows in questions]).unique()
        more = torch.randperm(len(self.by_length), generator=generator)[: max(0, CONTRASTED_PATHS - len(used))]
        return torch.cat([used, more]).unique()

    def _questions(self, rows: Tensor, wording: Tensor, column: Tensor) -> QuestionBatch | None:
        if not len(rows):
            return None
        places, ptr = select_groups(self.ptr, rows)
        first = torch.cat([wording.new_zeros(1), wording.diff().nonzero()[:, 0] + 1])
        return QuestionBatch(self.vectors[rows[first]], wording, ptr, column[self.path[places]], self.share[places])

    def _wordings(self, generator: torch.Generator) -> tuple[Tensor, Paths]:
        """A wording of each of some paths, as many of each length; and the paths by their other wordings."""
        each = -(-PATH_WORDINGS // len(self.length_counts))
        share = torch.rand(len(self.length_counts), each, generator=generator)
        drawn = (share * self.length_counts[:, None]).long() + self.length_starts[:, None]
        rows = self.by_length[drawn.flatten().unique()]
        vectors = self.paths.of_wordings(rows)
        chosen = torch.randint(vectors.shape[1], (len(rows),), generator=generator)
        texts = vectors[torch.arange(len(rows)), chosen]
        others = vectors.sum(1) - texts if vectors.shape[1] > 1 else texts
        return texts, Paths(F.normalize(others, dim=-1), self.paths(rows)[1])
