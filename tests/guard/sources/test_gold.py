"""Gold traces, by hand."""

from __future__ import annotations

from typing import Any

import pytest

from jepakit.errors import DataError
from jepakit.guard import Edge
from jepakit.guard.sources import trace_from


def gold(**changes: Any) -> dict[str, Any]:
    nodes = [
        {"tool_name": "read", "node_id": 0, "arguments": {"n": 1}, "provenance_tier": 1, "scope_volume": 5},
        {"tool_name": "send", "node_id": "b", "arguments": {}, "provenance_tier": "user", "scope_sensitivity": 3},
        {"tool_name": "log", "provenance_tier": 2},
    ]
    plan = {"nodes": nodes, "edges": [[0, "b"], {"source": "b", "target": 0, "argument": "/x"}]}
    governance = {"policy": "be kind", "user_role": "clerk", "session_context": {"tenant": 3}}
    return {"governance_context": governance, "execution_plan": {**plan, **changes}, "label": "malicious"}


def test_every_field_arrives() -> None:
    trace = trace_from(gold())
    context = trace.context
    assert (context.policy, context.role, context.session) == ("be kind", "clerk", {"tenant": 3})
    assert [(one.id, one.tool, one.arguments, one.tier, one.volume, one.sensitivity) for one in trace.calls] == [
        ("0", "read", {"n": 1}, "system", 5, None),
        ("b", "send", {}, "user", None, 3),
        # Arguments that are not given are not known.
        ("call-2", "log", None, "output", None, None),
    ]
    assert trace.edges == (Edge(source="0", target="b"), Edge(source="b", target="0", argument="/x"))
    assert trace.label == "malicious"


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"edges": [[0, 7]]}, "execution_plan.edges[0]"),
        ({"edges": [[0]]}, "execution_plan.edges[0]"),
        ({"edges": ["ab"]}, "execution_plan.edges[0]"),
        ({"nodes": [{"node_id": 1}]}, "execution_plan.nodes[0].tool_name"),
        ({"nodes": [{"tool_name": "a", "node_id": 1.5}]}, "execution_plan.nodes[0].node_id"),
        ({"nodes": [{"tool_name": "a", "provenance_tier": 4}]}, "execution_plan.nodes[0].provenance_tier"),
        ({"nodes": [{"tool_name": "a", "provenance_tier": True}]}, "execution_plan.nodes[0].provenance_tier"),
        ({"nodes": [{"tool_name": "a", "scope_volume": -1}], "edges": []}, "execution_plan.nodes[0].scope_volume"),
        (
            {"nodes": [{"tool_name": "a", "scope_sensitivity": 6}], "edges": []},
            "execution_plan.nodes[0].scope_sensitivity",
        ),
        (
            {"nodes": [{"tool_name": "a", "scope_sensitivity": 1.5}], "edges": []},
            "execution_plan.nodes[0].scope_sensitivity",
        ),
    ],
)
def test_what_is_wrong_is_named(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(DataError) as caught:
        trace_from(gold(**changes))
    assert caught.value.field == field


def test_a_label_of_another_name_is_an_error() -> None:
    with pytest.raises(DataError) as caught:
        trace_from({**gold(), "label": "nice"})
    assert caught.value.field == "label"
