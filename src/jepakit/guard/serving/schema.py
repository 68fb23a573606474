"""What the service is asked, and what it answers."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StrictInt

from jepakit.guard.policy import Decision

Name = Annotated[str, Field(min_length=1, max_length=200)]
"""An id, or the name of a tool or a server."""


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid")


class AuditRequest(_Request):
    """A trace in any format that is known, or what went before a call, and that call."""

    trace: dict[str, Any] | list[Any]
    format: str = "auto"
    call: dict[str, Any] | None = None


class RepairRequest(_Request):
    """A plan; its first ``carried_out`` calls stay as they are."""

    trace: dict[str, Any] | list[Any]
    format: str = "auto"
    carried_out: Annotated[StrictInt, Field(ge=0)] = 0


class CheckRequest(_Request):
    """The next call of a session; without arguments they are not known, and such a call is never allowed."""

    session: Name
    tool: Name
    arguments: dict[str, Any] | None = None
    server: Annotated[str, Field(max_length=200)] = ""
    call: Name | None = None


class FinishRequest(_Request):
    """What a call returned, as the agent reads it; the tool is for a call that was not judged."""

    session: Name
    call: Name
    output: str | None = None
    error: str | None = None
    tool: Name | None = None
    arguments: dict[str, Any] | None = None
    server: Annotated[str, Field(max_length=200)] = ""


class SayRequest(_Request):
    """Words of the user."""

    session: Name
    text: str


class JudgementReply(BaseModel):
    """What is enforced, and the coarse reason: all of it but ``details`` may reach the agent."""

    call: str
    decision: Decision
    code: str
    details: dict[str, Any] | None = None


class DoneReply(BaseModel):
    """It was done; there is nothing to say."""


class AuditReply(BaseModel):
    """The judgement of each call."""

    judgements: list[JudgementReply]


class RepairReply(BaseModel):
    """The plan, the edits that made it, the calls of it to ask a person about, and whether nothing is denied in it."""

    plan: dict[str, Any]
    edits: list[dict[str, Any]]
    approvals: list[str]
    passes: bool
    energy: dict[str, float]
    similarity: float
