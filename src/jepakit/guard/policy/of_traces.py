"""The policies of recorded traces: by the name of their suite, or drafts for their tools."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator

from jepakit.errors import DataError
from jepakit.guard.data import Trace
from jepakit.guard.policy.draft import draft_policy
from jepakit.guard.policy.load import load_policy
from jepakit.guard.policy.schema import Policy


def policy_name(pattern: str, trace: Trace) -> str:
    """The name of the policy of a trace: ``pattern``, in which ``{suite}`` is the trace's fact of this name.

    Raises:
        DataError: the fact is no name of a policy.
    """
    suite = f"{trace.about.get('suite', '')}"
    if "{suite}" in pattern and not suite.replace("-", "").replace("_", "").isalnum():
        expected = "letters and digits, in a policy with {suite}"
        raise DataError("no name of a policy", field="about.suite", value=suite, expected=expected)
    return pattern.replace("{suite}", suite)


def policies_of(pattern: str | None, traces: Iterable[Trace]) -> Iterator[Policy]:
    """The policy of each trace: the one that `policy_name` names, or without a pattern a draft for its tools.

    Raises:
        DataError: a policy cannot be read, or a trace has no fact that names it.
    """
    known: dict[str, Policy] = {}
    for trace in traces:
        key = _tools(trace) if pattern is None else policy_name(pattern, trace)
        if key not in known:
            known[key] = draft_policy(trace.context.tools) if pattern is None else load_policy(key)
        yield known[key]


def _tools(trace: Trace) -> str:
    return json.dumps([tool.model_dump() for tool in trace.context.tools])
