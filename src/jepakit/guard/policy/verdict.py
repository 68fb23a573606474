"""The verdict of a policy over the calls of a trace.

It is monotone: a policy that permits less, more taint, and a larger scope never make a verdict milder.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, Context, Decimal

from jepakit.errors import DataError
from jepakit.guard.data import Call, Origin, Trace
from jepakit.guard.policy.grants import granted
from jepakit.guard.policy.patterns import Argument
from jepakit.guard.policy.schema import SEVERITY, Decision, Policy, Role, ToolPolicy
from jepakit.guard.policy.taint import Taint, TaintedCalls
from jepakit.guard.traces.provenance import Flow, Value
from jepakit.guard.traces.strict_json import exact_number

#: Sums are rounded up: one is never smaller than what it adds up.
_SUM = Context(prec=60, rounding=ROUND_CEILING)
#: Reasons of one call: a list of a thousand tainted recipients is told by its first ones.
_MOST_REASONS = 50


@dataclass(frozen=True)
class Reason:
    """Why a call is not simply allowed.

    Args:
        rule: id of what decides: ``defaults.unknown_tool``, or ``tools.NAME.rules.ID``.
        decision: what it decides.
        call: id of the call.
        argument: JSON pointer of the argument, or the pattern of one that is missing; None: the call as a whole.
        taint: where the value was read from, of a value that is not trusted.
        problem: in words, without values of the call.
    """

    rule: str
    decision: Decision
    call: str
    problem: str
    argument: str | None = None
    taint: tuple[Origin, ...] = ()


@dataclass(frozen=True)
class Verdict:
    """The decision over a call.

    Args:
        call: its id.
        decision: the most severe of the reasons; ``allow`` without one.
        reasons: the most severe first, at most 50.
    """

    call: str
    decision: Decision
    reasons: tuple[Reason, ...]

    @classmethod
    def of(cls, call: str, reasons: Iterable[Reason]) -> Verdict:
        """The verdict that reasons make."""
        # Of the mild ones "allow" is no reason.
        listed = sorted((one for one in reasons if one.decision != "allow"), key=lambda one: -SEVERITY[one.decision])
        return cls(call, listed[0].decision if listed else "allow", tuple(listed[:_MOST_REASONS]))


def judge(policy: Policy, trace: Trace, flow: Flow) -> tuple[Verdict, ...]:
    """The verdict over each call of a trace, as if all calls before it had been carried out.

    Args:
        policy: what is allowed.
        trace: the calls. Its role is that of the user.
        flow: of ``trace``, from `data_flow`.

    Raises:
        DataError: the flow is of another trace.
    """
    if len(flow.values) != len(trace.calls):
        problem = "the data flow is of another trace"
        raise DataError(problem, value=len(flow.values), expected=f"that of {len(trace.calls)} calls")
    taint = TaintedCalls(trace)
    spent = _Spent()
    verdicts: list[Verdict] = []
    for call, values in zip(trace.calls, flow.values, strict=True):
        tools = policy.of_tool(call.tool, call.server)
        tainted = taint.of_call(call, values)
        reasons = _reasons(policy, trace, call, values, tools, tainted, spent)
        verdicts.append(Verdict.of(call.id, reasons))
        trusted = bool(tools) and all(tool.output_trust == "trusted" for tool in tools)
        # What a tool repeats of a tainted argument is not made trusted by it.
        taint.add(call, trusted=trusted and values is not None and not any(one.tainted for one in tainted))
    return tuple(verdicts)


def strictest(*judged: Sequence[Verdict]) -> tuple[Verdict, ...]:
    """One verdict a call out of several: of the policy and of Cedar, say.

    Raises:
        DataError: they are not over the same calls.
    """
    merged: list[Verdict] = []
    if len({tuple(verdict.call for verdict in verdicts) for verdicts in judged}) > 1:
        raise DataError("verdicts over different calls")
    for verdicts in zip(*judged, strict=True):
        merged.append(Verdict.of(verdicts[0].call, [reason for verdict in verdicts for reason in verdict.reasons]))
    return tuple(merged)


def _reasons(
    policy: Policy,
    trace: Trace,
    call: Call,
    values: tuple[Value, ...] | None,
    tools: tuple[ToolPolicy, ...],
    tainted: Sequence[Taint],
    spent: _Spent,
) -> Iterator[Reason]:
    defaults = policy.defaults
    arguments = [Argument(value.pointer, value.value) for value in values or ()]
    if values is None:
        yield _default(policy, call, "missing_arguments", "it is not known what the tool is called with")
    if not tools and not policy.grants:
        yield _default(policy, call, "unknown_tool", "the policy does not name the tool")
    yield from (
        Reason(f"grants.{rule}", decision, call.id, problem)
        for rule, decision, problem in granted(policy.grants, call.tool, arguments)
    )
    role = None
    if policy.roles:
        role = None if trace.context.role is None else policy.of_role(trace.context.role)
        yield from _of_role(policy, trace.context.role, role, call, tools)
    if call.tier == "output" and (not tools or any(tool.effect != "read" for tool in tools)):
        problem = "an untrusted output made the agent call a tool that does more than read"
        yield Reason("defaults.output_driven_write", defaults.output_driven_write, call.id, problem)
    for tool in tools:
        if tool.requires_approval:
            problem = "every call needs an approval"
            yield Reason(f"tools.{tool.name}.requires_approval", "ask", call.id, problem)
        for rule in tool.rules if values is not None else ():
            for pointer in rule.broken_at(arguments):
                name = f"tools.{tool.name}.rules.{rule.id}"
                yield Reason(name, rule.otherwise, call.id, "an argument breaks the rule", pointer)
        yield from _of_sinks(policy, tool, call, arguments, tainted)
    yield from _of_limits(policy, call, arguments, tools, role, trace.context.role, spent)


def _default(policy: Policy, call: Call, field: str, problem: str) -> Reason:
    return Reason(f"defaults.{field}", getattr(policy.defaults, field), call.id, problem)


def _of_role(
    policy: Policy, name: str | None, role: Role | None, call: Call, tools: Sequence[ToolPolicy]
) -> Iterator[Reason]:
    if role is None:
        yield _default(policy, call, "unknown_role", "the user has no role of the policy")
        return
    if not any(listed.matches(call.tool, call.server) for listed in role.tools):
        yield Reason(f"roles.{name}.tools", "deny", call.id, "the role may not use the tool")
    privilege = max((tool.privilege for tool in tools), default=0)
    if role.max_privilege is not None and privilege > role.max_privilege:
        yield Reason(f"roles.{name}.max_privilege", "deny", call.id, "the tool has more privilege than the role")


def _of_sinks(
    policy: Policy, tool: ToolPolicy, call: Call, arguments: Sequence[Argument], tainted: Sequence[Taint]
) -> Iterator[Reason]:
    defaults, reads = policy.defaults, tool.effect == "read"
    field = "read_tainted_sink" if reads else "write_tainted_sink"
    for argument, one in zip(arguments, tainted, strict=True):
        below = [keys for pattern in tool.sink_patterns if (keys := pattern.below(argument)) is not None]
        if not below:
            if one.tainted and not reads:
                problem = "a value from an untrusted output stands in an argument"
                decision = defaults.write_tainted_argument
                yield Reason("defaults.write_tainted_argument", decision, call.id, problem, one.pointer, one.origins)
            continue
        if one.tainted:
            problem = "a value from an untrusted output stands where the call sends something"
            yield Reason(f"defaults.{field}", getattr(defaults, field), call.id, problem, one.pointer, one.origins)
        # A key may be the recipient as well as a value, and is not looked for in what was read.
        elif not reads and (one.unread or any(not key.isdigit() for keys in below for key in keys)):
            problem = "a value that was read nowhere stands where the call sends something"
            decision = defaults.write_unread_sink
            yield Reason("defaults.write_unread_sink", decision, call.id, problem, one.pointer)


class _Spent:
    """What the calls of a trace have used up so far, by what has limits."""

    def __init__(self) -> None:
        self._used: dict[int, tuple[int, Decimal, bool]] = {}

    def add(self, key: int, volume: Decimal | None) -> tuple[int, Decimal, bool]:
        """Counts a call: calls and volume so far, and whether all calls said their volume."""
        calls, total, known = self._used.get(key, (0, Decimal(0), True))
        self._used[key] = calls + 1, _SUM.add(total, volume or Decimal(0)), known and volume is not None
        return self._used[key]


def _of_limits(
    policy: Policy,
    call: Call,
    arguments: Sequence[Argument],
    tools: Sequence[ToolPolicy],
    role: Role | None,
    role_name: str | None,
    spent: _Spent,
) -> Iterator[Reason]:
    volume, rows = _volume(call, arguments, tools), _longest_list(arguments)
    limited: list[tuple[str, ToolPolicy | Role]] = [(f"tools.{tool.name}.limits", tool) for tool in tools]
    if role is not None:
        limited.append((f"roles.{role_name}.limits", role))
    decision = policy.defaults.limit_passed
    for name, owner in limited:
        limits = owner.limits
        calls, total, known = spent.add(id(owner), volume)
        for field, used in (("calls", calls), ("volume", volume), ("trace_volume", total), ("rows", rows)):
            limit = getattr(limits, field)
            if limit is not None and used is not None and used > Decimal(repr(limit)):
                yield Reason(f"{name}.{field}", decision, call.id, "more than the limit")
        if (volume is None and limits.volume is not None) or (not known and limits.trace_volume is not None):
            yield _default(policy, call, "unknown_volume", "the call does not say how much, and there is a limit")


def _volume(call: Call, arguments: Sequence[Argument], tools: Sequence[ToolPolicy]) -> Decimal | None:
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


def _longest_list(arguments: Sequence[Argument]) -> int:
    """Elements of the longest list in arguments."""
    longest = 0
    for one in arguments:
        for token in one.tokens:
            if token.isascii() and token.isdigit() and len(token) < 10:
                longest = max(longest, int(token) + 1)
    return longest
