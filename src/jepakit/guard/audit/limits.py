"""How much the auditor looks at."""

from __future__ import annotations

from dataclasses import dataclass, fields

from jepakit.errors import require_at_least


@dataclass(frozen=True)
class AuditLimits:
    """How much is looked at; more is denied with the code ``too_large``.

    Args:
        argument_bytes: of all texts in the arguments of one call.
        depth: of the arguments, lists and objects inside each other.
        leaves: values in the arguments of one call.
        text_size: characters that the agent has read: task, system prompt and outputs.
        calls: of a trace.
        checks: at the same time, those that did not end in time among them.
        sessions: runs that are remembered between their checks, while their texts together are no longer than
            ``text_size``. Others are looked at from their beginning.
    """

    argument_bytes: int = 1 << 20
    depth: int = 64
    leaves: int = 10_000
    text_size: int = 8 << 20
    calls: int = 1000
    checks: int = 64
    sessions: int = 64

    def __post_init__(self) -> None:
        require_at_least(self, **{field.name: 1 for field in fields(self)})
