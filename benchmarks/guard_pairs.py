"""Pairs of what governs an agent and its plan: reference plans of AgentDojo, of tau2's services, and generated ones."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.harness import data_dir
from jepakit.files import read_json, read_text
from jepakit.guard.data import Call, Context, Tool, Trace
from jepakit.guard.datasets.plans import PlansConfig, catalogue, generated_plans

AGENTDOJO, TAU2, GENERATED = "AgentDojo", "tau2", "generated"
_SERVICES = ("airline", "retail")
#: Agents of the catalogue whose tools no model is trained with.
_TESTED = 10


def real_pairs() -> tuple[Trace, ...]:
    """The 116 distinct plans of AgentDojo's tasks and injections, and the 147 of tau2's airline and retail tasks."""
    known: dict[str, Trace] = {}
    for trace in [*_agentdojo(), *_tau2()]:
        plan = [(call.tool, call.arguments) for call in trace.calls]
        known.setdefault(json.dumps([trace.about["agent"], plan], sort_keys=True), trace)
    return tuple(known.values())


def generated_pairs(seed: int, learned: int, tested: int) -> tuple[list[Trace], list[Trace]]:
    """Pairs to learn from, and to test with: their agents, drawn at random, have no tool in common.

    Args:
        seed: of the draw, and of the pairs.
        learned: pairs to learn from.
        tested: pairs to test with.
    """
    agents = catalogue()
    drawn = set(random.Random(seed).sample(sorted(agents), _TESTED))
    parts = [{name: tools for name, tools in agents.items() if (name in drawn) == test} for test in (False, True)]
    pairs = [
        [trace.model_copy(update={"about": {"source": GENERATED, **trace.about}}) for trace in made]
        for made in (
            generated_plans(parts[0], PlansConfig(learned, seed=2 * seed)),
            generated_plans(parts[1], PlansConfig(tested, seed=2 * seed + 1)),
        )
    ]
    return pairs[0], pairs[1]


def sources(pairs: Sequence[Trace]) -> NDArray[np.str_]:
    """Where each pair is from."""
    return np.array([trace.about["source"] for trace in pairs], np.str_)


def tool_names(pairs: Sequence[Trace]) -> set[str]:
    """Names of all tools that the agents of pairs have, or call."""
    had = {tool.name for trace in pairs for tool in trace.context.tools}
    return had | {call.tool for trace in pairs for call in trace.calls}


def plan_text(trace: Trace) -> str:
    """The calls as a text: names of tools, names of arguments and their values."""
    return "\n".join(f"{call.tool} {_flat(call.arguments)}" for call in trace.calls)


def names_text(trace: Trace) -> str:
    """The names of the tools of a plan."""
    return "\n".join(call.tool for call in trace.calls)


def _agentdojo() -> Iterator[Trace]:
    suites = _newest(data_dir() / "guard" / "agentdojo" / "ground_truth.json")
    for suite, parts in suites.items():
        tools = tuple(
            Tool(name=name, description=tool["desc"], input_schema=tool["schema"])
            for name, tool in parts["tools"].items()
        )
        for kind, words in (("user", "prompt"), ("inj", "goal")):
            for name, task in parts[kind].items():
                if task["gt"]:
                    context = Context(task=task[words], tools=tools)
                    calls = [(call["tool"], call["args"]) for call in task["gt"]]
                    yield _pair(f"{suite}/{name}", AGENTDOJO, suite, context, calls)


def _tau2() -> Iterator[Trace]:
    for service in _SERVICES:
        folder = data_dir() / "guard" / "policies" / "tau2_domains" / service
        policy = read_text(folder / "policy.md")
        listed = json.loads(read_text(folder / "tasks.json"))
        tasks = [task for task in listed if task["evaluation_criteria"]["actions"]]
        plans = [
            [(call["name"], call["arguments"]) for call in task["evaluation_criteria"]["actions"]] for task in tasks
        ]
        tools = _seen_tools(plans)
        for task, calls in zip(tasks, plans, strict=True):
            told = task["user_scenario"]["instructions"]
            parts = [told[key] for key in ("reason_for_call", "known_info", "unknown_info", "task_instructions")]
            context = Context(task="\n\n".join(part for part in parts if part), policy=policy, tools=tools)
            yield _pair(f"{service}/{task['id']}", TAU2, service, context, calls)


def _seen_tools(plans: Sequence[Sequence[tuple[str, Mapping[str, Any]]]]) -> tuple[Tool, ...]:
    """The tools that plans use, with the names of their arguments: tau2's tasks come without descriptions of tools."""
    arguments: dict[str, dict[str, Any]] = {}
    for name, given in (call for calls in plans for call in calls):
        arguments.setdefault(name, {}).update({key: {} for key in given})
    return tuple(
        Tool(name=name, input_schema={"type": "object", "properties": properties})
        for name, properties in sorted(arguments.items())
    )


def _pair(name: str, source: str, agent: str, context: Context, calls: Sequence[tuple[str, dict[str, Any]]]) -> Trace:
    made = tuple(Call(id=str(place), tool=tool, arguments=given) for place, (tool, given) in enumerate(calls))
    return Trace(id=name, context=context, calls=made, label="benign", about={"source": source, "agent": agent})


@lru_cache(maxsize=1)
def _newest(file: Path) -> Mapping[str, Any]:
    content = read_json(file)
    return content[max(content, key=lambda version: [int(part) for part in version[1:].split(".")])]


def _flat(value: Any) -> str:
    if isinstance(value, dict):
        return " ".join(f"{key} {_flat(inner)}" for key, inner in value.items())
    if isinstance(value, list):
        return " ".join(map(_flat, value))
    return str(value)
