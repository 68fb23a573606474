"""Policies and traces for properties of the guard, and such that permit less, or have more taint or a larger scope."""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import strategies as st

from jepakit.guard.data import Call, Context, Trace
from jepakit.guard.policy.schema import SEVERITY

# Values that stand in the user's words, in outputs, in both and nowhere.
WORDS = ("ann@example.org", "eve@evil.org", "both@example.org", "nowhere@example.org", "20", "30")
SAID, OUTPUT = "ann@example.org both@example.org 20", "eve@evil.org both@example.org 30"
NAMES = ("read", "contacts", "fetch", "pay", "wipe", "unknown")
ARGUMENTS = st.fixed_dictionaries(
    {},
    optional={
        "to": st.sampled_from(WORDS) | st.lists(st.sampled_from(WORDS), max_size=3),
        "url": st.sampled_from(WORDS),
        "amount": st.sampled_from([1, 20, 499.5, 501, 2000, "30"]),
    },
)
CALLS = st.lists(
    st.fixed_dictionaries(
        {
            "tool": st.sampled_from(NAMES),
            "arguments": ARGUMENTS,
            "output": st.sampled_from(["", OUTPUT]),
            "tier": st.sampled_from([None, "user", "output"]),
            "volume": st.sampled_from([None, 1, 1200]),
        }
    ),
    min_size=1,
    max_size=5,
)
DECISIONS = st.sampled_from(["allow", "ask", "deny"])
TOOLS = st.fixed_dictionaries(
    {},
    optional={
        "effect": st.sampled_from(["read", "write", "external"]),
        "privilege": st.integers(0, 5),
        "output_trust": st.sampled_from(["trusted", "untrusted"]),
        "sinks": st.lists(st.sampled_from(["/to", "/to/*", "/url"]), unique=True),
        "volume": st.just(["/amount"]),
        "requires_approval": st.booleans(),
        "limits": st.fixed_dictionaries(
            {},
            optional={
                "calls": st.integers(0, 3),
                "volume": st.sampled_from([1, 30, 1000]),
                "trace_volume": st.sampled_from([1, 100, 2000]),
                "rows": st.integers(0, 3),
            },
        ),
        "rules": st.just([{"id": "cap", "argument": "/amount", "at_most": 500, "required": False}]),
    },
)


@st.composite
def policies(draw: st.DrawFn) -> dict[str, Any]:
    tools = [{"name": name, **draw(TOOLS)} for name in NAMES[:-1]]
    tainted = draw(DECISIONS)
    milder = st.sampled_from([one for one, severity in SEVERITY.items() if severity <= SEVERITY[tainted]])
    defaults = {
        "write_tainted_sink": tainted,
        "write_unread_sink": draw(milder),
        "write_tainted_argument": draw(milder),
        "read_tainted_sink": draw(milder),
        "unknown_volume": draw(DECISIONS),
    }
    roles = {"clerk": {"tools": draw(st.lists(st.sampled_from(NAMES), unique=True)), "max_privilege": 4}}
    return {"tools": tools, "defaults": defaults, "roles": draw(st.sampled_from([{}, roles]))}


def stricter_policies(policy: dict[str, Any]) -> list[dict[str, Any]]:
    """Policies that permit less, each in one way."""
    found: list[dict[str, Any]] = []

    def changed(place: int, **fields: Any) -> None:
        other = copy.deepcopy(policy)
        other["tools"][place].update(fields)
        found.append(other)

    for place, tool in enumerate(policy["tools"]):
        changed(place, output_trust="untrusted")
        changed(place, requires_approval=True)
        changed(place, sinks=["/**"])
        changed(place, privilege=5)
        changed(place, rules=[*tool.get("rules", ()), {"id": "new", "argument": "/to", "none_of": ["eve@evil.org"]}])
        limits = tool.get("limits", {})
        for field in ("calls", "volume", "trace_volume", "rows"):
            changed(place, limits={**limits, field: limits.get(field, 1) // 2})
        if tool.get("effect") == "read":
            changed(place, effect="write")
    for field in ("write_tainted_sink", "unknown_volume", "limit_passed", "unknown_role"):
        found.append({**policy, "defaults": {**policy["defaults"], field: "deny"}})
    if policy["roles"]:
        role = policy["roles"]["clerk"]
        found.append({**policy, "roles": {"clerk": {**role, "tools": role["tools"][1:]}}})
        found.append({**policy, "roles": {"clerk": {**role, "max_privilege": 1}}})
    else:
        found.append({**policy, "roles": {"other": {}}})
    return found


Changed = list[tuple[str, list[dict[str, Any]]]]


def worse_traces(policy: dict[str, Any], calls: list[dict[str, Any]]) -> Changed:
    """The user's words and calls with more taint or a larger scope, each in one way."""
    return [*more_taint(policy, calls), *larger_scope(calls)]


def more_taint(policy: dict[str, Any], calls: list[dict[str, Any]]) -> Changed:
    """The user's words and calls with more taint, each in one way."""
    found = [("", calls)]
    trusted = {tool["name"] for tool in policy["tools"] if tool.get("output_trust") == "trusted"}
    for place, call in enumerate(calls):
        found.append(_changed(calls, place, tier="output"))
        if call["tool"] not in trusted:
            found.append(_changed(calls, place, output=f"{OUTPUT} {' '.join(WORDS)}"))
        arguments = call["arguments"]
        # What a trusted tool has returned as well is no taint.
        if "to" in arguments and not any(one["output"] for one in calls if one["tool"] in trusted):
            listed = arguments["to"] if isinstance(arguments["to"], list) else [arguments["to"]]
            if isinstance(arguments["to"], list):
                found.append(_changed(calls, place, arguments={**arguments, "to": [*listed, "eve@evil.org"]}))
            replaced = ["eve@evil.org" for _ in listed] or ["eve@evil.org"]
            found.append(_changed(calls, place, arguments={**arguments, "to": replaced}))
    return found


def larger_scope(calls: list[dict[str, Any]]) -> Changed:
    """The user's words and calls that do more, each in one way."""
    found: Changed = []
    for place, call in enumerate(calls):
        if call["volume"] is not None:
            found.append(_changed(calls, place, volume=call["volume"] * 1000))
        arguments = call["arguments"]
        if isinstance(arguments.get("amount"), int | float):
            # 30 and 20 are told from what was read; no sink holds them.
            found.append(_changed(calls, place, arguments={**arguments, "amount": arguments["amount"] * 1000}))
    return found


def _changed(calls: list[dict[str, Any]], place: int, **fields: Any) -> tuple[str, list[dict[str, Any]]]:
    return SAID, [{**one, **fields} if at == place else one for at, one in enumerate(calls)]


def trace_of(task: str, calls: list[dict[str, Any]]) -> Trace:
    """A first call that reads all that a value may be tainted by, and the calls."""
    listed = tuple(Call.model_validate({"id": f"c{place}", **call}) for place, call in enumerate(calls))
    first = Call(id="first", tool="elsewhere", arguments={}, output=OUTPUT)
    return Trace(context=Context(task=task, role="clerk"), calls=(first, *listed))
