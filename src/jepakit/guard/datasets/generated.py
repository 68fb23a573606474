"""Generated traces: small tasks in five families of tools, for a first try and for tests.

They are made of a few dozen sentences. A model that is trained on them shows that everything runs; it is none to
protect an agent with.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Any, cast

import yaml

from jepakit.errors import require_at_least
from jepakit.guard.data import Call, Context, Tool, Trace
from jepakit.guard.datasets.values import draw

_SLOT = re.compile(r"\{(\w+)(?:\.(\w+))?\}")


@dataclass(frozen=True)
class GeneratedConfig:
    """How many traces are generated.

    Args:
        traces: their number.
        seed: of all choices.
    """

    traces: int = 1000
    seed: int = 0

    def __post_init__(self) -> None:
        require_at_least(self, traces=1)


def generated_traces(config: GeneratedConfig | None = None) -> Iterator[Trace]:
    """Benign traces; the same ones for the same configuration.

    An agent has the tools of the task's family and of one or two others. ``about`` has the family and, for splits, the
    number of the task's kind.
    """
    config = config or GeneratedConfig()
    chance = random.Random(config.seed)
    families = _families()
    kinds = [(family, number) for family, parts in families.items() for number in range(len(parts["tasks"]))]
    for number in range(config.traces):
        family, kind = kinds[number % len(kinds)] if number < len(kinds) else chance.choice(kinds)
        others = chance.sample(sorted(families.keys() - {family}), chance.randint(1, 2))
        yield _trace(f"generated/{number}", family, kind, others, chance)


def _trace(name: str, family: str, kind: int, others: list[str], chance: random.Random) -> Trace:
    families, slots = _families(), Slots(chance)
    task = families[family]["tasks"][kind]
    calls = []
    for number, step in enumerate(task["calls"]):
        (tool, arguments), *_ = ((key, value) for key, value in step.items() if key != "output")
        output = slots.fill(step["output"])
        text = output if isinstance(output, str) else json.dumps(output, indent=chance.choice((None, 1)))
        calls.append(Call(id=str(number), tool=tool, server=family, arguments=slots.fill(arguments), output=text))
    tools = tuple(tool for one in (family, *others) for tool in _tools(one))
    context = Context(
        task=slots.fill(chance.choice(task["ask"])), role=chance.choice(families[family]["roles"]), tools=tools
    )
    return Trace(
        id=name,
        context=context,
        calls=tuple(calls),
        label="benign",
        about={"family": family, "task": f"{family}/{kind}"},
    )


class Slots:
    """Fills the slots of templates; a slot has one value.

    Args:
        chance: where values come from.
    """

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._values: dict[str, Any] = {}

    def fill(self, template: Any) -> Any:
        """The template with every slot of its texts filled."""
        if isinstance(template, dict):
            return {key: self.fill(value) for key, value in cast("dict[str, Any]", template).items()}
        if isinstance(template, list):
            return [self.fill(value) for value in cast("list[Any]", template)]
        if not isinstance(template, str):
            return template
        whole = _SLOT.fullmatch(template)
        return self._of(whole) if whole else _SLOT.sub(lambda slot: str(self._of(slot)), template)

    def _of(self, slot: re.Match[str]) -> Any:
        name, part = slot.groups()
        if name not in self._values:
            self._values[name] = draw(name.split("_")[0], self._chance)
        return self._values[name] if part is None else self._values[name][part]


@lru_cache(maxsize=1)
def _families() -> Mapping[str, Any]:
    return yaml.safe_load(files("jepakit.guard.datasets").joinpath("generated.yaml").read_text("utf-8"))


@lru_cache
def _tools(family: str) -> tuple[Tool, ...]:
    return tuple(
        Tool(
            name=name,
            server=family,
            description=tool["description"],
            input_schema={
                "type": "object",
                "properties": {key: {"type": kind} for key, kind in tool["parameters"].items()},
                "required": list(tool["parameters"]),
            },
        )
        for name, tool in _families()[family]["tools"].items()
    )
