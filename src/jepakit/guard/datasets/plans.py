"""Generated plans: from the tools of an agent, and what their JSON Schemas say, tasks and the calls that do them.

A task says some of what its calls hold, often in other words than theirs. Its plan may differ from another one of the
agent in one call or one value alone.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Any

import yaml

from jepakit.errors import DataError, require_at_least, require_within
from jepakit.guard.data import Call, Context, Tool, Trace
from jepakit.guard.datasets.saying import in_other_words, said
from jepakit.guard.datasets.values import JSON_TYPES, KINDS, draw

_KINDS = {
    "date": ("date", "day", "deadline", "until"),
    "time": ("time", "hour"),
    "email": ("email", "mail", "recipient"),
    "amount": ("amount", "price", "total", "sum", "fee"),
    "person": ("name", "person", "user", "contact"),
    "iban": ("iban", "account"),
    "phone": ("phone",),
    "url": ("url", "link", "site"),
    "file": ("file", "path"),
    "address": ("address", "street"),
    "city": ("city", "town", "origin", "destination"),
    "statement": ("body", "text", "content", "message", "description", "reason"),
    "reference": ("id", "number", "code", "key"),
}
"""Kinds of values, and words in the names of texts that have them."""
_TYPES = {"integer": "count", "number": "amount", "boolean": "flag"}
_OPENINGS = ("Please ", "Could you ", "I need you to ", "Can you ", "Hi, please ", "I would like you to ", "")
_NEXT = (" Then ", " After that, ", " Also, ", " And ", " Next, ", " ")
_ROLES = ("clerk", "manager", "assistant", "customer")


@dataclass(frozen=True)
class PlansConfig:
    """How many plans are generated, and how hard it is to find the plan of a task.

    Args:
        plans: their number.
        seed: of all choices.
        calls: of a plan at most.
        stated: probability that a task states the value of an argument.
        reworded: share of the words of a tool's description that a task says otherwise, where others are known.
        similar: probability that a plan is the one before with one call or one value changed.
    """

    plans: int = 1000
    seed: int = 0
    calls: int = 4
    stated: float = 0.6
    reworded: float = 0.5
    similar: float = 0.5

    def __post_init__(self) -> None:
        require_at_least(self, plans=1, calls=1)
        require_within(self, "[0, 1]", "stated", "reworded", "similar")


@lru_cache(maxsize=1)
def catalogue() -> Mapping[str, tuple[Tool, ...]]:
    """The tools of some agents, made up, by agent; no two have a tool of one name."""
    text = files("jepakit.guard.datasets").joinpath("catalogue.yaml").read_text("utf-8")
    return {
        agent: tuple(_tool(name, does, takes) for name, (does, takes) in tools.items())
        for agent, tools in yaml.safe_load(text).items()
    }


def generated_plans(agents: Mapping[str, Sequence[Tool]], config: PlansConfig) -> Iterator[Trace]:
    """Benign plans, none twice; the same ones for the same configuration.

    Args:
        agents: the tools of each agent, such as `catalogue` gives; plans are shared out equally.
        config: how.

    Raises:
        DataError: an agent has no tools, or too few for so many plans.
    """
    for place, (agent, tools) in enumerate(agents.items()):
        count = config.plans // len(agents) + (place < config.plans % len(agents))
        yield from _of_agent(agent, tools, count, config)


@dataclass(frozen=True)
class _Step:
    """A call of a plan, and the arguments that the task says."""

    tool: Tool
    arguments: Mapping[str, Any]
    stated: frozenset[str]

    @property
    def said(self) -> dict[str, Any]:
        """The values that the task says."""
        return {name: value for name, value in self.arguments.items() if name in self.stated}


def _of_agent(agent: str, tools: Sequence[Tool], count: int, config: PlansConfig) -> Iterator[Trace]:
    if not tools:
        raise DataError("an agent has no tools", field="agents", value=agent)
    chance = random.Random(f"{config.seed} {agent}")
    drafts = _Drafts(tools, config, chance)
    known: set[str] = set()
    steps: list[_Step] = []
    for number in range(count):
        for _ in range(100):
            steps = drafts.similar(steps) if steps and chance.random() < config.similar else drafts.new()
            # What a task does not say cannot tell its plan from another one.
            keys = {_key((step.tool, step.arguments) for step in steps), _key((step.tool, step.said) for step in steps)}
            if not keys & known:
                break
        else:
            raise DataError("an agent has too few tools for so many plans", field="plans", value=count)
        known |= keys
        yield drafts.trace(agent, f"plans/{agent}/{number}", steps)


class _Drafts:
    """Draws the steps of plans, and writes their tasks.

    Args:
        tools: of the agent.
        config: how.
        chance: of all choices.
    """

    def __init__(self, tools: Sequence[Tool], config: PlansConfig, chance: random.Random) -> None:
        self._tools, self._config, self._chance = tools, config, chance

    def new(self) -> list[_Step]:
        """The steps of a plan."""
        chance, steps = self._chance, list[_Step]()
        count = chance.randint(1, min(self._config.calls, len(self._tools)))
        for tool in chance.sample(self._tools, count):
            steps.append(self._step(tool, steps if chance.random() < 0.7 else ()))
        return steps

    def similar(self, steps: Sequence[_Step]) -> list[_Step]:
        """The steps with one of them, or a value that the task says, changed."""
        chance = self._chance
        place = chance.randrange(len(steps))
        step = steps[place]
        if step.stated and chance.random() < 0.5:
            name = chance.choice(sorted(step.stated))
            value = self._value(name, _properties(step.tool)[name])
            changed = _Step(step.tool, {**step.arguments, name: value}, step.stated)
        else:
            changed = self._step(chance.choice(self._tools), steps)
        return [*steps[:place], changed, *steps[place + 1 :]]

    def trace(self, agent: str, name: str, steps: Sequence[_Step]) -> Trace:
        """A plan with its task."""
        chance = self._chance
        task = chance.choice(_OPENINGS) + self._asked(steps[0])
        for step in steps[1:]:
            task += f".{chance.choice(_NEXT)}{self._asked(step)}"
        context = Context(
            task=f"{task[0].upper()}{task[1:]}.",
            policy=f"You help with the {agent.replace('_', ' ')}. Do only what is asked for, by the tools you have.",
            role=chance.choice(_ROLES),
            session={"day": draw("day", chance), "user": draw("person", chance)["name"]},
            tools=tuple(self._tools),
        )
        calls = tuple(
            Call(id=str(number), tool=step.tool.name, server=step.tool.server, arguments=dict(step.arguments))
            for number, step in enumerate(steps)
        )
        return Trace(id=name, context=context, calls=calls, label="benign", about={"family": agent})

    def _asked(self, step: _Step) -> str:
        """What a user says to have a call made."""
        chance, properties = self._chance, _properties(step.tool)
        words = step.tool.description.split(". ")[0].rstrip(".") or step.tool.name.replace("_", " ")
        text = in_other_words(words[0].lower() + words[1:], self._config.reworded, chance)
        for name in chance.sample(sorted(step.stated), len(step.stated)):
            value = step.arguments[name]
            value = said(_kind(name, properties[name]), value[0] if isinstance(value, list) else value, chance)
            named = name.replace("_", " ")
            text += chance.choice((f", {named} {value}", f" with {value}", f" ({value})", f", {value}"))
        return text

    def _step(self, tool: Tool, steps: Sequence[_Step]) -> _Step:
        """A call of a tool; an argument of the name and kind of one of ``steps`` has its value."""
        known = {
            (name, _kind(name, _properties(step.tool)[name])): value
            for step in steps
            for name, value in step.arguments.items()
        }
        arguments = {
            name: known[key] if (key := (name, _kind(name, schema))) in known else self._value(name, schema)
            for name, schema in _properties(tool).items()
        }
        stated = [name for name in arguments if self._chance.random() < self._config.stated]
        return _Step(tool, arguments, frozenset(stated or list(arguments)[:1]))

    def _value(self, name: str, schema: Mapping[str, Any]) -> Any:
        if schema.get("type") == "array":
            return [self._value(name, schema.get("items") or {})]
        if schema.get("enum"):
            return self._chance.choice(schema["enum"])
        kind = _kind(name, schema)
        value = draw(kind, self._chance)
        return value["name" if kind == "person" else "email"] if kind in ("person", "email") else value


def _tool(name: str, does: str, takes: Mapping[str, str]) -> Tool:
    properties = {
        key: {"enum": kind.split("|")} if "|" in kind else {"type": JSON_TYPES.get(kind, "string"), "format": kind}
        for key, kind in takes.items()
    }
    schema = {"type": "object", "properties": properties, "required": list(takes)}
    return Tool(name=name, description=f"{does}.", input_schema=schema)


def _key(calls: Iterable[tuple[Tool, Mapping[str, Any]]]) -> str:
    """The same for the same calls in any order."""
    return "\n".join(sorted(json.dumps([tool.name, values], sort_keys=True) for tool, values in calls))


def _properties(tool: Tool) -> Mapping[str, Any]:
    return tool.input_schema.get("properties") or {}


def _kind(name: str, schema: Mapping[str, Any]) -> str:
    """The kind of values of an argument: its format, or else from its type and its name."""
    if schema.get("type") == "array":
        return _kind(name, schema.get("items") or {})
    if schema.get("enum"):
        return json.dumps(schema["enum"])
    given = str(schema.get("format"))
    if given in KINDS:
        return given
    parts = name.lower().split("_")
    named = (kind for kind, words in _KINDS.items() if any(word in parts or f"{word}s" in parts for word in words))
    return _TYPES.get(str(schema.get("type"))) or next(named, "topic")
