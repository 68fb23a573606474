"""The guard over HTTP: JSON in, JSON out.

::

    POST   /v1/audit          {"trace", "format", "call"} -> the judgement of each call, or of ``call`` after the trace
    POST   /v1/repair         {"trace", "format", "carried_out"} -> the plan with the harm taken out
    POST   /v1/check          {"session", "tool", "arguments", "server", "call"} -> the judgement of the next call
    POST   /v1/finish         {"session", "call", "output", "error", ...} what the call returned
    POST   /v1/say            {"session", "text"} words of the user; only with a token
    DELETE /v1/sessions/{id}  the session has ended
    GET    /health            the policy's name, the mode, the sessions

`jepakit.http` adds errors, limits and ``/metrics``. A body with a key that stands twice, a number that is not finite,
or a text that is not Unicode is refused with 422, one that is too long with 413.

Who calls the service is an application, not its agent. What could make a verdict milder (a role, where a value comes
from) is taken from the configuration alone, unless the service has a token and is told to trust those who know it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Path, Request, Response
from fastapi.concurrency import run_in_threadpool

from jepakit.errors import ConfigError, DataError, require_at_least
from jepakit.guard.audit import Auditor, Judgement
from jepakit.guard.data import Context, Trace
from jepakit.guard.live import Session, SessionLimits
from jepakit.guard.live.channels import untrusted
from jepakit.guard.live.sessions import Sessions
from jepakit.guard.repair import repair
from jepakit.guard.serving.schema import (
    AuditReply,
    AuditRequest,
    CheckRequest,
    DoneReply,
    FinishRequest,
    JudgementReply,
    RepairReply,
    RepairRequest,
    SayRequest,
)
from jepakit.guard.sources import trace_from
from jepakit.guard.traces.strict_json import JsonLimits, parse
from jepakit.http import ServiceLimits, json_response, make_service

#: Bytes of a body that is read faster than another thread is woken.
_SHORT = 1 << 14


@dataclass(frozen=True)
class ServingConfig:
    """How the service judges, and whom it trusts.

    Args:
        role: of the users of its callers.
        token: required of every request; None: none is, and only this machine may ask.
        trusts_callers: roles, tiers, origins and edges of traces are taken as they are sent; needs a token.
        details: judgements have their reasons and energies. They name rules: nothing of them may reach the agent.
        body_bytes: of a request.
        leaves: values in a request.
        sessions: running at the same time.
        limits: of each of them.
    """

    role: str | None = None
    token: str | None = field(default=None, repr=False)
    trusts_callers: bool = False
    details: bool = False
    body_bytes: int = 8 << 20
    leaves: int = 100_000
    sessions: int = 256
    limits: SessionLimits = field(default_factory=lambda: SessionLimits(characters=4 << 20))

    def __post_init__(self) -> None:
        require_at_least(self, body_bytes=1, leaves=1, sessions=1)
        if self.trusts_callers and self.token is None:
            raise ConfigError("trusts_callers", True, "a token: without one, every program here could be the caller")


def make_app(auditor: Auditor, config: ServingConfig | None = None) -> FastAPI:
    """The application; `jepakit.http.run_service` runs it.

    Args:
        auditor: judges.
        config: see there.

    Raises:
        ConfigError: the token is blank.
    """
    config = config or ServingConfig()
    service = _Service(auditor, config)
    app = make_service(
        "jepakit guard", service.health, token=config.token, limits=ServiceLimits(body_bytes=config.body_bytes)
    )
    strict = [Depends(_strict(JsonLimits(config.body_bytes, leaves=config.leaves)))]
    for path, function, reply in (
        ("/v1/audit", service.audit, AuditReply),
        ("/v1/repair", service.repair, RepairReply),
        ("/v1/check", service.check, JudgementReply),
        ("/v1/finish", service.finish, DoneReply),
        ("/v1/say", service.say, DoneReply),
    ):
        app.add_api_route(path, function, methods=["POST"], responses={200: {"model": reply}}, dependencies=strict)
    ended: dict[int | str, Any] = {200: {"model": DoneReply}}
    app.add_api_route("/v1/sessions/{session}", service.end, methods=["DELETE"], responses=ended)
    return app


class _Service:
    def __init__(self, auditor: Auditor, config: ServingConfig) -> None:
        self._auditor, self._config = auditor, config
        self._sessions = Sessions(self._session, most=config.sessions)

    def health(self) -> dict[str, object]:
        return {
            "policy": self._auditor.policy.name,
            "mode": self._auditor.mode,
            "model": self._auditor.scorer is not None,
            "sessions": len(self._sessions),
        }

    def audit(self, request: AuditRequest) -> Response:
        """The judgement of every call of a trace, each by what stands before it; or of one call after the trace."""
        trace = self._trace(request.trace, request.format)
        if request.call is None:
            return json_response({"judgements": [self._shown(one) for one in self._auditor.audit(trace)]})
        last = self._trace({"calls": [request.call]}, "trace").calls[0]
        return json_response({"judgements": [self._shown(self._auditor.check(last, trace))]})

    def repair(self, request: RepairRequest) -> Response:
        """The plan with the harm taken out, and what was changed."""
        trace = self._trace(request.trace, request.format)
        if len(trace.calls) > self._auditor.limits.calls:
            raise DataError("too many calls", field="trace", expected=f"at most {self._auditor.limits.calls}")
        repaired = repair(
            trace,
            self._auditor.policy,
            scorer=self._auditor.scorer,
            thresholds=self._auditor.thresholds,
            carried_out=min(request.carried_out, len(trace.calls)),
        )
        content = repaired.as_json()
        if not self._config.details:
            content["edits"] = [{**edit, "rules": []} for edit in content["edits"]]
        return json_response(content)

    def check(self, request: CheckRequest) -> Response:
        """The judgement of the next call of a session."""
        session = self._sessions.get(request.session)
        judgement = session.check(request.tool, request.arguments, server=request.server, call=request.call)
        return json_response(self._shown(judgement))

    def finish(self, request: FinishRequest) -> Response:
        """Records what a call returned, also of one that was not judged here, if its tool is named."""
        session = self._sessions.get(request.session)
        try:
            session.finish(request.call, request.output, error=request.error)
        except DataError:
            if request.tool is None:
                raise
            read = request.output if request.output is not None else request.error or ""
            session.record(request.tool, request.arguments, read, server=request.server)
        return json_response({})

    def say(self, request: SayRequest) -> Response:
        """Adds words of the user to a session."""
        if self._config.token is None:
            # The agent itself may be able to ask a server of this machine.
            raise ConfigError("token", None, "a token of the service: words of the user are trusted")
        self._sessions.get(request.session).say(request.text)
        return json_response({})

    def end(self, session: Annotated[str, Path(min_length=1, max_length=200)]) -> Response:
        """Ends a session; its id is not used again."""
        self._sessions.end(session)
        return json_response({})

    def _session(self) -> Session:
        return Session(self._auditor, Context(role=self._config.role), limits=self._config.limits)

    def _trace(self, value: object, format_: str) -> Trace:
        trace = trace_from(value, format_, strict=False)
        return trace if self._config.trusts_callers else untrusted(trace, role=self._config.role)

    def _shown(self, judgement: Judgement) -> dict[str, Any]:
        details = judgement.as_json() if self._config.details else {}
        return {**judgement.public(), **({"details": details} if details else {})}


def _strict(limits: JsonLimits) -> Any:
    """A dependency that refuses a body which has more than one meaning."""

    async def strict(request: Request) -> None:
        body = await request.body()
        if len(body) <= _SHORT:
            parse(body, limits)
        else:
            await run_in_threadpool(parse, body, limits)

    return strict
