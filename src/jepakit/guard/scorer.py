"""Learned scores of calls, as the auditor takes them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from jepakit.guard.data import Trace
from jepakit.guard.traces.provenance import Flow


@dataclass(frozen=True)
class CallScore:
    """What a model says about one call.

    Args:
        jepa: 1 - cos of the predicted and the actual embedding of the call, in [0, 2].
        risk: probability that the call serves an attack, in [0, 1].
    """

    jepa: float
    risk: float


class Scorer(Protocol):
    """A model that scores the calls of a trace."""

    def scores(self, trace: Trace, flow: Flow) -> Sequence[CallScore]:
        """The score of each call; one does not depend on later calls."""
        ...
