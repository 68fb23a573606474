"""Generated traces are whole, plausible and the same for one seed."""

from __future__ import annotations

from collections import Counter

import pytest

from jepakit.errors import ConfigError
from jepakit.guard.data import Trace
from jepakit.guard.datasets.generated import GeneratedConfig, generated_traces
from jepakit.guard.traces.provenance import data_flow

TRACES = list(generated_traces(GeneratedConfig(300)))
TYPES = {"string": str, "integer": int, "number": int | float, "array": list}


def test_one_seed_gives_one_set_and_another_another() -> None:
    assert list(generated_traces(GeneratedConfig(300))) == TRACES
    assert list(generated_traces(GeneratedConfig(300, seed=1))) != TRACES
    assert list(generated_traces(GeneratedConfig(30))) == TRACES[:30]


def test_every_kind_of_task_is_there_and_traces_differ() -> None:
    assert len({trace.about["task"] for trace in TRACES}) == 22
    assert min(Counter(trace.about["family"] for trace in TRACES).values()) > 30
    assert len({(trace.context.task, str(trace.calls)) for trace in TRACES}) > 290


@pytest.mark.parametrize("trace", TRACES[:22], ids=lambda trace: trace.about["task"])
def test_calls_keep_to_the_schemas_of_tools_that_the_agent_has(trace: Trace) -> None:
    tools = {(tool.server, tool.name): tool.input_schema for tool in trace.context.tools}
    assert len({server for server, _ in tools}) in (2, 3)
    for call in trace.calls:
        properties = tools[call.server, call.tool]["properties"]
        assert call.arguments is not None
        assert call.arguments.keys() == properties.keys()
        for name, value in call.arguments.items():
            assert isinstance(value, TYPES[properties[name]["type"]])
    assert "{" not in trace.context.task


def test_most_values_of_later_calls_come_from_what_the_agent_has_read() -> None:
    values = [value for trace in TRACES for of_call in data_flow(trace).values for value in of_call or ()]
    read = [value for value in values if value.reads]
    assert len(read) > 0.85 * len(values)
    assert {one.origin.source for value in read for one in value.reads} == {"user", "output"}


def test_no_trace_is_no_set() -> None:
    with pytest.raises(ConfigError):
        GeneratedConfig(0)
