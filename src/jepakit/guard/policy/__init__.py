"""Policies: which calls of an agent's tools are allowed, and the verdict over a trace."""

from jepakit.guard.policy.draft import draft_policy, draft_text
from jepakit.guard.policy.importers import iam_policies, iam_policy, service_policy
from jepakit.guard.policy.load import load_policy, parse_policy, ready_policies
from jepakit.guard.policy.of_traces import policies_of, policy_name
from jepakit.guard.policy.schema import Decision, Policy
from jepakit.guard.policy.verdict import Reason, Verdict, judge, strictest, verdict_of

__all__ = [
    "Decision",
    "Policy",
    "Reason",
    "Verdict",
    "draft_policy",
    "draft_text",
    "iam_policies",
    "iam_policy",
    "judge",
    "load_policy",
    "parse_policy",
    "policies_of",
    "policy_name",
    "ready_policies",
    "service_policy",
    "strictest",
    "verdict_of",
]
