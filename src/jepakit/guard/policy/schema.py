"""The policy of an agent's tools, as it stands in a file: what each tool does, who may use it, and how much."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from graphlib import CycleError, TopologicalSorter
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictFloat, StrictInt, field_validator, model_validator

from jepakit.guard.policy.conditions import Rule
from jepakit.guard.policy.patterns import Pattern, compiled_pattern, names_matcher

POLICY_VERSION = 1
"""Of `Policy`."""

Decision = Literal["allow", "ask", "deny"]
"""Of a call: it is carried out, a person is asked first, or it is not carried out. In this order of severity."""

SEVERITY: Mapping[Decision, int] = {"allow": 0, "ask": 1, "deny": 2}

Effect = Literal["read", "write", "external", "execute"]
"""What a call does, the least first: ``read`` returns data and changes nothing; ``write`` changes the user's own
data; ``external`` sends to others, spends, or gives access; ``execute`` runs code or commands."""


NotNegative = Annotated[StrictInt, Field(ge=0)] | Annotated[StrictFloat, Field(ge=0, allow_inf_nan=False)]
"""A number that is a limit."""


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ToolName(_Model):
    """Tools by name; a text is read as the name alone.

    Args:
        name: a tool's name, or a pattern of names with ``*`` and ``?``.
        server: where the tools live; None: on any server.
    """

    name: str = Field(min_length=1)
    server: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _of_text(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value

    def matches(self, tool: str, server: str) -> bool:
        """Whether the tool is one of them."""
        return (self.server is None or self.server == server) and self._names(tool)

    @cached_property
    def _names(self) -> Any:
        return names_matcher((self.name,))


class Limits(_Model):
    """How much may be done; None: no limit.

    Args:
        calls: in one trace.
        volume: of one call, in the tool's unit.
        trace_volume: of all calls in one trace together.
        rows: elements of the longest list in the arguments of one call.
    """

    calls: int | None = Field(default=None, ge=0, strict=True)
    volume: NotNegative | None = None
    trace_volume: NotNegative | None = None
    rows: int | None = Field(default=None, ge=0, strict=True)


class ToolPolicy(_Model):
    """What holds for the calls of a tool. Where several of them name a tool, all of them hold.

    Args:
        name: the tool's name, or a pattern of names with ``*`` and ``?``.
        server: where the tool lives; None: on any server.
        effect: what a call does.
        privilege: how much harm a wrong call can do, from 0 (none) to 5 (cannot be undone, concerns others).
        output_trust: whether others can write what the tool returns (``untrusted``) or the user and the system alone.
        sinks: patterns of arguments whose value decides where something goes: recipients, addresses, accounts.
        volume: patterns of arguments that say how much: an amount, a number of rows. Their sum is the call's volume.
        rules: conditions on arguments.
        limits: of the calls of all tools of this name or pattern together.
        requires_approval: a person is asked before every call.
    """

    name: str = Field(min_length=1)
    server: str | None = None
    effect: Effect = "external"
    privilege: int = Field(default=3, ge=0, le=5, strict=True)
    output_trust: Literal["trusted", "untrusted"] = "untrusted"
    sinks: tuple[str, ...] = ()
    volume: tuple[str, ...] = ()
    rules: tuple[Rule, ...] = ()
    limits: Limits = Limits()
    requires_approval: bool = Field(default=False, strict=True)

    @field_validator("sinks", "volume")
    @classmethod
    def _are_patterns(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for pattern in value:
            compiled_pattern(pattern)
        return value

    @model_validator(mode="after")
    def _rules_have_names(self) -> ToolPolicy:
        ids = [rule.id for rule in self.rules]
        if twice := next((name for name in ids if ids.count(name) > 1), None):
            raise ValueError(f"two rules have the id {twice!r}")
        return self

    @cached_property
    def names(self) -> ToolName:
        """The tools that it holds for."""
        return ToolName(name=self.name, server=self.server)

    @cached_property
    def sink_patterns(self) -> tuple[Pattern, ...]:
        """`sinks` as they are matched: letters that look alike are alike."""
        return tuple(compiled_pattern(pattern, folded=True) for pattern in self.sinks)

    @cached_property
    def volume_patterns(self) -> tuple[Pattern, ...]:
        """`volume` as they are matched."""
        return tuple(compiled_pattern(pattern, folded=True) for pattern in self.volume)


class Role(_Model):
    """What a user of this role may do.

    Args:
        inherits: roles; this one may do what each of them may.
        tools: that it may use.
        max_privilege: of the tools that it may use; None: that of the roles it inherits, the largest, or else any.
        limits: of all its calls together. One that is not given is that of the roles it inherits, the widest.
    """

    inherits: tuple[str, ...] = ()
    tools: tuple[ToolName, ...] = ()
    max_privilege: int | None = Field(default=None, ge=0, le=5, strict=True)
    limits: Limits = Limits()


class Defaults(_Model):
    """Decisions for what the rest of a policy does not say.

    Args:
        unknown_tool: the policy does not name the tool.
        unknown_role: the policy has roles, and the user has none of them.
        missing_arguments: it is not known what the tool is called with.
        write_tainted_sink: a value from an untrusted output stands in a sink, of a call that does more than read.
        write_unread_sink: a value that was read nowhere stands in such a sink: the agent has made it up, or changed it.
        write_tainted_argument: a value from an untrusted output stands in any other argument of such a call.
        read_tainted_sink: a value from an untrusted output stands in a sink of a call that reads.
        output_driven_write: an untrusted output made the agent call a tool that does more than read.
        limit_passed: more than a limit allows.
        unknown_volume: there is a limit of the volume, and the call does not say its volume.
    """

    unknown_tool: Literal["ask", "deny"] = "ask"
    unknown_role: Literal["ask", "deny"] = "deny"
    missing_arguments: Literal["ask", "deny"] = "ask"
    write_tainted_sink: Decision = "deny"
    write_unread_sink: Decision = "ask"
    write_tainted_argument: Decision = "allow"
    read_tainted_sink: Decision = "ask"
    output_driven_write: Decision = "ask"
    limit_passed: Literal["ask", "deny"] = "deny"
    unknown_volume: Decision = "ask"

    @model_validator(mode="after")
    def _taint_is_never_milder(self) -> Defaults:
        for milder in ("write_unread_sink", "write_tainted_argument", "read_tainted_sink"):
            if SEVERITY[getattr(self, milder)] > SEVERITY[self.write_tainted_sink]:
                raise ValueError(f"write_tainted_sink ({self.write_tainted_sink}) is milder than {milder}")
        return self


class Grant(_Model):
    """A statement that allows or denies actions, as AWS IAM has it.

    A call is denied where a grant denies it, or where none allows it. What a grant says about resources and conditions
    that cannot be evaluated makes the call one to ask about.

    Args:
        id: of the statement.
        effect: what it does.
        actions: patterns of tools' names with ``*`` and ``?``, in any case; empty: all but ``not_actions``.
        not_actions: patterns of the tools that it is not about.
        resources: patterns of the resources with ``*`` and ``?``; empty: all but ``not_resources``.
        not_resources: patterns of the resources that it is not about.
        resource_argument: pattern of the arguments that name the resource; None: a call does not name it.
        condition: a further condition, as a document. It is not evaluated.
    """

    id: str = ""
    effect: Literal["allow", "deny"]
    actions: tuple[str, ...] = ()
    not_actions: tuple[str, ...] = ()
    resources: tuple[str, ...] = ()
    not_resources: tuple[str, ...] = ()
    resource_argument: str | None = None
    condition: dict[str, Any] | None = None

    @model_validator(mode="after")
    def _checked(self) -> Grant:
        if bool(self.actions) == bool(self.not_actions):
            raise ValueError("either actions or not_actions are given")
        if bool(self.resources) == bool(self.not_resources):
            raise ValueError("either resources or not_resources are given")
        if self.resource_argument is not None:
            compiled_pattern(self.resource_argument)
        return self


class Policy(_Model):
    """Which calls of an agent's tools are allowed.

    Args:
        version: of this schema.
        name: of the policy.
        description: for people.
        tools: what holds for each tool.
        roles: by name; none: everyone may use all tools.
        defaults: decisions for what is not said.
        grants: statements of AWS IAM; none: the tools named above are allowed.
        document: the words or the original of the policy, for those who read more of it than this schema says.
    """

    version: Literal[1] = POLICY_VERSION
    name: str = ""
    description: str = ""
    tools: tuple[ToolPolicy, ...] = ()
    roles: dict[str, Role] = Field(default_factory=dict)
    defaults: Defaults = Defaults()
    grants: tuple[Grant, ...] = ()
    document: str | dict[str, Any] | None = None

    @model_validator(mode="after")
    def _roles_are_ordered(self) -> Policy:
        _ = self._effective
        return self

    def of_tool(self, tool: str, server: str = "") -> tuple[ToolPolicy, ...]:
        """All that holds for a tool; empty where the policy does not name it."""
        exact, patterns = self._by_name
        return tuple(one for one in (*exact.get(tool, ()), *patterns) if one.names.matches(tool, server))

    def of_role(self, role: str) -> Role | None:
        """A role with what it inherits; None where there is no such role."""
        return self._effective.get(role)

    @cached_property
    def _effective(self) -> dict[str, Role]:
        """All roles with what they inherit, those that are inherited first."""
        for name, role in self.roles.items():
            if missing := set(role.inherits) - set(self.roles):
                raise ValueError(f"role {name} inherits {min(missing)}, which is no role")
        try:
            order = list(TopologicalSorter({name: role.inherits for name, role in self.roles.items()}).static_order())
        except CycleError as error:
            raise ValueError(f"roles inherit each other: {' -> '.join(error.args[1])}") from error
        found: dict[str, Role] = {}
        for name in order:
            own = self.roles[name]
            parents = [found[parent] for parent in own.inherits]
            limits = {field: _inherited(own.limits, [one.limits for one in parents], field) for field in _LIMITS}
            found[name] = Role(
                inherits=own.inherits,
                tools=tuple(dict.fromkeys([*own.tools, *(tool for parent in parents for tool in parent.tools)])),
                max_privilege=_inherited(own, parents, "max_privilege"),
                limits=Limits(**limits),
            )
        return found

    @cached_property
    def _by_name(self) -> tuple[dict[str, list[ToolPolicy]], list[ToolPolicy]]:
        exact: dict[str, list[ToolPolicy]] = {}
        patterns: list[ToolPolicy] = []
        for one in self.tools:
            (patterns if "*" in one.name or "?" in one.name else exact.setdefault(one.name, [])).append(one)
        return exact, patterns


_LIMITS = tuple(Limits.model_fields)


def _inherited(own: BaseModel, parents: list[Any], field: str) -> Any:
    """The own value, or else the largest of the parents; None where one of them has none."""
    value = getattr(own, field)
    if value is not None or not parents:
        return value
    values = [getattr(parent, field) for parent in parents]
    return None if None in values else max(values)
