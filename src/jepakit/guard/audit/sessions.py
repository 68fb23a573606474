"""Runs that go on: what earlier calls have shown is not looked for again at every call."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import replace

from jepakit.guard.data import Call, Context, Edge, Trace
from jepakit.guard.policy import Policy
from jepakit.guard.policy.running import Running, SeenCall
from jepakit.guard.traces.provenance import Sources, Value

Key = tuple[str, str, str, str]


class Session:
    """A run up to a call.

    Args:
        policy: what is allowed.
        context: of the run.
        edges: data flow that the trace gives.

    Attributes:
        calls: so far.
        readable: the same, without the arguments of those whose arguments are not looked at.
        values: of their arguments.
        size: characters of all texts.
    """

    def __init__(self, policy: Policy, context: Context, edges: Sequence[Edge] = ()) -> None:
        self.context = context
        self.calls: list[Call] = []
        self.readable: list[Call] = []
        self.values: list[tuple[Value, ...] | None] = []
        self.size = len(context.task) + len(context.system)
        self._sources, self._running = Sources(), Running(policy, context, edges)
        self._sources.add("user", context.task)
        self._sources.add("system", context.system)
        self._next: SeenCall | None = None

    def copy(self) -> Session:
        """The same run up to here, which goes on by itself."""
        other = Session(self._running.policy, Context())
        other.context, other.size = self.context, self.size
        other.calls, other.readable, other.values = [*self.calls], [*self.readable], [*self.values]
        other._sources, other._running = self._sources.copy(), self._running.copy()
        return other

    def see(self, call: Call) -> SeenCall:
        """The next call, before it is made; nothing changes."""
        self._next = self._running.see(call, self._sources.values(call))
        return self._next

    def add(self, call: Call, readable: Callable[[Call], Call]) -> SeenCall:
        """The call is made; ``readable`` takes from it what is not looked at."""
        known = self._next
        if known is not None and known.call.model_copy(update={"output": call.output, "error": call.error}) == call:
            seen = replace(known, call=call)
        else:
            seen = self.see(readable(call))
        self._next = None
        self._running.add(seen)
        if call.output:
            self._sources.add("output", call.output, call.id)
        self.calls.append(call)
        self.readable.append(seen.call)
        self.values.append(seen.values)
        self.size += len(call.output or "")
        return seen

    def begins(self, history: Trace) -> bool:
        """Whether it is a run that ``history`` goes on with."""
        same = self.context is history.context or self.context == history.context
        return same and len(self.calls) <= len(history.calls) and all(map(_same, self.calls, history.calls))


class Sessions:
    """The latest runs.

    A session is with one check at a time: another check of the same run looks at its history anew.

    Args:
        most: sessions.
        size: characters of all their texts.
    """

    def __init__(self, most: int, size: int) -> None:
        self._most, self._size = most, size
        self._lock = threading.Lock()
        self._held: OrderedDict[Key, Session] = OrderedDict()

    def take(self, history: Trace) -> Session | None:
        """The session that has seen the beginning of ``history``; None where there is none. It is taken out."""
        with self._lock:
            session = self._held.pop(_key(history), None)
        return session if session is not None and session.begins(history) else None

    def put(self, history: Trace, session: Session) -> None:
        """Keeps a session; the oldest ones make room."""
        with self._lock:
            self._held[_key(history)] = session
            self._held.move_to_end(_key(history))
            while len(self._held) > self._most or sum(one.size for one in self._held.values()) > self._size:
                self._held.popitem(last=False)


def _key(history: Trace) -> Key:
    first = history.calls[0].id if history.calls else ""
    return history.id, history.context.task, history.context.system, first


def _same(one: Call, other: Call) -> bool:
    return one is other or one == other
