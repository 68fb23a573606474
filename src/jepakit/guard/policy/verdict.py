"""The verdict of a policy over the calls of a trace.

It is monotone: a policy that permits less, more taint, and a larger scope never make a verdict milder.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal

from jepakit.errors import DataError
from jepakit.guard.data import Call, Origin, Trace
from jepakit.guard.policy.grants import granted
from jepakit.guard.policy.patterns import Argument
from jepakit.guard.policy.running import SeenCall, seen_calls
from jepakit.guard.policy.schema import SEVERITY, Decision, Policy, ToolPolicy
from jepakit.guard.policy.spending import Use
from jepakit.guard.policy.taint import Taint
from jepakit.guard.traces.provenance import Flow

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
    return tuple(verdict_of(policy, seen) for seen in seen_calls(policy, trace, flow))


def verdict_of(policy: Policy, seen: SeenCall) -> Verdict:
    """The verdict over a call that a run has come to."""
    return Verdict.of(seen.call.id, _reasons(policy, seen))


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


def _reasons(policy: Policy, seen: SeenCall) -> Iterator[Reason]:
    call, tools = seen.call, seen.tools
    if seen.values is None:
        yield _default(policy, call, "missing_arguments", "it is not known what the tool is called with")
    if not tools and not policy.grants:
        yield _default(policy, call, "unknown_tool", "the policy does not name the tool")
    yield from (
        Reason(f"grants.{rule}", decision, call.id, problem)
        for rule, decision, problem in granted(policy.grants, call.tool, seen.arguments)
    )
    if policy.roles:
        yield from _of_role(policy, seen)
    if call.tier == "output" and (not tools or any(tool.effect != "read" for tool in tools)):
        yield _default(
            policy,
            call,
            "output_driven_write",
            "an untrusted output made the agent call a tool that does more than read",
        )
    for tool in tools:
        if tool.requires_approval:
            problem = "every call needs an approval"
            yield Reason(f"tools.{tool.name}.requires_approval", "ask", call.id, problem)
        for rule in tool.rules if seen.values is not None else ():
            for pointer in rule.broken_at(seen.arguments):
                name = f"tools.{tool.name}.rules.{rule.id}"
                yield Reason(name, rule.otherwise, call.id, "an argument breaks the rule", pointer)
        yield from _of_sinks(policy, tool, call, seen.arguments, seen.taints)
    yield from _of_limits(policy, call, seen.uses)


def _default(policy: Policy, call: Call, field: str, problem: str) -> Reason:
    return Reason(f"defaults.{field}", getattr(policy.defaults, field), call.id, problem)


def _of_role(policy: Policy, seen: SeenCall) -> Iterator[Reason]:
    call = seen.call
    if seen.role is None:
        yield _default(policy, call, "unknown_role", "the user has no role of the policy")
        return
    name, role = seen.role
    if not any(listed.matches(call.tool, call.server) for listed in role.tools):
        yield Reason(f"roles.{name}.tools", "deny", call.id, "the role may not use the tool")
    privilege = max((tool.privilege for tool in seen.tools), default=0)
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


def _of_limits(policy: Policy, call: Call, uses: Sequence[Use]) -> Iterator[Reason]:
    decision = policy.defaults.limit_passed
    for use in uses:
        spent = {"calls": use.calls, "volume": use.volume, "trace_volume": use.trace_volume, "rows": use.rows}
        for field, used in spent.items():
            limit = getattr(use.limits, field)
            if limit is not None and used is not None and used > Decimal(repr(limit)):
                yield Reason(f"{use.name}.{field}", decision, call.id, "more than the limit")
        unknown = not use.known and use.limits.trace_volume is not None
        if unknown or (use.volume is None and use.limits.volume is not None):
            yield _default(policy, call, "unknown_volume", "the call does not say how much, and there is a limit")
