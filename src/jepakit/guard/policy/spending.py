"""How much the calls of a trace use of what has limits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, Context, Decimal

from jepakit.guard.data import Call
from jepakit.guard.policy.patterns import Argument
from jepakit.guard.policy.schema import Limits, Role, ToolPolicy
from jepakit.guard.traces.strict_json import exact_number

#: Sums are rounded up: one is never smaller than what it adds up.
_SUM = Context(prec=60, rounding=ROUND_CEILING)
_ZERO = Decimal(0)


@dataclass(frozen=True)
class Use:
    """What a call uses of the limits of a tool or of a role.

    Args:
        owner: of the limits.
        name: where they stand in the policy.
        calls: in the trace so far, with this one.
        volume: of the call; None: it does not say.
        trace_volume: of all calls so far.
        known: all calls so far said their volume.
        rows: elements of the longest list in the arguments.
    """

    owner: ToolPolicy | Role
    name: str
    calls: int
    volume: Decimal | None
    trace_volume: Decimal
    known: bool
    rows: int

    @property
    def limits(self) -> Limits:
        """The limits."""
        return self.owner.limits


class Spent:
    """What the calls of a trace have used up so far."""

    def __init__(self) -> None:
        self._used: dict[int, Use] = {}

    def copy(self) -> Spent:
        """Another one that goes on by itself."""
        other = Spent()
        other._used = dict(self._used)
        return other

    def uses(
        self, call: Call, arguments: Sequence[Argument], tools: Sequence[ToolPolicy], role: tuple[str, Role] | None
    ) -> tuple[Use, ...]:
        """What a call uses: of each entry of the policy that names its tool, and of the role."""
        volume, rows = volume_of(call, arguments, tools), longest_list(arguments)
        limited: list[tuple[str, ToolPolicy | Role]] = [(f"tools.{tool.name}.limits", tool) for tool in tools]
        if role is not None:
            limited.append((f"roles.{role[0]}.limits", role[1]))
        uses: list[Use] = []
        for name, owner in limited:
            before = self._used.get(id(owner))
            calls = 1 if before is None else before.calls + 1
            total = _SUM.add(_ZERO if before is None else before.trace_volume, volume or _ZERO)
            known = volume is not None and (before is None or before.known)
            uses.append(Use(owner, name, calls, volume, total, known, rows))
        return tuple(uses)

    def add(self, uses: Sequence[Use]) -> None:
        """The call is made."""
        self._used.update({id(use.owner): use for use in uses})


def volume_of(call: Call, arguments: Sequence[Argument], tools: Sequence[ToolPolicy]) -> Decimal | None:
    """How much a call says it reads or changes: the larger of its own word and its arguments; None: it does not say."""
    said = [] if call.volume is None else [Decimal(repr(call.volume))]
    for tool in tools:
        total: Decimal | None = None
        for one in arguments:
            if one.is_given and any(pattern.matches(one) for pattern in tool.volume_patterns):
                number = exact_number(one.value)
                if number is None:
                    # A text that is no number is one to some servers.
                    return None
                total = _SUM.add(total or Decimal(0), number.copy_abs())
        if total is not None:
            said.append(total)
    return max(said, default=None)


def longest_list(arguments: Sequence[Argument]) -> int:
    """Elements of the longest list in arguments."""
    longest = 0
    for one in arguments:
        for token in one.tokens:
            if token.isascii() and token.isdigit() and len(token) < 10:
                longest = max(longest, int(token) + 1)
    return longest
