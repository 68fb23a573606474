"""Views of a trace: the document that governs its calls is the context, the plan of its calls the target."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from jepakit.core.packed import offsets
from jepakit.errors import DataError
from jepakit.guard.data import Call, Context, Tool, Trace
from jepakit.guard.networks.documents import Documents, documents, kind_of, size_of
from jepakit.guard.networks.hashing import Texts, hashed
from jepakit.guard.networks.words import CallTexts, ContextTexts, ToolTexts
from jepakit.guard.traces.provenance import Flow, Value, data_flow
from jepakit.guard.traces.records import records
from jepakit.guard.traces.strict_json import JsonValue, leaves

SECTIONS = ("task", "system", "policy", "role", "session", "tools")
"""Top-level keys of the document that governs an agent."""
TIERS = ("unknown", "user", "system", "output")
"""Of the trust in what a value, or a call, comes from."""
EDGES = ("itself", "an earlier call", "data, in part", "data")
"""What joins a call to those it can see."""

#: Characters of a text on either side of a value, and of a record, that count.
_AROUND, _RECORD = 80, 400
#: Earlier calls that a call sees, besides those that it has data from.
_EARLIER = 32


@dataclass(frozen=True)
class Plans:
    """Calls of plans, packed; P plans, C calls, V values of arguments, E edges.

    Args:
        ptr: the calls of each plan, ``[P + 1]`` int64, see `jepakit.core.packed`.
        tools: name and server of each call's tool.
        tier: of each call, a place in `TIERS`, ``[C]`` int64.
        scope: whether volume and sensitivity are known, log(1 + volume) / 10 and sensitivity / 5, ``[C, 4]``.
        value_ptr: the values of each call, ``[C + 1]`` int64.
        pointers: where each value stands in the arguments.
        values: each value as a text.
        kind: of each value, a place in `jepakit.guard.networks.documents.KINDS`, ``[V]`` int64.
        number: as in `Documents`, ``[V, 2]``.
        sources: the largest share of each value that stands in a text of each tier, ``[V, 4]``; of `unknown`, the rest.
        around: the text around the place where each value was read.
        records: the record of an output in which it stood.
        edges: earlier call and call, by their place among all calls, ``[2, E]`` int64, ordered by the second.
        edge_kind: a place in `EDGES`, ``[E]`` int64.
        calls: of each plan.
    """

    ptr: Tensor
    tools: Texts
    tier: Tensor
    scope: Tensor
    value_ptr: Tensor
    pointers: Texts
    values: Texts
    kind: Tensor
    number: Tensor
    sources: Tensor
    around: Texts
    records: Texts
    edges: Tensor
    edge_kind: Tensor
    calls: tuple[tuple[Call, ...], ...]


@dataclass(frozen=True)
class Contexts(Documents):
    """Documents of contexts.

    Args:
        contexts: the contexts.
    """

    contexts: tuple[Context, ...]


def governance_document(context: Context) -> dict[str, Any]:
    """The document of a context: its sections that hold something."""
    document = context.model_dump(mode="json")
    return {name: document[name] for name in SECTIONS if document[name]}


def governance(contexts: Sequence[Context]) -> Contexts:
    """The context view of each trace."""
    rows = documents([governance_document(context) for context in contexts], SECTIONS)
    parts = {part.name: getattr(rows, part.name) for part in fields(rows)}
    return Contexts(**parts, contexts=tuple(contexts))


def plans(traces: Sequence[Trace], flows: Sequence[Flow] | None = None) -> Plans:
    """The target view of each trace.

    Args:
        traces: the traces.
        flows: of each, from `data_flow`; None: derived here.
    """
    parts = [_Plan(trace, flow) for trace, flow in zip(traces, flows or map(data_flow, traces), strict=True)]
    first = offsets(torch.tensor([len(trace.calls) for trace in traces], dtype=torch.long))
    calls = [call for trace in traces for call in trace.calls]
    values = [value for part in parts for of_call in part.values for value in of_call]
    edges = [
        (source + start, target + start, kind)
        for part, start in zip(parts, first.tolist(), strict=False)
        for source, target, kind in part.edges
    ]
    joined = torch.tensor(edges, dtype=torch.long).view(-1, 3).T
    lengths = [len(of_call) for part in parts for of_call in part.values]
    return Plans(
        first,
        hashed([f"{call.server} {call.tool}".strip() for call in calls]),
        torch.tensor([TIERS.index(call.tier or "unknown") for call in calls], dtype=torch.long),
        torch.tensor([_scope(call.volume, call.sensitivity) for call in calls]).view(-1, 4),
        offsets(torch.tensor(lengths, dtype=torch.long)),
        hashed([value.pointer for value in values]),
        hashed([_as_text(value.value) for value in values]),
        torch.tensor([kind_of(value.value) for value in values], dtype=torch.long),
        torch.tensor([size_of(value.value) for value in values]).view(-1, 2),
        torch.tensor([_sources(value) for value in values]).view(-1, len(TIERS)),
        hashed([text for part in parts for text in part.around]),
        hashed([text for part in parts for text in part.records]),
        joined[:2],
        joined[2],
        tuple(trace.calls for trace in traces),
    )


class _Plan:
    """The values and edges of a trace, and the texts around the values."""

    def __init__(self, trace: Trace, flow: Flow) -> None:
        self.values = [of_call or () for of_call in flow.values]
        place = {call.id: number for number, call in enumerate(trace.calls)}
        # An edge that a trace gives may lead backwards; a call sees no later one.
        given = [(place[edge.source], place[edge.target]) for edge in trace.edges]
        data = {(source, target): "data" for source, target in given if source < target}
        for number, of_call in enumerate(self.values):
            for read in (read for value in of_call for read in value.reads if read.origin.call is not None):
                key = (place[str(read.origin.call)], number)
                if data.get(key) != "data":
                    data[key] = "data" if read.share == 1 else "data, in part"
        seen = {(source, target) for target in range(len(trace.calls)) for source in range(target - _EARLIER, target)}
        earlier = {key: "an earlier call" for key in seen if key[0] >= 0} | data
        itself = {(number, number): "itself" for number in range(len(trace.calls))}
        self.edges = sorted(
            ((source, target, EDGES.index(kind)) for (source, target), kind in (earlier | itself).items()),
            key=lambda edge: edge[1::-1],
        )
        self._texts = {"user": trace.context.task, "system": trace.context.system}
        # Several values may stand in one output.
        self._records = lru_cache(records)
        self._outputs = {call.id: call.output or "" for call in trace.calls}
        listed = [value for of_call in self.values for value in of_call]
        contexts = [self._context(value) for value in listed]
        self.around, self.records = [around for around, _ in contexts], [record for _, record in contexts]

    def _context(self, value: Value) -> tuple[str, str]:
        """The text around the first place of a value in an output, or else in the user's or the system's words."""
        placed = [read.origin for read in value.reads if read.origin.start is not None]
        origin = next((one for one in placed if one.source == "output"), placed[0] if placed else None)
        if origin is None or origin.start is None or origin.end is None:
            return "", ""
        text = self._outputs[origin.call] if origin.call is not None else self._texts[origin.source]
        around = text[max(origin.start - _AROUND, 0) : origin.end + _AROUND]
        record = "" if origin.record is None else text[slice(*self._records(text)[origin.record])][:_RECORD]
        return around, record


def context_texts(context: Context) -> ContextTexts:
    """What of a context has words in common with plans."""
    tools = (
        ToolTexts(f"{tool.server} {tool.name}".strip(), tool.description, " ".join(_properties(tool)))
        for tool in context.tools
    )
    return ContextTexts(context.task, tuple(tools))


def _properties(tool: Tool) -> Iterable[str]:
    properties = tool.input_schema.get("properties")
    return properties if isinstance(properties, dict) else ()


def call_texts(call: Call) -> CallTexts:
    """The tool and the values of a call; no values where they are too many to be read."""
    try:
        listed = leaves(call.arguments) if call.arguments else ()
    except DataError:
        listed = ()
    values = tuple((leaf.pointer, _as_text(leaf.value)) for leaf in listed)
    return CallTexts(f"{call.server} {call.tool}".strip(), values)


def _scope(volume: float | None, sensitivity: int | None) -> tuple[float, float, float, float]:
    return (
        float(volume is not None),
        size_of(volume or 0)[1],
        float(sensitivity is not None),
        (sensitivity or 0) / 5,
    )


def _sources(value: Value) -> list[float]:
    shares = dict.fromkeys(TIERS, 0.0)
    for read in value.reads:
        shares[read.origin.source] = max(shares[read.origin.source], read.share)
    shares["unknown"] = 1 - max(shares.values())
    return list(shares.values())


def _as_text(value: JsonValue) -> str:
    return value if isinstance(value, str) else "" if value in ([], {}) else repr(value)
