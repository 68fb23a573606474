"""Labelled runs: what a guard learns from, without copies, with their groups for held-out numbers."""

from __future__ import annotations

import gc
import json
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from jepakit.errors import DataError
from jepakit.guard.data import Trace
from jepakit.guard.traces.provenance import Flow, Shared, data_flow
from jepakit.progress import tracked

NO_ATTACK = ""
"""The family of a run without an attack."""

#: Characters of texts that are kept for the next run.
_KEPT = 4 << 20


@dataclass(frozen=True)
class LabelledRuns:
    """Runs of agents with labels of their calls; R runs, C calls.

    Args:
        traces: the runs, ``[R]``.
        flows: their data flow.
        group: the agent of each run, whose tools and tasks others do not share: ``about.suite`` or ``about.family``, or
            else its tools.
        family: the kind of attack in it, ``about.attack``; `NO_ATTACK` for none.
        goal: what the attack of each run wants, ``about.injection_task_id``; many runs share one.
        task: what the user of each run wants.
        run: of each call, ``[C]``.
        malicious: whether a call serves an attack, ``[C]``.
    """

    traces: tuple[Trace, ...]
    flows: tuple[Flow, ...]
    group: NDArray[np.str_]
    family: NDArray[np.str_]
    goal: NDArray[np.str_]
    task: NDArray[np.str_]
    run: NDArray[np.int64]
    malicious: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.traces)

    @property
    def attacked(self) -> NDArray[np.bool_]:
        """Runs with a malicious call in which the attack succeeded, ``[R]``."""
        succeeded = np.array([trace.label == "malicious" for trace in self.traces], bool)
        return succeeded & (np.bincount(self.run, self.malicious, minlength=len(self)) > 0)

    @property
    def benign(self) -> NDArray[np.bool_]:
        """Runs without any attack, ``[R]``."""
        return np.array([trace.label != "malicious" for trace in self.traces], bool) & (self.family == NO_ATTACK)

    def select(self, chosen: NDArray[np.bool_]) -> LabelledRuns:
        """Some of the runs, ``[R]`` bool."""
        places = np.flatnonzero(chosen)
        number = np.full(len(self), -1)
        number[places] = np.arange(len(places))
        calls = chosen[self.run]
        return LabelledRuns(
            tuple(self.traces[place] for place in places),
            tuple(self.flows[place] for place in places),
            self.group[places],
            self.family[places],
            self.goal[places],
            self.task[places],
            number[self.run[calls]],
            self.malicious[calls],
        )

    def highest(self, scores: NDArray[np.floating], nothing: float = -np.inf) -> NDArray[np.float64]:
        """The highest score of the calls of each run, ``[C] -> [R]``; ``nothing`` for a run without calls."""
        highest = np.full(len(self), nothing)
        np.maximum.at(highest, self.run, scores)
        return highest


def labelled_runs(traces: Iterable[Trace]) -> LabelledRuns:
    """Runs with a label, each once: two are the same if they have one task, one attack and the same calls.

    Raises:
        DataError: none of them has a label.
    """
    with _without_collector():
        kept: dict[str, Trace] = {}
        for trace in tracked(traces, "reading", unit="runs"):
            if trace.label is not None and trace.calls:
                kept.setdefault(_identity(trace), trace)
        if not kept:
            raise DataError("no labelled run", field="traces", expected="traces with a label and with calls")
        runs = tuple(kept.values())
        flows = _flows(runs)
    calls = [(number, call.label == "malicious") for number, trace in enumerate(runs) for call in trace.calls]
    return LabelledRuns(
        runs,
        flows,
        _texts([_group(trace) for trace in runs]),
        _texts([str(trace.about.get("attack") or NO_ATTACK) for trace in runs]),
        _texts([json.dumps([_group(trace), trace.about.get("injection_task_id")]) for trace in runs]),
        _texts([json.dumps([_group(trace), trace.context.task[:200]]) for trace in runs]),
        np.array([number for number, _ in calls], np.int64),
        np.array([malicious for _, malicious in calls], bool),
    )


@contextmanager
def _without_collector() -> Generator[None]:
    """All objects that are made inside are kept: looking for garbage among them takes longer than making them."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _flows(runs: Sequence[Trace]) -> tuple[Flow, ...]:
    """The data flow of each run; those of one task, which read the same, one after another."""
    shared = Shared(_KEPT)
    order = sorted(range(len(runs)), key=lambda number: (_group(runs[number]), runs[number].context.task))
    flows = {number: data_flow(runs[number], shared) for number in tracked(order, "following data", unit="runs")}
    return tuple(flows[number] for number in range(len(runs)))


def _identity(trace: Trace) -> str:
    calls = [(call.server, call.tool, call.arguments, call.output, call.error, call.label) for call in trace.calls]
    return json.dumps([trace.label, trace.context.task, trace.about.get("attack"), calls], sort_keys=True)


def _group(trace: Trace) -> str:
    tools = sorted({(tool.server, tool.name) for tool in trace.context.tools})
    return str(trace.about.get("suite") or trace.about.get("family") or json.dumps(tools))


def _texts(values: Sequence[str]) -> NDArray[np.str_]:
    return np.array(values, np.str_) if values else np.empty(0, "U1")
