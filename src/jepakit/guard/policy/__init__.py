"""Policies: which calls of an agent's tools are allowed, and the verdict over a trace."""

from jepakit.guard.policy.load import load_policy, parse_policy, ready_policies
from jepakit.guard.policy.schema import Decision, Policy
from jepakit.guard.policy.verdict import Reason, Verdict, judge, strictest

__all__ = [
    "Decision",
    "Policy",
    "Reason",
    "Verdict",
    "judge",
    "load_policy",
    "parse_policy",
    "ready_policies",
    "strictest",
]
