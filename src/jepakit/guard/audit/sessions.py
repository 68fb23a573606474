"""Runs that go on: what earlier calls have shown is not looked for again at every call."""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from jepakit.guard.audit.secrets import SecretRules, Secrets, Sent, sent_texts
from jepakit.guard.data import Call, Context, Edge, Trace
from jepakit.guard.policy import Policy
from jepakit.guard.policy.running import Running, SeenCall
from jepakit.guard.traces.provenance import Sources, Value

Key = tuple[str, str, str, str]


@dataclass(frozen=True)
class Step:
    """A call that a run has come to.

    Args:
        seen: what the policy sees of it.
        sent: the secrets in what it sends.
    """

    seen: SeenCall
    sent: Sent


class Session:
    """A run up to a call.

    Args:
        policy: what is allowed.
        rules: what is a secret.
        context: of the run.
        edges: data flow that the trace gives.

    Attributes:
        calls: so far.
        readable: the same, without the arguments of those whose arguments are not looked at.
        values: of their arguments.
        size: characters of all texts.
    """

    def __init__(self, policy: Policy, rules: SecretRules, context: Context, edges: Sequence[Edge] = ()) -> None:
        self.context = context
        self.calls: list[Call] = []
        self.readable: list[Call] = []
        self.values: list[tuple[Value, ...] | None] = []
        self.size = len(context.task) + len(context.system)
        self._sources, self._running = Sources(), Running(policy, context, edges)
        self._sources.add("user", context.task)
        self._sources.add("system", context.system)
        self._secrets = Secrets(rules, context.task)
        self._secrets.read(context.system)
        if context.session:
            self._secrets.read(json.dumps(context.session, ensure_ascii=False))
        self._next: Step | None = None

    def copy(self) -> Session:
        """The same run up to here, which goes on by itself."""
        other = Session(self._running.policy, self._secrets.rules, Context())
        other.context, other.size = self.context, self.size
        other.calls, other.readable, other.values = [*self.calls], [*self.readable], [*self.values]
        other._sources, other._running = self._sources.copy(), self._running.copy()
        other._secrets = self._secrets.copy()
        return other

    def see(self, call: Call) -> Step:
        """The next call, before it is made; nothing changes."""
        seen = self._running.see(call, self._sources.values(call))
        self._next = Step(seen, self._secrets.found_in(sent_texts(seen)))
        return self._next

    def add(self, call: Call, readable: Callable[[Call], Call]) -> Step:
        """The call is made; ``readable`` takes from it what is not looked at."""
        step = self._next
        if step is not None and _same(step.seen.call.model_copy(update=_results(call)), call):
            step = replace(step, seen=replace(step.seen, call=call))
        else:
            step = self.see(readable(call))
        self._next = None
        self._running.add(step.seen)
        self._secrets.add(step.sent)
        if call.output:
            self._sources.add("output", call.output, call.id)
            self._secrets.read(call.output)
        self.calls.append(call)
        self.readable.append(step.seen.call)
        self.values.append(step.seen.values)
        self.size += len(call.output or "")
        return step

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
        self._total = 0

    def take(self, history: Trace) -> Session | None:
        """The session that has seen the beginning of ``history``; None where there is none. It is taken out."""
        with self._lock:
            session = self._held.pop(_key(history), None)
            self._total -= session.size if session is not None else 0
        return session if session is not None and session.begins(history) else None

    def put(self, history: Trace, session: Session) -> None:
        """Keeps a session; the oldest ones make room."""
        key = _key(history)
        with self._lock:
            replaced = self._held.pop(key, None)
            self._held[key] = session
            self._total += session.size - (replaced.size if replaced is not None else 0)
            while len(self._held) > self._most or self._total > self._size:
                self._total -= self._held.popitem(last=False)[1].size


def _key(history: Trace) -> Key:
    first = history.calls[0].id if history.calls else ""
    return history.id, history.context.task, history.context.system, first


def _same(one: Call, other: Call) -> bool:
    return one is other or one == other


def _results(call: Call) -> dict[str, str | None]:
    """What a call has that it had not before it was made."""
    return {"output": call.output, "error": call.error}
