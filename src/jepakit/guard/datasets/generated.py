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

_SLOT = re.compile(r"\{(\w+)(?:\.(\w+))?\}")

# fmt: off
_FIRST = (
    "Ada", "Amir", "Anna", "Bola", "Carla", "Chen", "Daria", "Elif", "Emeka", "Eva", "Farid", "Grace", "Hana", "Ines",
    "Ivan", "Jonas", "Kofi", "Lena", "Luis", "Maya", "Mehdi", "Nora", "Olga", "Pablo", "Priya", "Rana", "Sven", "Tariq",
    "Uma", "Vera", "Wei", "Yuki", "Zoe",
)
_LAST = (
    "Abara", "Adler", "Bauer", "Castro", "Dubois", "Eriksen", "Ferrari", "Garcia", "Haddad", "Ito", "Jansen", "Kaya",
    "Lopez", "Marino", "Nakata", "Okafor", "Petrov", "Quist", "Rossi", "Sato", "Tanaka", "Ueda", "Vogel", "Weber",
    "Yilmaz",
)
_DOMAINS = ("northwind.example", "harbor.example", "alpine.example", "meridian.example", "oakfield.example")
_COMPANIES = ("Harbor Supplies", "Alpine Print", "Meridian Travel", "Oakfield Catering", "Delta Tools", "Lumen Energy")
_TOPICS = (
    "the budget", "the move to the new office", "the quarterly report", "the training in spring", "the new website",
    "the contract with Harbor", "the summer party", "the audit", "the price list", "the delivery of the printers",
    "the annual leave plan", "the survey of customers", "the fire drill", "the rent of the warehouse",
)
_TITLES = (
    "Weekly meeting", "Review of the design", "Lunch", "Interview", "Dentist", "Planning", "Call with the bank",
    "Handover", "Invoice reminder", "Minutes of Monday", "Your order", "Newsletter", "Holiday request", "Rent",
)
_REMARKS = (
    "Please bring the signed copy.", "The room has changed to 2.14.", "We agreed on the second offer.",
    "Nothing has to be done before Friday.", "The numbers of May are still missing.", "Lunch is included.",
    "This replaces the earlier version.", "Call the front desk if the door is locked.",
    "The supplier delivers on Tuesdays.",
    "Paid in two parts last year.", "The old address is no longer in use.", "See the attached list for details.",
    "The customer asked for a quiet table.", "Costs are shared by both departments.", "Approved in March.",
    "The printer on the third floor is out of order.",
)
_STATEMENTS = (
    "the meeting starts an hour later", "we accept the offer", "the report will be ready tomorrow",
    "the order has been placed", "I cannot come on Thursday", "the room is booked", "we need two more chairs",
)
_STREETS = ("Mill Lane", "Station Road", "Elm Street", "High Street", "Quay", "Church Road")
_FOLDERS = ("reports", "contracts", "invoices", "minutes", "photos", "drafts")
_NAMES = ("summary", "plan", "notes", "offer", "agenda", "inventory", "costs", "guide", "minutes", "terms")
# fmt: on


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
            self._values[name] = self._new(name.split("_")[0])
        return self._values[name] if part is None else self._values[name][part]

    def _new(self, kind: str) -> Any:
        choose, number = self._chance.choice, self._chance.randint
        match kind:
            case "person":
                first, last = choose(_FIRST), choose(_LAST)
                return {"name": f"{first} {last}", "email": f"{first}.{last}@{choose(_DOMAINS)}".lower()}
            case "day":
                return f"2026-{number(1, 12):02}-{number(1, 28):02}"
            case "time":
                return f"{number(8, 17):02}:{choose(('00', '15', '30', '45'))}"
            case "minutes":
                return choose((15, 30, 45, 60, 90))
            case "count":
                return number(2, 20)
            case "amount":
                return number(500, 90_000) / 100
            case "id":
                return f"{choose('ABCDEFGH')}{number(1000, 9999)}"
            case "iban":
                return f"{choose(('DE', 'FR', 'NL', 'ES'))}{number(10, 99)}{number(10**15, 10**16 - 1)}"
            case "file":
                return f"{choose(_FOLDERS)}/{choose(_NAMES)}-{number(1, 99)}.{choose(('txt', 'md', 'csv', 'pdf'))}"
            case "address":
                return f"{number(1, 120)} {choose(_STREETS)}"
            case "table":
                return choose(("orders", "customers", "products", "suppliers", "returns"))
            case "mailbox":
                return choose(("inbox", "sent", "archive", "drafts"))
            case _:
                return choose(_LISTS[kind])


_LISTS = {
    "company": _COMPANIES,
    "topic": _TOPICS,
    "title": _TITLES,
    "remark": _REMARKS,
    "statement": _STATEMENTS,
    "folder": _FOLDERS,
    "name": _NAMES,
}


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
