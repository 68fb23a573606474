"""What the energies of a call are computed from: its values, their taint, and the worst that the policy says of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from jepakit.guard.data import Context
from jepakit.guard.policy.running import SeenCall
from jepakit.guard.policy.schema import Effect
from jepakit.guard.policy.taint import Taint
from jepakit.guard.traces.provenance import Value

HIGHEST_PRIVILEGE = 5
"""Of `ToolPolicy.privilege`."""

EGRESS: Mapping[Effect, float] = {"read": 0.25, "write": 0.5, "external": 1.0, "execute": 1.0}
"""How far what a call is given goes, by its effect: 1 leaves the user's own data."""

_ORDER: tuple[Effect, ...] = tuple(EGRESS)


@dataclass(frozen=True)
class CallFacts:
    """A call, and what is known when it is made.

    Args:
        context: of its trace.
        seen: the call.
    """

    context: Context
    seen: SeenCall

    @cached_property
    def effect(self) -> Effect:
        """The worst of what the policy says; ``execute`` for a tool that it does not name."""
        effects: list[Effect] = [tool.effect for tool in self.seen.tools]
        return max(effects, key=_ORDER.index) if effects else "execute"

    @property
    def egress(self) -> float:
        """`EGRESS` of the effect."""
        return EGRESS[self.effect]

    @cached_property
    def weight(self) -> float:
        """Privilege in shares of the highest, in [0, 1]; 1 for a tool that the policy does not name."""
        return max((tool.privilege for tool in self.seen.tools), default=HIGHEST_PRIVILEGE) / HIGHEST_PRIVILEGE

    @cached_property
    def values(self) -> tuple[tuple[Value, Taint, bool], ...]:
        """The values of the arguments, their taint, and whether each stands in a sink."""
        seen = self.seen
        return tuple(zip(seen.values or (), seen.taints, seen.sinks, strict=True))
