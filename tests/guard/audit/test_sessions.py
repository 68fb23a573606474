"""Runs are remembered within bounds, and only for the run that they are of."""

from __future__ import annotations

from jepakit.guard.audit import SecretRules
from jepakit.guard.audit.sessions import Session, Sessions
from jepakit.guard.data import Call, Context, Trace
from jepakit.guard.policy import Policy


def history(name: str, *outputs: str) -> Trace:
    calls = tuple(Call(id=f"{place}", tool="t", arguments={}, output=text) for place, text in enumerate(outputs))
    return Trace(id=name, context=Context(task=f"task of {name}"), calls=calls)


def session_of(trace: Trace) -> Session:
    session = Session(Policy(), SecretRules(), trace.context)
    for call in trace.calls:
        session.add(call, lambda one: one)
    return session


def test_a_session_is_for_histories_that_begin_with_its_calls() -> None:
    sessions, one = Sessions(4, 1000), history("a", "x", "y")
    for other, kept in (
        (one, True),
        (history("a", "x", "y", "z"), True),
        (history("a", "x"), False),
        (history("a", "x", "other"), False),
        (history("b", "x", "y"), False),
        (one.model_copy(update={"context": Context(task="task of a", role="r")}), False),
    ):
        made = session_of(one)
        sessions.put(one, made)
        assert (sessions.take(other) is made) == kept
        assert sessions.take(other) is None


def test_sessions_are_bounded_in_number_and_size() -> None:
    runs = [history(f"{number}", "x" * 100) for number in range(6)]
    for sessions, left in ((Sessions(2, 10_000), 2), (Sessions(100, 360), 3)):
        for run in (*runs, *runs):
            sessions.put(run, session_of(run))
        # The latest are kept.
        assert [sessions.take(run) is not None for run in runs] == [False] * (6 - left) + [True] * left
        # What was taken makes room.
        for run in runs[:left]:
            sessions.put(run, session_of(run))
        assert all(sessions.take(run) is not None for run in runs[:left])
    small = Sessions(2, 50)
    small.put(runs[0], session_of(runs[0]))
    assert small.take(runs[0]) is None
