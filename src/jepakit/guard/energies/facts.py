"""What the energies of a call are computed from: its values, their taint, and the worst that the policy says of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from jepakit.guard.data import Call, Trace
from jepakit.guard.policy.patterns import Argument
from jepakit.guard.policy.schema import Effect, ToolPolicy
from jepakit.guard.policy.spending import Use
from jepakit.guard.policy.taint import Taint, TaintedCall
from jepakit.guard.traces.provenance import Value

HIGHEST_PRIVILEGE = 5
"""Of `ToolPolicy.privilege`."""

EGRESS: Mapping[Effect, float] = {"read": 0.25, "write": 0.5, "external": 1.0, "execute": 1.0}
"""How far what a call is given goes, by its effect: 1 leaves the user's own data."""


@dataclass(frozen=True)
class CallFacts:
    """A call, and what is known when it is made.

    Args:
        trace: that it belongs to.
        place: of the call in it.
        one: the call, its values and their taint.
        untrusted: the earlier calls whose outputs others can write, by id.
        uses: what it uses of the limits of the policy.
    """

    trace: Trace
    place: int
    one: TaintedCall
    untrusted: Mapping[str, Call]
    uses: Sequence[Use]

    @property
    def call(self) -> Call:
        """The call."""
        return self.one.call

    @property
    def tools(self) -> tuple[ToolPolicy, ...]:
        """All that the policy says about the tool."""
        return self.one.tools

    @cached_property
    def effect(self) -> Effect:
        """The worst of what the policy says; ``execute`` for a tool that it does not name."""
        return max((tool.effect for tool in self.tools), key=list(EGRESS).index, default="execute")

    @property
    def egress(self) -> float:
        """`EGRESS` of the effect."""
        return EGRESS[self.effect]

    @cached_property
    def weight(self) -> float:
        """Privilege in shares of the highest, in [0, 1]; 1 for a tool that the policy does not name."""
        return max((tool.privilege for tool in self.tools), default=HIGHEST_PRIVILEGE) / HIGHEST_PRIVILEGE

    @cached_property
    def values(self) -> tuple[tuple[Value, Taint, bool], ...]:
        """The values of the arguments, their taint, and whether each stands in a sink."""
        pairs = zip(self.one.values or (), self.one.taints, strict=True)
        return tuple((value, taint, self._is_sink(value)) for value, taint in pairs)

    def _is_sink(self, value: Value) -> bool:
        argument = Argument(value.pointer, value.value)
        patterns = [pattern for tool in self.tools for pattern in tool.sink_patterns]
        return not self.tools or any(pattern.matches(argument) for pattern in patterns)
