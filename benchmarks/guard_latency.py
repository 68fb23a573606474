"""Milliseconds of a check, and of its parts, on one thread.

    python -m benchmarks.guard_latency            # five minutes
    python -m benchmarks.guard_latency --quick    # one minute

Every 60th recorded run of AgentDojo. Its calls are checked one after the other, as a live agent makes them: the history
is that of the checks before. The model has the default sizes and untrained weights: time does not depend
on them. The first check of a context computes its embedding, unless it was prepared when the user's words were known.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from time import perf_counter

import numpy as np
import torch

from benchmarks.harness import Options, Steps, data_dir, main
from jepakit.guard.audit import Auditor
from jepakit.guard.data import Trace
from jepakit.guard.energies import energies
from jepakit.guard.model import GuardModel
from jepakit.guard.policy import load_policy
from jepakit.guard.repair import repair
from jepakit.guard.sources import load_traces
from jepakit.guard.traces.provenance import data_flow
from jepakit.guard.views import governance, plans
from jepakit.training.result_rows import ResultRow

DATASET = "AgentDojo, every 60th run"
#: Part -> quantile -> the most milliseconds it should take.
AIMS = {
    "governance embedding, a new context": {"p95": 50.0},
    "execution embedding of a run": {"p95": 100.0},
    "energies of a run": {"p95": 50.0},
    "check, policy and energies": {"p95": 20.0},
    "check, with the model": {"p95": 20.0},
    "check, with the model, context embedded before": {"p95": 20.0},
    "audit of a run and repair, with the model": {"p99": 200.0},
}


def rows(options: Options, steps: Steps) -> list[ResultRow]:
    """The quantiles of each part."""
    measured = steps.value(("milliseconds", options.quick), lambda: measure(options.quick))
    return [
        ResultRow(
            DATASET,
            part,
            f"{quantile}, ms",
            float(np.quantile(values, share)),
            aim=AIMS[part].get(quantile),
            lower_is_better=True,
            ours=True,
            note=f"{len(values)} times",
        )
        for part, values in measured.items()
        for quantile, share in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))
    ]


@torch.no_grad()
def measure(quick: bool) -> dict[str, list[float]]:
    """Milliseconds of each part, one for each run or call."""
    torch.set_num_threads(1)
    file = data_dir() / "guard" / "agentdojo" / "traces_full.jsonl.gz"
    runs = list(islice(load_traces(file), 0, 6000 if quick else None, 60))
    model = GuardModel({}, {"families": ["one", "two", "three"]}, {}).eval()
    found: dict[str, list[float]] = {part: [] for part in AIMS}
    for run in runs:
        if run.calls:
            _measure(run, model, found)
    return found


def _measure(run: Trace, model: GuardModel, found: dict[str, list[float]]) -> None:
    policy = load_policy(f"agentdojo/{run.about['suite']}")
    started = perf_counter()
    model.governance(governance([run.context]))
    found["governance embedding, a new context"].append(_since(started))
    flow = data_flow(run)
    started = perf_counter()
    model.execution(plans([run], [flow]))
    found["execution embedding of a run"].append(_since(started))
    started = perf_counter()
    energies(policy, run, flow)
    found["energies of a run"].append(_since(started))
    found["check, policy and energies"] += _checks(Auditor(policy), run)
    found["check, with the model"] += _checks(Auditor(policy, scorer=model), run)
    anew = run.model_copy(update={"context": run.context.model_copy(update={"session": {"check": "again"}})})
    model.prepare(anew.context)
    found["check, with the model, context embedded before"] += _checks(Auditor(policy, scorer=model), anew)
    started = perf_counter()
    Auditor(policy, scorer=model).audit(run)
    repair(run, policy, scorer=model)
    found["audit of a run and repair, with the model"].append(_since(started))


def _checks(auditor: Auditor, run: Trace) -> Sequence[float]:
    times: list[float] = []
    for place, call in enumerate(run.calls):
        history = run.model_copy(update={"calls": run.calls[:place]})
        started = perf_counter()
        auditor.check(call, history)
        times.append(_since(started))
    return times


def _since(started: float) -> float:
    return 1000 * (perf_counter() - started)


if __name__ == "__main__":
    main("guard_latency", rows, depends_on="guard/**/*.py")
