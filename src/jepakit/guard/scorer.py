"""Learned scores of calls, as the auditor takes them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from jepakit.guard.data import Trace
from jepakit.guard.policy import Policy
from jepakit.guard.traces.provenance import Flow


@dataclass(frozen=True)
class CallScore:
    """What a model says about one call.

    Args:
        jepa: 1 - cos of the predicted and the actual embedding of the call, in [0, 2].
        risk: probability that the call serves an attack, in [0, 1].
        why: what raises the risk, in words, without values of the call; and what was not judged.
    """

    jepa: float
    risk: float
    why: tuple[str, ...] = ()


class Scorer(Protocol):
    """A model that scores the calls of a trace."""

    def scores(self, trace: Trace, flow: Flow, policy: Policy) -> Sequence[CallScore]:
        """The score of each call under a policy; one does not depend on later calls."""
        ...
