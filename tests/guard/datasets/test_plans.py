"""Generated plans keep to the schemas of their tools, differ, and are what their tasks say."""

from __future__ import annotations

import random
from datetime import date
from itertools import combinations, pairwise
from typing import Any

import pytest

from jepakit.errors import ConfigError, DataError
from jepakit.guard.data import Tool
from jepakit.guard.datasets.plans import PlansConfig, catalogue, generated_plans
from jepakit.guard.datasets.saying import in_other_words, said
from jepakit.guard.datasets.values import KINDS, draw

AGENTS = {name: catalogue()[name] for name in sorted(catalogue())[:6]}
PLANS = list(generated_plans(AGENTS, PlansConfig(300)))
TYPES = {"string": str, "integer": int, "number": float, "boolean": bool}


def test_one_seed_gives_one_set_and_another_another() -> None:
    assert list(generated_plans(AGENTS, PlansConfig(300))) == PLANS
    assert list(generated_plans(AGENTS, PlansConfig(300, seed=1))) != PLANS
    # An agent's plans do not depend on the other agents.
    name, count = sorted(AGENTS)[-1], 50
    assert list(generated_plans({name: AGENTS[name]}, PlansConfig(count))) == PLANS[-count:]


def test_no_two_agents_of_the_catalogue_have_a_tool_of_one_name() -> None:
    names = [tool.name for tools in catalogue().values() for tool in tools]
    assert len(names) == len(set(names)) > 200


def test_calls_keep_to_the_schemas_of_the_tools() -> None:
    for trace in PLANS:
        tools = {tool.name: tool.input_schema["properties"] for tool in trace.context.tools}
        for call in trace.calls:
            assert call.arguments is not None
            assert call.arguments.keys() == tools[call.tool].keys()
            for name, value in call.arguments.items():
                schema = tools[call.tool][name]
                assert value in schema["enum"] if "enum" in schema else type(value) is TYPES[schema["type"]]


def test_no_plan_is_there_twice_and_many_differ_in_one_value() -> None:
    plans = [tuple((call.tool, str(call.arguments)) for call in trace.calls) for trace in PLANS]
    assert len(set(plans)) == len(plans) == len(PLANS)
    alike = [(one, other) for one, other in pairwise(plans) if len(one) == len(other)]
    assert sum(sum(a != b for a, b in zip(*pair, strict=True)) == 1 for pair in alike) > 100


def test_a_task_says_all_values_as_they_are_where_nothing_is_left_out_or_reworded() -> None:
    tool = Tool(
        name="ship",
        description="Send goods.",
        input_schema={"properties": {"city": {"format": "city"}, "pieces": {"enum": [101, 202, 303]}}},
    )
    for trace in generated_plans({"store": [tool]}, PlansConfig(20, calls=1, stated=1.0, reworded=0.0, similar=0.0)):
        arguments = trace.calls[0].arguments or {}
        assert "end goods" in trace.context.task
        assert all(str(value) in trace.context.task for value in arguments.values())


@pytest.mark.parametrize(
    ("name", "schema", "kind"),
    [
        ("due_date", {"type": "string"}, str),
        ("recipient_email", {"type": "string"}, str),
        ("n", {"type": "integer"}, int),
        ("price", {"type": "number"}, float),
        ("recursive", {"type": "boolean"}, bool),
        ("anything", {}, str),
        ("labels", {"type": ["string", "null"]}, str),
        ("emails", {"type": "array", "items": {"type": "string"}}, list),
    ],
)
def test_tools_without_formats_get_values_of_their_types(name: str, schema: dict[str, Any], kind: type) -> None:
    tool = Tool(name="tool", input_schema={"type": "object", "properties": {name: schema}})
    (trace,) = generated_plans({"agent": [tool]}, PlansConfig(1))
    value = (trace.calls[0].arguments or {})[name]
    assert type(value) is kind
    if name == "due_date":
        date.fromisoformat(value)
    assert ("@" in str(value)) == ("email" in name)


def test_an_agent_that_cannot_have_so_many_plans_is_refused() -> None:
    with pytest.raises(DataError, match="too few tools"):
        list(generated_plans({"agent": [Tool(name="stop")]}, PlansConfig(3)))
    with pytest.raises(DataError, match="no tools"):
        list(generated_plans({"agent": []}, PlansConfig(3)))


@pytest.mark.parametrize("options", [{"plans": 0}, {"calls": 0}, {"stated": 1.1}, {"reworded": -1.0}, {"similar": 2.0}])
def test_options_out_of_range_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        PlansConfig(**options)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_kind_is_drawn_and_said_in_words(kind: str) -> None:
    chance = random.Random(0)
    values = [draw(kind, chance) for _ in range(200)]
    assert len({str(value) for value in values}) > 1
    for value in values:
        plain = value["name"] if isinstance(value, dict) else value
        assert said(kind, plain, chance).strip()


@pytest.mark.parametrize(
    ("kind", "value", "ways"),
    [
        ("date", "2026-05-01", {"2026-05-01", "May 1st", "1 May 2026", "the 1st of May"}),
        ("date", "2026-11-12", {"2026-11-12", "November 12th", "12 November 2026", "the 12th of November"}),
        ("time", "12:00", {"12:00", "12 pm"}),
        ("time", "09:15", {"09:15", "9:15 am"}),
        ("amount", 1234.5, {"1234.5", "1,234.50 EUR", "$1,234.50", "about 1234 euros"}),
        ("count", 3, {"3", "three"}),
        ("duration", 30, {"30 minutes", "half an hour"}),
        ("flag", False, {"no"}),
        ("email", "ada.ito@a.example", {"ada.ito@a.example", "Ada Ito"}),
        ("login", "ada_ito_12", {"ada_ito_12", "Ada Ito"}),
    ],
)
def test_the_ways_to_say_a_value(kind: str, value: Any, ways: set[str]) -> None:
    chance = random.Random(0)
    assert {said(kind, value, chance) for _ in range(200)} == ways


def test_words_are_replaced_by_others_as_often_as_asked() -> None:
    chance = random.Random(0)
    text = "Cancel a ticket, then cancel a parcel"
    assert in_other_words(text, 0.0, chance) == text
    for _ in range(20):
        assert not {"cancel", "Cancel", "ticket", "parcel"} & set(in_other_words(text, 1.0, chance).split())
    shares = [in_other_words("parcel", 0.5, chance) == "parcel" for _ in range(400)]
    assert 0.4 < sum(shares) / len(shares) < 0.6


def test_plans_of_different_agents_share_no_tool() -> None:
    used: dict[str, set[str]] = {}
    for trace in PLANS:
        used.setdefault(trace.about["family"], set()).update(call.tool for call in trace.calls)
    assert used.keys() == AGENTS.keys()
    assert all(not one & other for one, other in combinations(used.values(), 2))
