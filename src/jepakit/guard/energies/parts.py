"""Energies of a call, and the parts that they are the sums of."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Literal

EnergyName = Literal["hierarchy", "provenance", "scope", "flow", "jepa"]
"""The energies of a call."""


SCOPE_NATS = 10.0
"""An excess that weighs as much as a tainted sink of a call of the highest privilege: e^10, 22,000 times too much."""


@dataclass(frozen=True)
class Part:
    """A summand of an energy.

    Args:
        energy: which.
        value: in [0, inf).
        argument: JSON pointer of the argument that it is about; None: the call as a whole.
        why: in words, without values of the call.
        sources: ids of the calls whose outputs are the cause.
    """

    energy: EnergyName
    value: float
    why: str
    argument: str | None = None
    sources: tuple[str, ...] = ()


@dataclass(frozen=True)
class CallEnergies:
    """The energies of a call, each in [0, inf); 0: nothing speaks against it.

    Args:
        call: its id.
        hierarchy: untrusted text made the agent call the tool; in shares of the highest privilege.
        provenance: values of untrusted texts in its arguments; in values, weighted by place and privilege.
        scope: how much more it does than the task says; in nats.
        flow: private data that goes out, and impossible edges; in edges.
        jepa: 1 - cos of the predicted and the actual embedding; 0 without a model.
        parts: that the energies are sums of, the largest first.
    """

    call: str
    hierarchy: float
    provenance: float
    scope: float
    flow: float
    jepa: float
    parts: tuple[Part, ...]

    @classmethod
    def of(cls, call: str, parts: Iterable[Part]) -> CallEnergies:
        """The energies that parts add up to."""
        listed = sorted((part for part in parts if part.value > 0), key=lambda part: -part.value)
        sums: dict[EnergyName, float] = dict.fromkeys(("hierarchy", "provenance", "scope", "flow", "jepa"), 0.0)
        for part in listed:
            sums[part.energy] += part.value
        return cls(call, **sums, parts=tuple(listed))

    @property
    def policy(self) -> float:
        """The sum of those that no model takes part in; `SCOPE_NATS` of scope count as much as one of the others."""
        return self.hierarchy + self.provenance + self.scope / SCOPE_NATS + self.flow

    @property
    def total(self) -> float:
        """`policy` and ``jepa``."""
        return self.policy + self.jepa

    def as_json(self) -> dict[str, Any]:
        """The fields, and ``total``."""
        return {**asdict(self), "total": self.total}
