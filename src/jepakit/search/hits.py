"""What a search returns: for each query the best rows and their scores."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Hits"]


@dataclass(frozen=True)
class Hits:
    """The best rows for each query, best first; of equal scores the lower row comes first.

    Which of several equally good ones are the last to be found is open.

    Args:
        rows: ``[Q, k]`` int64, -1 where fewer than ``k`` were found.
        scores: ``[Q, k]`` float32, -inf where nothing was found.
    """

    rows: Tensor
    scores: Tensor

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def found(self) -> Tensor:
        """``[Q, k]`` bool: where there is a hit."""
        return self.rows >= 0

    def first(self, k: int) -> Hits:
        """The best ``k`` of them, or as many as there are."""
        return Hits(self.rows[:, :k], self.scores[:, :k])

    @classmethod
    def ranked(cls, rows: Tensor, scores: Tensor, k: int) -> Hits:
        """The best ``k`` of candidates ``[Q, L]`` in any order; those with a score of -inf are none.

        Where there are fewer than ``k`` candidates the rest is filled up.
        """
        rows, scores = rows.long(), scores.float()
        by_row = rows.argsort(dim=1)
        rows, scores = rows.gather(1, by_row), scores.gather(1, by_row)
        scores, order = scores.sort(dim=1, descending=True, stable=True)
        scores, rows = scores[:, :k], rows.gather(1, order)[:, :k].masked_fill(scores[:, :k].isneginf(), -1)
        short = k - rows.shape[1]
        if short > 0:
            rows = torch.nn.functional.pad(rows, (0, short), value=-1)
            scores = torch.nn.functional.pad(scores, (0, short), value=-torch.inf)
        return cls(rows, scores)

    @classmethod
    def best(cls, scores: Tensor, k: int) -> Hits:
        """The best ``k`` rows by their scores ``[Q, N]``; those with a score of -inf are none."""
        top, rows = scores.topk(min(k, scores.shape[1]), dim=1)
        return cls.ranked(rows, top, k)
