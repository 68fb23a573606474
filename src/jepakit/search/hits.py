"""The result of a search: for each query the best rows and their scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from jepakit.errors import DataError


@dataclass(frozen=True)
class Hits:
    """The best rows for each query, best first; of equal scores the lower row comes first.

    Which of several rows with equal scores fill the last places is unspecified.

    Args:
        rows: ``[Q, k]`` int64, padded with -1 where a query has fewer than ``k`` hits.
        scores: ``[Q, k]`` float32, padded with -inf.
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
        """The first ``k`` hits of each query, or all where there are fewer."""
        return Hits(self.rows[:, :k], self.scores[:, :k])

    @classmethod
    def ranked(cls, rows: Tensor, scores: Tensor, k: int) -> Hits:
        """The best ``k`` of candidates ``[Q, L]`` in any order, padded to ``k``; a score of -inf is no candidate."""
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
        """The best ``k`` rows by their scores ``[Q, N]``; a row with a score of -inf is no candidate."""
        top, rows = scores.topk(min(k, scores.shape[1]), dim=1)
        return cls.ranked(rows, top, k)


def existing_rows(rows: Tensor | np.ndarray | Sequence[int], alive: np.ndarray) -> np.ndarray:
    """The numbers of rows, ``[n]`` int64.

    Args:
        rows: the numbers.
        alive: ``[N]`` bool, the rows that are not deleted.

    Raises:
        DataError: there is no such row, or it is deleted.
    """
    numbers = np.asarray(rows).astype(np.int64).reshape(-1)
    sound = (numbers >= 0) & (numbers < len(alive))
    sound[sound] = alive[numbers[sound]]
    if not sound.all():
        expected = f"rows from 0 to {len(alive) - 1} that are not deleted"
        raise DataError("no such row", field="rows", value=int(numbers[~sound][0]), expected=expected)
    return numbers
