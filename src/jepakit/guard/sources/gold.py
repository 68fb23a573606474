"""Gold traces: a plan with the policy that it belongs to, one an object."""

from __future__ import annotations

import sys
from collections.abc import Mapping

from jepakit.errors import DataError
from jepakit.guard.data import Context, Edge, SourceKind, Trace
from jepakit.guard.sources.calls import Calls, Reading
from jepakit.guard.sources.fields import Fields, build, elements, json_object, text_of
from jepakit.guard.traces.strict_json import is_number

#: The three tiers of trust by number: internal, signed partner, public. What comes from outside is an output.
_TIERS: dict[object, SourceKind] = {
    1: "system",
    2: "output",
    3: "output",
    "user": "user",
    "system": "system",
    "output": "output",
}


def is_part(value: object) -> bool:  # noqa: ARG001 -- a trace is one object
    """No: a trace is one object."""
    return False


def is_record(value: object) -> bool:
    """Whether a value is a gold trace."""
    return isinstance(value, Mapping) and "execution_plan" in value


def read(value: object, reading: Reading) -> list[Trace]:
    """The trace of ``{"governance_context", "execution_plan", "label"}``.

    ``governance_context`` has ``policy``, ``user_role`` and ``session_context``; ``execution_plan`` has ``nodes`` with
    ``tool_name``, ``node_id``, ``arguments``, ``provenance_tier`` (user, system, output; or 1 internal, 2 partner,
    3 public), ``scope_volume`` and ``scope_sensitivity``, and ``edges``: pairs of node ids, or objects with ``source``,
    ``target`` and ``argument``.

    Raises:
        DataError: names the field.
    """
    trace = Fields.of(value)
    trace.require("execution_plan")
    governance, plan = trace.fields("governance_context"), trace.fields("execution_plan")
    calls = Calls(reading)
    for node in plan.objects("nodes"):
        number = calls.add(
            node.required("tool_name"),
            node.get("arguments"),
            node.place("arguments"),
            given=_node_id(node.content.get("node_id"), node.place("node_id")),
        )
        calls[number].update(
            tier=_tier(node),
            volume=_amount(node, "scope_volume", sys.float_info.max),
            sensitivity=_amount(node, "scope_sensitivity", 5, whole=True),
        )
    policy, where = governance.get("policy"), governance.place("policy")
    context = build(
        Context,
        governance.where,
        policy=governance.text("policy") if policy is None or isinstance(policy, str) else json_object(policy, where),
        role=governance.text("user_role"),
        session=json_object(governance.get("session_context"), governance.place("session_context")),
    )
    edges = [_edge(edge, where, calls) for edge, where in plan.items("edges")]
    return [
        build(
            Trace,
            "",
            id=trace.text("id", "trace_id") or "",
            context=context,
            calls=calls.done(),
            edges=edges,
            label=trace.get("label"),
        )
    ]


def _tier(node: Fields) -> SourceKind | None:
    tier = node.get("provenance_tier")
    if tier is None:
        return None
    if isinstance(tier, bool) or not isinstance(tier, int | str) or tier not in _TIERS:
        expected = ", ".join(map(str, _TIERS))
        raise DataError("not a tier", field=node.place("provenance_tier"), value=tier, expected=f"one of {expected}")
    return _TIERS[tier]


def _amount(node: Fields, key: str, most: float, *, whole: bool = False) -> float | None:
    value = node.get(key)
    if value is None or (is_number(value) and 0 <= value <= most and (isinstance(value, int) or not whole)):
        return value
    kind = "a whole number" if whole else "a number"
    raise DataError("is not allowed", field=node.place(key), value=value, expected=f"{kind} from 0 to {most}")


def _node_id(value: object, where: str) -> str | None:
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if value is None or isinstance(value, str):
        return None if value is None else text_of(value, where)
    raise DataError("not an id", field=where, value=value, expected="a text or a whole number")


def _edge(edge: object, where: str, calls: Calls) -> Edge:
    if isinstance(edge, Mapping):
        fields = Fields.of(edge, where)
        source, target, argument = fields.get("source"), fields.get("target"), fields.text("argument")
    else:
        ends = [end for end, _ in elements(edge, where)]
        if len(ends) != 2:
            raise DataError("not an edge", field=where, value=edge, expected="two node ids")
        source, target, argument = ends[0], ends[1], None
    return Edge(source=_end(source, where, calls), target=_end(target, where, calls), argument=argument)


def _end(value: object, where: str, calls: Calls) -> str:
    given = _node_id(value, where)
    number = None if given is None else calls.first(given)
    if number is None:
        raise DataError("names a node that is not there", field=where, value=value)
    return calls[number]["id"]
