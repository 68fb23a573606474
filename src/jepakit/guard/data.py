"""Traces: what an agent was asked, may do, has read, and is about to do."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

SCHEMA_VERSION = 1
"""Of `Trace`."""

SourceKind = Literal["user", "system", "output"]
"""What a value can be read from: the user's words, the system's, or the output of an earlier call."""

Label = Literal["benign", "malicious"]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Tool(_Model):
    """A tool that the agent can call, as its server describes it.

    Args:
        name: as calls have it.
        server: where it lives; tools of equal names on two servers are two tools.
        description: the server's words. They are a hint, never trusted.
        input_schema: JSON Schema of the arguments.
        annotations: further hints of the server, such as MCP's ``readOnlyHint``.
    """

    name: str
    server: str = ""
    description: str = ""
    input_schema: dict[str, Any] = Field(default_factory=dict)
    annotations: dict[str, Any] = Field(default_factory=dict)


class Origin(_Model):
    """A place that a value comes from.

    Args:
        source: what it was read from.
        call: of ``output``: the id of the call.
        start: first character of the place in that text; None where only the source is known.
        end: the character after its last.
        record: of an output with records, such as a list of mails: the number of the one it stands in, from 0.
    """

    source: SourceKind
    call: str | None = None
    start: int | None = Field(default=None, ge=0, strict=True)
    end: int | None = Field(default=None, ge=0, strict=True)
    record: int | None = Field(default=None, ge=0, strict=True)

    @model_validator(mode="after")
    def _checked(self) -> Origin:
        if (self.call is None) == (self.source == "output"):
            raise ValueError("an output, and nothing else, names its call")
        if (self.start is None) != (self.end is None) or (self.start or 0) > (self.end or 0):
            raise ValueError("start and end stand together, start first")
        return self


class Call(_Model):
    """A call of a tool, carried out or about to be.

    Args:
        id: different for all calls of a trace.
        tool: the tool's name.
        server: of the tool.
        arguments: a JSON object; None: they are not known, and such a call is never allowed.
        arguments_error: why they are not known, where they could not be read; it repeats nothing of them.
        output: what the tool returned, as the agent read it; None: nothing yet.
        error: what the tool failed with.
        origins: of arguments by JSON pointer, where the caller knows them; others are derived from the texts.
        tier: trust in what made the agent call, where the caller knows it.
        volume: how much the call reads or changes, in units of the tool (rows, money, recipients).
        sensitivity: of the data that it touches, from 0 (public) to 5.
        label: whether it serves an attack.
    """

    id: str
    tool: str
    server: str = ""
    arguments: dict[str, Any] | None = None
    arguments_error: str | None = None
    output: str | None = None
    error: str | None = None
    origins: dict[str, tuple[Origin, ...]] = Field(default_factory=dict)
    tier: SourceKind | None = None
    volume: float | None = Field(default=None, ge=0, allow_inf_nan=False, strict=True)
    sensitivity: int | None = Field(default=None, ge=0, le=5, strict=True)
    label: Label | None = None

    @model_validator(mode="after")
    def _checked(self) -> Call:
        if self.arguments is not None and self.arguments_error is not None:
            raise ValueError("arguments that are known have no error")
        return self


class Edge(_Model):
    """Data flow: an argument of ``target`` is read from the output of ``source``.

    Args:
        source: id of a call.
        target: id of a later one.
        argument: JSON pointer of the argument; None: not known.
    """

    source: str
    target: str
    argument: str | None = None


class Context(_Model):
    """What the calls are judged by.

    Args:
        task: the user's words.
        system: the operator's instructions to the agent.
        policy: a policy document, or its text.
        role: of the user.
        session: further facts, such as a tenant or a time.
        tools: the tools that the agent has.
    """

    task: str = ""
    system: str = ""
    policy: dict[str, Any] | str | None = None
    role: str | None = None
    session: dict[str, Any] = Field(default_factory=dict)
    tools: tuple[Tool, ...] = ()


class Trace(_Model):
    """A run of an agent, or the plan of one.

    Args:
        version: of this schema.
        id: of the run.
        context: what its calls are judged by.
        calls: in their order.
        edges: data flow that the caller knows; further edges are derived.
        label: whether an attack succeeded in it.
        about: facts for reports and splits, such as a suite or an attack; no verdict reads them.
    """

    version: Literal[1] = SCHEMA_VERSION
    id: str = ""
    context: Context = Context()
    calls: tuple[Call, ...] = ()
    edges: tuple[Edge, ...] = ()
    label: Label | None = None
    about: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _checked(self) -> Trace:
        place = {call.id: number for number, call in enumerate(self.calls)}
        if len(place) < len(self.calls):
            raise ValueError("two calls have one id")
        for call in self.calls:
            for origin in (origin for listed in call.origins.values() for origin in listed):
                if origin.call is not None and place.get(origin.call, len(place)) >= place[call.id]:
                    raise ValueError(f"call {call.id}: an origin names {origin.call}, which is no earlier call")
        for edge in self.edges:
            if edge.source not in place or edge.target not in place:
                raise ValueError(f"an edge from {edge.source} to {edge.target} names a call that is not there")
        return self
