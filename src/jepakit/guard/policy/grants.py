"""Statements of AWS IAM over a call: a denial wins, then an allowance, and what is not allowed is denied.

Source: AWS Identity and Access Management, "Policy evaluation logic" and "IAM JSON policy elements reference".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import Literal

from jepakit.guard.policy.patterns import Argument, compiled_pattern, names_matcher
from jepakit.guard.policy.schema import Decision, Grant

_Applies = Literal["yes", "no", "unknown"]


def granted(grants: Sequence[Grant], tool: str, arguments: Sequence[Argument]) -> Iterator[tuple[str, Decision, str]]:
    """What grants say about a call: id of the grant, decision and problem; nothing where they allow it, or are none."""
    if not grants:
        return
    applies = [(grant, _applies(grant, tool, arguments)) for grant in grants]
    for grant, answer in applies:
        if grant.effect == "deny" and answer == "yes":
            yield grant.id or "deny", "deny", "a statement denies it"
        elif grant.effect == "deny" and answer == "unknown":
            yield grant.id or "deny", "ask", "a statement denies it under a condition that is not evaluated"
    allowing = {answer: grant.id or "allow" for grant, answer in applies if grant.effect == "allow"}
    if "yes" in allowing:
        return
    if "unknown" in allowing:
        yield allowing["unknown"], "ask", "a statement allows it under a condition that is not evaluated"
    else:
        yield "none", "deny", "no statement allows it"


def _applies(grant: Grant, tool: str, arguments: Sequence[Argument]) -> _Applies:
    if _actions(grant.actions or grant.not_actions)(tool) != bool(grant.actions):
        return "no"
    answer = _applies_to_resource(grant, arguments)
    return "unknown" if answer == "yes" and grant.condition else answer


def _applies_to_resource(grant: Grant, arguments: Sequence[Argument]) -> _Applies:
    patterns = grant.resources or grant.not_resources
    if "*" in patterns:
        return "yes" if grant.resources else "no"
    if grant.resource_argument is None:
        return "unknown"
    place = compiled_pattern(grant.resource_argument)
    named = [one.value for one in arguments if one.is_given and place.matches(one)]
    # A variable such as ${aws:username} has a value that only AWS knows.
    if not named or not all(isinstance(one, str) for one in named) or any("${" in pattern for pattern in patterns):
        return "unknown"
    matches = [_resources(patterns)(str(one)) == bool(grant.resources) for one in named]
    if grant.effect == "allow":
        return "yes" if all(matches) else "no"
    return "yes" if any(matches) else "no"


@lru_cache(maxsize=4096)
def _actions(patterns: tuple[str, ...]) -> Callable[[str], bool]:
    return names_matcher(patterns, ignore_case=True)


@lru_cache(maxsize=4096)
def _resources(patterns: tuple[str, ...]) -> Callable[[str], bool]:
    return names_matcher(patterns)
