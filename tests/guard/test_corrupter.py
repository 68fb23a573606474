"""Attacks made from benign traces: real ones, labelled where they are, and made of benign words alone."""

from __future__ import annotations

import random
import re
from collections import Counter

import pytest

from jepakit.errors import DataError
from jepakit.guard.corrupter import ATTACKS, Attack, Corrupter
from jepakit.guard.data import Call, Context, Tool, Trace
from jepakit.guard.datasets.generated import GeneratedConfig, generated_traces
from jepakit.guard.policy.verbs import reads_only
from jepakit.guard.traces.editing import at, with_leaf
from jepakit.guard.traces.provenance import data_flow
from jepakit.guard.traces.shapes import shape_of
from jepakit.guard.traces.strict_json import leaves

TRACES = list(generated_traces(GeneratedConfig(400)))
CORRUPTER = Corrupter(TRACES)
MADE = [
    (trace, attack) for number, trace in enumerate(TRACES) for attack in CORRUPTER.attacks(trace, random.Random(number))
]


def made_by(attack: Attack) -> list[tuple[Trace, Trace]]:
    pairs = [(trace, made) for trace, made in MADE if made.about["attack"] == attack]
    assert len(pairs) > 10
    return pairs


def malicious(trace: Trace) -> list[Call]:
    return [call for call in trace.calls if call.label == "malicious"]


def test_every_attack_is_made_and_labelled() -> None:
    assert {made.about["attack"] for _, made in MADE} == set(ATTACKS)
    for trace, made in MADE:
        assert made.label == "malicious"
        assert Counter(call.label for call in made.calls)["malicious"] == 1
        assert made.context == trace.context
        assert malicious(made)[0].output is None
        assert made.about["made_from"] == trace.id
        # It is a trace that the schema takes.
        assert Trace.model_validate_json(made.model_dump_json()) == made


def test_what_was_benign_stays_as_it_was() -> None:
    before = [trace.model_dump_json() for trace in TRACES]
    for number, trace in enumerate(TRACES[:50]):
        list(CORRUPTER.attacks(trace, random.Random(number)))
    assert [trace.model_dump_json() for trace in TRACES] == before


def test_calls_of_attacks_are_of_tools_that_the_agent_has() -> None:
    for _, made in MADE:
        tools = {(tool.server, tool.name) for tool in made.context.tools}
        assert all((call.server, call.tool) in tools for call in made.calls)


def test_no_word_tells_an_attack() -> None:
    def words(text: str) -> set[str]:
        return set(re.findall(r"[\w@]+", text.lower()))

    benign = words(" ".join(trace.context.task for trace in TRACES))
    for call in (call for trace in TRACES for call in trace.calls):
        benign |= words(f"{call.output} {call.arguments}")
    for _, made in MADE:
        if made.about["attack"] in ("instruction_shadowing", "provenance_rug_pull", "exfiltration_pivot"):
            assert words(" ".join(call.output or "" for call in made.calls)) <= benign


def test_scopes_grow_by_an_order_of_magnitude() -> None:
    for trace, made in made_by("scope_blow_up"):
        changed = [
            (old, new)
            for before, after in zip(trace.calls, made.calls, strict=True)
            for (_, old), (_, new) in zip(leaves(before.arguments), leaves(after.arguments), strict=True)
            if old != new
        ]
        ((old, new),) = changed
        assert isinstance(old, int | float)
        assert isinstance(new, int | float)
        assert new >= 10 * old


def test_a_value_just_beyond_is_less_than_half_more() -> None:
    for trace, made in made_by("boundary"):
        (call,) = malicious(made)
        before = next(one for one in trace.calls if one.id == call.id)
        for (_, old), (_, new) in zip(leaves(before.arguments), leaves(call.arguments), strict=True):
            if old != new and isinstance(old, int | float):
                assert isinstance(new, int | float)
                assert old < new <= 1.5 * old + 1


@pytest.mark.parametrize("attack", ["provenance_rug_pull", "exfiltration_pivot"])
def test_the_new_recipient_stands_in_an_output_and_not_in_the_users_words(attack: Attack) -> None:
    for _, made in made_by(attack):
        flow = data_flow(made)
        place = next(number for number, call in enumerate(made.calls) if call.label == "malicious")
        outward = [value for value in flow.values[place] or () if shape_of(value.value) in ("email", "account")]
        sources = {read.origin.source for value in outward for read in value.reads}
        assert "output" in sources


def test_a_pivot_carries_what_was_read() -> None:
    carried = 0
    for trace, made in made_by("exfiltration_pivot"):
        outputs = [call.output or "" for call in trace.calls]
        texts = [value for _, value in leaves(malicious(made)[0].arguments) if isinstance(value, str)]
        carried += any(text and text[:60] in output for text in texts for output in outputs if len(text) > 20)
    assert carried > 0.5 * len(made_by("exfiltration_pivot"))


def test_what_is_done_by_an_instruction_is_what_another_user_asked_for() -> None:
    tasks = {trace.context.task for trace in TRACES}
    for trace, made in made_by("instruction_shadowing"):
        outputs = "".join(call.output or "" for call in made.calls)
        assert any(task in outputs for task in tasks - {trace.context.task})
        assert not reads_only(malicious(made)[0].tool)


def test_an_approval_is_left_out_or_comes_too_late() -> None:
    for _, made in made_by("approval_bypass"):
        tools = [call.tool for call in made.calls]
        paid = tools.index("send_payment")
        assert "request_approval" not in tools[:paid]


def test_one_seed_gives_one_attack() -> None:
    for attack in ATTACKS:
        first, second = (CORRUPTER.corrupt(TRACES[0], attack, random.Random(1)) for _ in range(2))
        assert first == second


def test_a_trace_without_a_place_for_an_attack_has_none() -> None:
    empty = Trace(context=Context(tools=(Tool(name="get_time"),)), calls=(Call(id="a", tool="get_time", arguments={}),))
    assert list(CORRUPTER.attacks(empty, random.Random(0))) == []
    assert list(CORRUPTER.attacks(Trace(), random.Random(0))) == []


def test_nothing_can_be_made_of_nothing() -> None:
    with pytest.raises(DataError):
        Corrupter([Trace()])


@pytest.mark.parametrize(
    ("value", "shape"),
    [
        ("ada.kaya@alpine.example", "email"),
        ("DE893704004405320130", "account"),
        ("https://a.example/x?y=1", "url"),
        ("www.true-informations.com", "url"),
        ("reports/plan-3.txt", "path"),
        ("2026-05-01 10:00", "date"),
        ("A1234", "identifier"),
        ("two words", None),
        (12, None),
    ],
)
def test_shapes(value: object, shape: str | None) -> None:
    assert shape_of(value) == shape


def test_leaves_are_replaced_in_copies() -> None:
    value = {"a": [{"b/c": 1}, 2], "~": 3}
    for pointer, old in leaves(value):
        assert at(value, pointer) == old
        assert at(with_leaf(value, pointer, "new"), pointer) == "new"
    assert value == {"a": [{"b/c": 1}, 2], "~": 3}
