"""What to use, of methods that answered the same questions."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

#: Of 95 % confidence.
_Z = 1.96


def advice(hits: Mapping[str, NDArray[np.float64]], ours: str, name: str, seconds: float | None = None) -> str:
    """What to use: ours where it surely answers more questions right than every other row, else the best of these.

    "Surely" is that the 95 % interval of the mean difference, paired by question, is above 0.

    Args:
        hits: method -> 1 where the first answer to a question is right, else 0, ``[Q]``.
        ours: the method that was trained.
        name: what a reader calls it.
        seconds: of its training; None: not known.
    """
    best = max((method for method in hits if method != ours), key=lambda method: float(hits[method].mean()))
    difference = 100 * (hits[ours] - hits[best])
    mean, count = float(difference.mean()), len(difference)
    reach = _Z * float(difference.std(ddof=1)) / math.sqrt(count) if count > 1 else math.inf
    cost = "" if seconds is None else f"; {seconds:.0f} s of training"
    shown = f"95 % interval {mean - reach:+.1f} to {mean + reach:+.1f} on {count} questions{cost}"
    if mean - reach > 0:
        return f"Use {name}: {mean:+.1f} points of right first answers over the best other row, {best} ({shown})."
    worse = "is not surely better" if mean + reach >= 0 else "is worse"
    return f"Use {best}: {name} {worse}, {mean:+.1f} points of right first answers ({shown}); train on more questions."
