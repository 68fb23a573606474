"""What is taken from a caller who is not trusted."""

from __future__ import annotations

from jepakit.guard.data import Trace


def untrusted(trace: Trace, *, role: str | None) -> Trace:
    """A trace without what could make a verdict milder and that its sender may have made up.

    Gone are the role, the policy and the session's facts; of each call where its values come from, what made the agent
    call it, how much it says to read or change, and its label. All of this is derived, or from the configuration.

    Args:
        trace: as it was sent.
        role: of the user, from the configuration.
    """
    context = trace.context.model_copy(update={"role": role, "policy": None, "session": {}})
    nothing = {"origins": {}, "tier": None, "volume": None, "sensitivity": None, "label": None}
    calls = tuple(call.model_copy(update=nothing) for call in trace.calls)
    return Trace(id=trace.id, context=context, calls=calls)
