"""A running agent: its calls are judged one after the other, each by what the agent has read so far."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, replace
from secrets import token_hex
from threading import RLock
from typing import Any, Literal

from jepakit.errors import DataError, require_at_least, require_choice
from jepakit.guard.audit import Auditor, Judgement
from jepakit.guard.data import Call, Context, Trace
from jepakit.guard.live.approvals import Approvals
from jepakit.guard.live.pins import Pins
from jepakit.guard.policy import Decision, Reason
from jepakit.guard.policy.schema import SEVERITY
from jepakit.guard.traces.strict_json import leaves


@dataclass(frozen=True)
class SessionLimits:
    """How much of a session is kept. A guard that forgets what an agent has read would be milder, so none forgets.

    Args:
        calls: that are kept.
        output_characters: of one output.
        characters: of all outputs, arguments and words of the user together.
        beyond: the mildest decision over all further calls, once one of these has been passed.
    """

    calls: int = 1000
    output_characters: int = 1 << 20
    characters: int = 8 << 20
    beyond: Literal["ask", "deny"] = "ask"

    def __post_init__(self) -> None:
        require_at_least(self, calls=1, output_characters=1, characters=1)
        require_choice("beyond", self.beyond, ("ask", "deny"))


class Session:
    """The calls of one agent, for any number of threads.

    What the calls are judged by comes from the configuration, or from a channel that the agent and its tools cannot
    write to: the user's words, the operator's instructions, the role. The origins and edges of data are derived, and
    never taken from who makes a call.

    Args:
        auditor: judges.
        context: the user's words so far, the role, the tools.
        approvals: makes and redeems the tokens of approvals; None: new ones, of this session.
        pins: of tools; None: tools are not pinned.
        limits: how much is kept.
    """

    def __init__(
        self,
        auditor: Auditor,
        context: Context | None = None,
        *,
        approvals: Approvals | None = None,
        pins: Pins | None = None,
        limits: SessionLimits | None = None,
    ) -> None:
        self.auditor, self.pins, self.limits = auditor, pins, limits or SessionLimits()
        self.approvals = approvals or Approvals()
        self._id = token_hex(8)
        self._context = context or Context()
        self._lock = RLock()
        self._calls: list[Call] = []
        #: Id -> place in the calls.
        self._places: dict[str, int] = {}
        #: Id -> a call that is asked about, with its digest.
        self._waiting: dict[str, tuple[Call, str]] = {}
        self._characters = len(self._context.task) + len(self._context.system)
        self._is_cut = False

    @property
    def trace(self) -> Trace:
        """The calls that were let through so far, with their outputs."""
        with self._lock:
            return Trace(id=self._id, context=self._context, calls=tuple(self._calls))

    def say(self, text: str) -> None:
        """Adds words of the user. They are trusted: no tool and no model can have written them."""
        with self._lock:
            task = f"{self._context.task}\n\n{text}" if self._context.task else text
            if self._takes(len(text)):
                self._context = self._context.model_copy(update={"task": task})

    def check(
        self,
        tool: str,
        arguments: Mapping[str, Any] | None,
        *,
        server: str = "",
        call: str | None = None,
        unreadable: str | None = None,
    ) -> Judgement:
        """Judges the next call. A call that may be carried out belongs to the session from now on.

        Args:
            tool: its name.
            arguments: what it is called with; None: not known.
            server: where the tool lives.
            call: its id; None: a new one. That of a call which was let through gets a suffix; a call that waits for an
                approval is made anew, and no approval of what it was before holds.
            unreadable: why the arguments are not known.

        Returns:
            The judgement, with the id that the call has here. A call that is asked about waits for `approve`; made once
            more without an id, it is that call.
        """
        given = None if arguments is None else dict(arguments)
        with self._lock:
            made = Call(id=self._new_id(call), tool=tool, server=server, arguments=given, arguments_error=unreadable)
            judgement = self._judge(made)
            if judgement.effective == "ask" and call is None:
                # The same call once more: one request is enough.
                made = next((one for one, digest in self._waiting.values() if digest == judgement.digest), made)
                reasons = tuple(replace(reason, call=made.id) for reason in judgement.reasons)
                judgement = replace(judgement, call=made.id, reasons=reasons)
            self._take(made, judgement)
            return judgement

    def approve(self, call: str, token: str) -> Judgement:
        """Judges a call again that was asked about, and lets it through if the token is one for it.

        What has been read meanwhile counts: a call that is denied now is not let through.

        Raises:
            DataError: no such call waits.
        """
        with self._lock:
            if call not in self._waiting:
                raise DataError("no such call waits for an approval", field="call", value=call)
            waiting, digest = self._waiting[call]
            judgement = self._judge(waiting)
            if self.approvals.redeem(token, call, digest) and judgement.decision == "ask":
                judgement = replace(judgement, effective="allow", code="")
            self._take(waiting, judgement)
            return judgement

    def finish(self, call: str, output: str | None = None, *, error: str | None = None) -> None:
        """Records what a call returned, as the agent reads it. A call that was asked about was carried out then.

        Raises:
            DataError: there is no such call, or it has a result.
        """
        with self._lock:
            if call in self._waiting:
                self._append(self._waiting.pop(call)[0])
            place = self._places.get(call)
            if place is None:
                if self._is_cut:
                    return
                raise DataError("no call of this id", field="call", value=call)
            if self._calls[place].output is not None or self._calls[place].error is not None:
                raise DataError("the call has a result already", field="call", value=call)
            # The agent reads an error as it reads an output.
            text = error if output is None else output
            kept = None if text is None else text[: self.limits.output_characters]
            self._is_cut |= kept != text
            if kept is not None and not self._takes(len(kept)):
                kept = ""
            update = {"output": kept, "error": None if error is None else (kept or "error")}
            self._calls[place] = self._calls[place].model_copy(update=update)

    def record(self, tool: str, arguments: Mapping[str, Any] | None, output: str, *, server: str = "") -> None:
        """Records a call that was carried out without being judged."""
        with self._lock:
            given = None if arguments is None else dict(arguments)
            made = Call(id=self._new_id(None), tool=tool, server=server, arguments=given)
            self._append(made)
            if made.id in self._places:
                self.finish(made.id, output)

    def _judge(self, call: Call) -> Judgement:
        judgement = self.auditor.check(call, self.trace)
        if self._is_cut:
            problem = "the session is longer than what is kept of it"
            judgement = self._raised(judgement, "session.limits", self.limits.beyond, "limit", problem)
        if self.pins is not None and (standing := self.pins.standing(call.server, call.tool)) != "pinned":
            judgement = self._raised(judgement, f"pins.{standing}", "ask", "approval", f"the tool is {standing}")
        return judgement

    def _raised(self, judgement: Judgement, rule: str, decision: Decision, code: str, problem: str) -> Judgement:
        """The judgement with a further reason, and at least the decision of that."""
        reasons = (*judgement.reasons, Reason(rule, decision, judgement.call, problem))
        if SEVERITY[decision] <= SEVERITY[judgement.decision]:
            return replace(judgement, reasons=reasons)
        effective = decision if self.auditor.mode == "enforce" else "allow"
        return replace(judgement, decision=decision, effective=effective, code=code, reasons=reasons)

    def _take(self, call: Call, judgement: Judgement) -> None:
        """Keeps a call after its judgement."""
        self._waiting.pop(call.id, None)
        if judgement.effective == "allow":
            self._append(call)
        elif judgement.effective == "ask":
            self._waiting[call.id] = call.model_copy(deep=True), judgement.digest
            if len(self._waiting) > self.limits.calls:
                del self._waiting[next(iter(self._waiting))]
                self._is_cut = True

    def _append(self, call: Call) -> None:
        kept = _kept(call)
        if len(self._calls) >= self.limits.calls or not self._takes(_size(kept)):
            self._is_cut = True
            return
        self._places[call.id] = len(self._calls)
        self._calls.append(kept)

    def _takes(self, characters: int) -> bool:
        """Whether there is room for a text, which is then taken."""
        if self._characters + characters > self.limits.characters:
            self._is_cut = True
            return False
        self._characters += characters
        return True

    def _new_id(self, wanted: str | None) -> str:
        # An approval names a call by its id: one that cannot be guessed is none that a later session has too.
        new = wanted or token_hex(8)
        while new in self._places or (wanted is None and new in self._waiting):
            new = f"{wanted or ''}#{token_hex(4)}"
        return new


def _kept(call: Call) -> Call:
    """A copy of a call, which its maker cannot change; without arguments that nobody can read."""
    try:
        leaves(call.arguments)
    except DataError as fault:
        return call.model_copy(update={"arguments": None, "arguments_error": fault.problem})
    return call.model_copy(update={"arguments": deepcopy(call.arguments)})


def _size(call: Call) -> int:
    """Characters of a call's arguments, about."""
    listed = leaves(call.arguments) if call.arguments else ()
    return sum(len(one.pointer) + (len(one.value) if isinstance(one.value, str) else 8) for one in listed)
