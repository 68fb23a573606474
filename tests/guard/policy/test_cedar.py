"""Cedar only denies, and whatever it cannot evaluate is denied."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from jepakit.errors import DataError
from jepakit.guard.data import Call, Context, Trace
from jepakit.guard.policy import Policy, judge, strictest
from jepakit.guard.policy.cedar import CedarGate, cedar_value
from jepakit.guard.traces.provenance import data_flow

POLICIES = """
permit(principal == Role::"clerk", action, resource == Server::"bank") when { context.arguments.amount <= 100 };
forbid(principal, action == Action::"wi\\"pe", resource);
forbid(principal, action, resource) when { context.session has locked && context.session.locked };
"""


def trace(arguments: Any, tool: str = "pay", role: str | None = "clerk", server: str = "bank", **session: Any) -> Trace:
    call = Call(id="c", tool=tool, server=server, arguments=arguments)
    return Trace(context=Context(role=role, session=session), calls=(call,))


@pytest.mark.parametrize(
    ("arguments", "options", "rule"),
    [
        ({"amount": 100}, {}, None),
        ({"amount": 100.0, "note": None, "to": ["a", {"b": True}]}, {}, None),
        ({"amount": 101}, {}, "cedar.default"),
        ({"amount": 1}, {"role": "other"}, "cedar.default"),
        ({"amount": 1}, {"role": None}, "cedar.default"),
        ({"amount": 1}, {"server": "evil"}, "cedar.default"),
        ({"amount": 1}, {"tool": 'wi"pe'}, "cedar.policy1"),
        ({"amount": 1}, {"locked": True}, "cedar.policy2"),
        # A policy that fails is left out by Cedar.
        ({"amount": 1}, {"locked": "yes"}, "cedar.errors"),
        ({"amount": "1"}, {}, "cedar.errors"),
        ({"amount": 1.5}, {}, "cedar.errors"),
        ({}, {}, "cedar.errors"),
        ({"amount": 2**63}, {}, "cedar.context"),
        ({"amount": 1, "x": 0.00001}, {}, "cedar.context"),
        ({"amount": 1, "x": {"__entity": {"type": "Role", "id": "chief"}}}, {}, "cedar.context"),
        ({"amount": 1, "x": [None]}, {}, "cedar.context"),
        (None, {}, "cedar.context"),
    ],
)
def test_decisions_by_hand(arguments: Any, options: dict[str, Any], rule: str | None) -> None:
    (verdict,) = CedarGate(POLICIES).judge(trace(arguments, **options))
    assert verdict.decision == ("allow" if rule is None else "deny")
    assert [reason.rule for reason in verdict.reasons] == ([] if rule is None else [rule])


def test_what_cedar_allows_is_judged_as_without_it() -> None:
    policy = Policy.model_validate({"tools": [{"name": "pay", "requires_approval": True}]})
    for amount, decision in ((1, "ask"), (101, "deny")):
        called = trace({"amount": amount})
        both = strictest(judge(policy, called, data_flow(called)), CedarGate(POLICIES).judge(called))
        assert both[0].decision == decision


def test_values_of_cedar() -> None:
    assert cedar_value({"a": -(2**63), "b": 12.25, "c": None, "d": [1.0, True]}) == {
        "a": -(2**63),
        "b": {"__extn": {"fn": "decimal", "arg": "12.25"}},
        "d": [1, True],
    }


def test_a_file_that_is_no_cedar(tmp_path: Path) -> None:
    (tmp_path / "a.cedar").write_text("permit(")
    with pytest.raises(DataError) as caught:
        CedarGate.from_file(tmp_path / "a.cedar")
    assert caught.value.file == tmp_path / "a.cedar"
