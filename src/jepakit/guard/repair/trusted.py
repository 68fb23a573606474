"""Values that may stand in place of others: those of the user's and the system's words, and of trusted outputs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from jepakit.guard.data import Trace
from jepakit.guard.energies.scope import numbers_of
from jepakit.guard.policy import Policy
from jepakit.guard.policy.running import seen_calls
from jepakit.guard.repair.plans import Plan
from jepakit.guard.traces.folding import fold
from jepakit.guard.traces.provenance import Flow, Value
from jepakit.guard.traces.shapes import kind_of, shaped_words
from jepakit.guard.traces.strict_json import JsonValue, tokens


@dataclass(frozen=True)
class Argument:
    """A value that others cannot have chosen.

    Args:
        call: id of the call that it stands in.
        tool: of the call.
        name: of the argument.
        value: itself.
    """

    call: str
    tool: tuple[str, str]
    name: str
    value: JsonValue


class TrustedValues:
    """The trusted values of a trace by kind, as `jepakit.guard.traces.shapes.kind_of` says it.

    Args:
        trace: the plan at first.
        policy: says whose outputs are trusted.
        flow: of the trace.
    """

    def __init__(self, trace: Trace, policy: Policy, flow: Flow) -> None:
        self.outputs: set[str] = set()
        self._of_outputs: list[tuple[str, str, JsonValue]] = []
        self._arguments: list[Argument] = []
        for one in seen_calls(policy, trace, flow):
            tool = one.call.server, one.call.tool
            for value, taint in zip(one.values or (), one.taints, strict=True):
                if value.reads and not taint.tainted and not taint.unread:
                    self._arguments.append(Argument(one.call.id, tool, name_of(value.pointer), value.value))
            if one.trusted and one.call.output:
                self.outputs.add(one.call.id)
            if one.trusted and one.call.output and _is_asked(one.values or ()):
                self._of_outputs += [(one.call.id, kind, word) for kind, word in shaped_words(one.call.output)]
        texts = trace.context.task, trace.context.system
        self._words = [pair for text in texts for pair in shaped_words(text)]
        self.numbers = [_plain(number) for text in texts for number in numbers_of(text)]

    def named(self, plan: Plan, call: str, pointer: str, value: JsonValue) -> JsonValue:
        """The one value of the same kind that the user or the system names, or an earlier call has there; else None.

        Values that another call of the tool has are not meant, and of two that may be meant neither is taken.
        """
        kind = kind_of(value)
        words: list[JsonValue] = list(self.numbers) if kind == "number" else []
        words += [word for shape, word in self._words if shape == kind]
        found = self._one(plan, call, pointer, value, words)
        if found is not None:
            return found
        tool, name = _tool(plan, call), name_of(pointer)
        earlier = [
            one.value
            for one in self._arguments
            if one.tool == tool and one.name == name and self._is_earlier(plan, one.call, call)
        ]
        return self._one(plan, call, pointer, value, [one for one in earlier if kind_of(one) == kind], used=False)

    def returned(self, plan: Plan, call: str, pointer: str, value: JsonValue) -> JsonValue:
        """The one value of the same kind that earlier trusted outputs hold; None: there is none, or several.

        Of these only the outputs of calls that were made with a value of the user's words.
        """
        kind = kind_of(value)
        words = [
            word for source, shape, word in self._of_outputs if shape == kind and self._is_earlier(plan, source, call)
        ]
        return self._one(plan, call, pointer, value, words)

    def _one(
        self, plan: Plan, call: str, pointer: str, value: JsonValue, words: Iterable[JsonValue], *, used: bool = True
    ) -> JsonValue:
        taken = {_key(value)}
        if used:
            taken |= {_key(one) for one in _used(plan, call, name_of(pointer))}
        left = {_key(word): word for word in words if _key(word) not in taken}
        return next(iter(left.values())) if len(left) == 1 else None

    def _is_earlier(self, plan: Plan, source: str, call: str) -> bool:
        return source in plan.place and plan.place[source] < plan.place[call] and source not in plan.changed


def name_of(pointer: str) -> str:
    """The last key that leads to an argument; places in lists are none."""
    return next((token for token in reversed(tokens(pointer)) if not token.isdigit()), "")


def _is_asked(values: Iterable[Value]) -> bool:
    return any(read.origin.source == "user" and read.share >= 1.0 for value in values for read in value.reads)


def _used(plan: Plan, call: str, name: str) -> Iterator[JsonValue]:
    """What the other calls of the tool, and the call itself in other places, have in arguments of the name."""
    tool = _tool(plan, call)
    for one, values in zip(plan.trace.calls, plan.flow.values, strict=True):
        if (one.server, one.tool) == tool:
            yield from (value.value for value in values or () if name_of(value.pointer) == name)


def _tool(plan: Plan, call: str) -> tuple[str, str]:
    one = plan.trace.calls[plan.place[call]]
    return one.server, one.tool


def _key(value: JsonValue) -> str:
    return fold(value).text if isinstance(value, str) else repr(value)


def _plain(number: object) -> int | float:
    text = str(number)
    return float(text) if "." in text else int(text)
