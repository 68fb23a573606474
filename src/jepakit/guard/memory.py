"""What a model has computed before: embeddings of contexts, and scores of the calls of runs that go on.

Several threads may use it. A copy of a model begins with nothing: it may get other weights.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from itertools import takewhile
from threading import Lock
from typing import Any, Generic, TypeVar

from torch import Tensor

from jepakit.guard.data import Trace
from jepakit.guard.policy import Policy
from jepakit.guard.policy.running import SeenCall
from jepakit.guard.scorer import CallScore
from jepakit.guard.traces.provenance import Flow

T = TypeVar("T")
#: Runs, and contexts, that are remembered.
_RUNS, _CONTEXTS = 64, 256
_Key = tuple[str, int, int]


@dataclass(frozen=True)
class ScoredRun:
    """The calls of a run so far.

    Args:
        scores: of each.
        past: what `jepakit.guard.encoder.ExecutionEncoder.extend` needs of them.
        seen: what the policy sees of them.
    """

    scores: tuple[CallScore, ...] = ()
    past: tuple[Tensor, ...] = ()
    seen: tuple[SeenCall, ...] = ()

    def first(self, count: int) -> ScoredRun:
        """The first of the calls."""
        return ScoredRun(self.scores[:count], tuple(part[:count] for part in self.past), self.seen[:count])


class ScoredRuns:
    """The last runs, by their context, policy and the values of their calls.

    A policy is the same where it is the same object, and a call where its values are and its other facts are equal; a
    trace with edges of its own is not remembered.
    """

    def __init__(self) -> None:
        self._runs: OrderedDict[_Key, tuple[Policy, tuple[Any, ...], ScoredRun]] = OrderedDict()
        self._lock = Lock()

    def __deepcopy__(self, memo: object) -> ScoredRuns:
        return ScoredRuns()

    def take(self, context: str, policy: Policy, trace: Trace, flow: Flow) -> ScoredRun:
        """The calls of a trace that were scored before, at most all but the last; ``context``: its context as text."""
        if trace.edges:
            return ScoredRun()
        with self._lock:
            _, facts, run = self._runs.get(_key(context, policy, flow), (policy, (), ScoredRun()))
        pairs = zip(facts, _facts(trace, flow), strict=False)
        count = sum(1 for _ in takewhile(lambda pair: _same(*pair), pairs))
        count = min(count, len(trace.calls) - 1)
        return run.first(count) if count else ScoredRun()

    def put(self, context: str, policy: Policy, trace: Trace, flow: Flow, run: ScoredRun) -> ScoredRun:
        """Remembers a run, and gives it back."""
        if not trace.edges:
            with self._lock:
                # Policy and values are held: while they are here, no other objects have their identity.
                key = _key(context, policy, flow)
                self._runs[key] = policy, _facts(trace, flow), run
                self._runs.move_to_end(key)
                while len(self._runs) > _RUNS:
                    self._runs.popitem(last=False)
        return run


class KnownContexts(Generic[T]):
    """What was computed of the last contexts, by their text."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, T] = OrderedDict()
        self._lock = Lock()

    def __deepcopy__(self, memo: object) -> KnownContexts[T]:
        return KnownContexts()

    def get(self, context: str, compute: Callable[[str], T]) -> T:
        """What is computed of a context, now if it is not known."""
        with self._lock:
            known = self._known.get(context)
        if known is None:
            known = compute(context)
            with self._lock:
                self._known[context] = known
                if len(self._known) > _CONTEXTS:
                    self._known.popitem(last=False)
        return known


def _key(context: str, policy: Policy, flow: Flow) -> _Key:
    return context, id(policy), id(flow.values[0])


def _facts(trace: Trace, flow: Flow) -> tuple[Any, ...]:
    return tuple(
        (values, call.id, call.tool, call.server, call.tier, call.volume, call.sensitivity)
        for values, call in zip(flow.values, trace.calls, strict=True)
    )


def _same(before: tuple[Any, ...], now: tuple[Any, ...]) -> bool:
    return before[0] is now[0] and before[1:] == now[1:]
