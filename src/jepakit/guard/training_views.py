"""Batches of labelled runs: the documents of their contexts, the plans of their calls, and the labels."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from jepakit.core import Where
from jepakit.core.distributed import own_rows
from jepakit.core.packed import offsets, positions
from jepakit.errors import DataError, require_at_least, require_within
from jepakit.guard.corrupter import ATTACKS, Corrupter
from jepakit.guard.data import Context, Trace
from jepakit.guard.datasets.labelled import LabelledRuns
from jepakit.guard.networks.hashing import Texts
from jepakit.guard.objective import Judged
from jepakit.guard.traces.provenance import Flow, data_flow
from jepakit.guard.views import governance, plans


@dataclass
class ViewConfig:
    """What is drawn.

    Args:
        corrupted: probability that a benign run is shown with an attack made by `Corrupter` in it.
        shown_tools: tools of a context that are shown at most, drawn anew each time.
        hidden_names: probability that the name of a call's tool is hidden: other agents have other tools.
        calls: the first calls of a run that are shown.
    """

    corrupted: float = 0.25
    shown_tools: int = 2
    hidden_names: float = 0.3
    calls: int = 24

    def __post_init__(self) -> None:
        require_within(self, "[0, 1]", "corrupted", "hidden_names")
        require_at_least(self, shown_tools=0, calls=1)


class RunViews:
    """``(runs, generator) -> Judged``.

    Args:
        runs: what is drawn from.
        config: how.
        train: draw attacks, tools and names; without, everything is shown as it is.
    """

    def __init__(self, runs: LabelledRuns, config: ViewConfig, *, train: bool = True) -> None:
        self.runs, self.config, self.train = runs, config, train
        benign = [trace for trace, chosen in zip(runs.traces, runs.benign, strict=True) if chosen]
        self._corrupter = _corrupter(benign) if train and config.corrupted else None

    def __len__(self) -> int:
        return len(self.runs)

    def __call__(self, indices: Tensor, generator: torch.Generator) -> Judged:
        """The views of some runs."""
        chance = random.Random(int(torch.randint(1 << 62, (), generator=generator)))
        drawn = [self._drawn(int(place), chance) for place in indices]
        traces, flows = [trace for trace, _ in drawn], [flow for _, flow in drawn]
        contexts, owner = self._contexts(traces, chance)
        calls = [call for trace in traces for call in trace.calls]
        # With several processes each encodes its share of the contexts and of the plans; labels are of the whole batch.
        own, ptr = own_rows(len(traces)), offsets(torch.tensor([len(trace.calls) for trace in traces]))
        packed = plans(traces[own], flows[own])
        if self.train and self.config.hidden_names:
            hidden = torch.rand(len(calls), generator=generator) < self.config.hidden_names
            packed = replace(packed, tools=_without(packed.tools, hidden[ptr[own.start] : ptr[own.stop]]))
        malicious = torch.tensor([call.label == "malicious" for call in calls], dtype=torch.bool)
        known = torch.tensor([call.label is not None for call in calls], dtype=torch.bool)
        context_of = torch.tensor(owner)[torch.repeat_interleave(ptr.diff())]
        benign = torch.nonzero(~malicious)[:, 0]
        where = Where(target_rows=benign, context_rows=context_of[benign])
        return Judged(
            context=governance(contexts[own_rows(len(contexts))]),
            target=packed,
            where=where,
            context_of=context_of,
            malicious=malicious,
            known=known,
        )

    def _drawn(self, place: int, chance: random.Random) -> tuple[Trace, Flow]:
        trace, flow = self.runs.traces[place], self.runs.flows[place]
        if self._corrupter is not None and self.runs.benign[place] and chance.random() < self.config.corrupted:
            corrupted = self._corrupter.corrupt(trace, chance.choice(ATTACKS), chance)
            if corrupted is not None:
                trace, flow = corrupted, data_flow(corrupted)
        if len(trace.calls) > self.config.calls:
            trace = _first(trace, self.config.calls)
            flow = Flow(flow.values[: self.config.calls], trace.edges)
        return trace, flow

    def _contexts(self, traces: list[Trace], chance: random.Random) -> tuple[list[Context], list[int]]:
        """The distinct contexts, and the place of each trace's."""
        place: dict[str, int] = {}
        contexts: list[Context] = []
        owner: list[int] = []
        for trace in traces:
            context = trace.context
            key = context.model_dump_json(exclude={"tools"})
            if key not in place:
                place[key] = len(contexts)
                contexts.append(self._shown(context, chance))
            owner.append(place[key])
        return contexts, owner

    def _shown(self, context: Context, chance: random.Random) -> Context:
        if not self.train or len(context.tools) <= self.config.shown_tools:
            return context
        shown = sorted(chance.sample(range(len(context.tools)), self.config.shown_tools))
        return context.model_copy(update={"tools": tuple(context.tools[number] for number in shown)})


def balanced(runs: LabelledRuns, per_stratum: int, seed: int) -> NDArray[np.bool_]:
    """At most so many runs of each stratum, drawn at random: ``[R]`` bool.

    A stratum is a goal and family of attacked runs, a task and family of others.
    """
    attacked = runs.attacked
    strata = np.where(attacked, runs.goal, runs.task)
    number = np.unique(np.stack([strata, runs.family, attacked.astype(strata.dtype)]), axis=1, return_inverse=True)[1]
    order = np.random.default_rng(seed).permutation(len(runs))
    order = order[np.argsort(number.ravel()[order], kind="stable")]
    sizes = torch.from_numpy(np.bincount(number.ravel()))
    chosen = np.zeros(len(runs), bool)
    chosen[order[positions(sizes).numpy() < per_stratum]] = True
    return chosen


def _corrupter(benign: list[Trace]) -> Corrupter | None:
    try:
        return Corrupter(benign)
    except DataError:
        # No benign call has arguments to corrupt.
        return None


def _first(trace: Trace, count: int) -> Trace:
    """The first calls of a trace."""
    calls = trace.calls[:count]
    kept = {call.id for call in calls}
    edges = tuple(edge for edge in trace.edges if {edge.source, edge.target} <= kept)
    return trace.model_copy(update={"calls": calls, "edges": edges})


def _without(texts: Texts, hidden: Tensor) -> Texts:
    """The texts, those that are hidden empty."""
    lengths = texts.ptr.diff()
    kept = ~torch.repeat_interleave(hidden, lengths)
    return Texts(texts.ids[kept], offsets(lengths.masked_fill(hidden, 0)))
