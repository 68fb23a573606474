"""Recorded runs of AgentDojo are judged, each call as when it was made, and no milder than by the policy alone."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import pytest

from jepakit.guard import load_traces
from jepakit.guard.audit import Auditor
from jepakit.guard.policy import judge, load_policy
from jepakit.guard.policy.schema import SEVERITY
from jepakit.guard.traces.provenance import data_flow


@pytest.mark.data
def test_recorded_runs_are_judged_live_as_afterwards(data_dir: Path) -> None:
    traces = islice(load_traces(data_dir / "guard" / "agentdojo" / "traces_full.jsonl.gz"), 0, 600, 20)
    auditors = {suite: Auditor(load_policy(f"agentdojo/{suite}"), timeout=60) for suite in SUITES}
    codes: set[str] = set()
    for trace in traces:
        auditor = auditors[trace.about["suite"]]
        found = auditor.audit(trace)
        histories = [trace.model_copy(update={"calls": trace.calls[:place]}) for place in range(len(trace.calls))]
        assert found == tuple(map(auditor.check, trace.calls, histories))
        for one, verdict in zip(found, judge(auditor.policy, trace, data_flow(trace)), strict=True):
            assert SEVERITY[one.decision] >= SEVERITY[verdict.decision]
        codes.update(one.code for one in found)
    assert "taint" in codes
    assert not codes & {"internal", "too_large"}


SUITES = ("banking", "slack", "travel", "workspace")
