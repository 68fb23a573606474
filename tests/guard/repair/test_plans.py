"""Edited plans: their data flow is the one that would be found in them anew."""

from __future__ import annotations

import random

from jepakit.guard import Call, Origin, Trace
from jepakit.guard.corrupter import Corrupter
from jepakit.guard.datasets.generated import GeneratedConfig, generated_traces
from jepakit.guard.repair.plans import Plan, Planner
from jepakit.guard.traces.editing import places
from jepakit.guard.traces.provenance import data_flow

TRACES = list(generated_traces(GeneratedConfig(60, seed=3)))


def edited(plan: Plan, planner: Planner, chance: random.Random) -> Plan:
    """The plan after an edit by chance."""
    calls = [call.id for call in plan.trace.calls]
    match chance.randint(0, 2):
        case 0:
            return planner.dropped(plan, [chance.choice(calls)])
        case 1 if len(calls) > 1:
            first = chance.randrange(len(calls) - 1)
            return planner.moved(plan, calls[first], chance.choice(calls[first + 1 :]))
        case _:
            place = chance.choice(places(plan.trace))
            other = chance.choice(places(planner.first.trace))
            return planner.with_arguments(plan, place.call.id, {place.pointer: other.value})


def test_the_flow_of_an_edited_plan_is_that_of_its_trace() -> None:
    chance = random.Random(0)
    corrupter = Corrupter(TRACES)
    edits = 0
    for trace in TRACES:
        for attacked in corrupter.attacks(trace, chance):
            planner = Planner(attacked, data_flow(attacked))
            plan = planner.first
            for _ in range(3):
                if not places(plan.trace):
                    break
                plan = edited(plan, planner, chance)
                edits += 1
                assert plan.flow == data_flow(plan.trace)
                # It is a trace that the schema takes.
                assert Trace.model_validate(plan.trace.model_dump()) == plan.trace
    assert edits > 300


def test_a_given_origin_goes_with_its_call_and_with_its_value() -> None:
    origin = Origin(source="output", call="0")
    trace = Trace(
        calls=(
            Call(id="0", tool="read", arguments={}),
            Call(id="1", tool="send", arguments={"to": "ada", "body": "x"}, origins={"/to": (origin,)}),
        )
    )
    planner = Planner(trace, data_flow(trace))
    assert planner.dropped(planner.first, ["0"]).trace.calls[0].origins == {"/to": ()}
    assert planner.with_arguments(planner.first, "1", {"/to": "bob"}).trace.calls[1].origins == {}
    assert planner.with_arguments(planner.first, "1", {"/body": "y"}).trace.calls[1].origins == {"/to": (origin,)}


def test_an_approval_is_void_after_an_edit() -> None:
    trace = Trace(calls=(Call(id="0", tool="send", arguments={"to": "ada"}),))
    planner = Planner(trace, data_flow(trace))
    approved = planner.approved(planner.first, "0")
    assert approved.approved == {"0"}
    assert planner.with_arguments(approved, "0", {"/to": "bob"}).approved == frozenset()
