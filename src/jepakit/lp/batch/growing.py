"""An array to which rows are added."""

from __future__ import annotations

import numpy as np

from jepakit.lp.data import Array

_FIRST_ROWS = 16


class Growing:
    """Rows of numbers, with room for more.

    Args:
        length: of each row.
    """

    def __init__(self, length: int) -> None:
        self._rows, self._count = np.empty((_FIRST_ROWS, length)), 0

    def add(self, rows: Array) -> None:
        """Adds rows ``[K, length]``."""
        end = self._count + len(rows)
        if end > len(self._rows):
            larger = np.empty((2 * end, self._rows.shape[1]))
            larger[: self._count] = self.rows
            self._rows = larger
        self._rows[self._count : end] = rows
        self._count = end

    @property
    def rows(self) -> Array:
        """All that were added."""
        return self._rows[: self._count]
