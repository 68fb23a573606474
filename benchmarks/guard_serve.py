"""``jepakit guard serve`` under load: 50 clients replay recorded runs of AgentDojo, one after the other, without pause.

    python -m benchmarks.guard_serve            # a minute and some more
    python -m benchmarks.guard_serve --quick    # ten seconds

Each client takes a run of the suite workspace, asks about its calls (``/v1/check``), tells what they returned
(``/v1/finish``), and ends the session; the server's processor time has all of that in it. An answer is wrong where it
is not the one that the auditor gives over the recorded run. `benchmarks.load` says what is measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from benchmarks.guard_runs import SUITES
from benchmarks.harness import Options, Steps, data_dir, main
from benchmarks.load import CLIENTS, Clients, Seen, lasting, load_rows, under_load
from jepakit.errors import DataError
from jepakit.guard import Context, Trace, load_traces
from jepakit.guard.audit import Auditor
from jepakit.guard.live import Session
from jepakit.guard.policy import load_policy
from jepakit.training.result_rows import ResultRow

SUITE, RUNS, MOST_SESSIONS = "workspace", 60, 256
POLICY = f"agentdojo/{SUITE}"
#: Of a check on one core, as the aim of the guard has it.
AIM_MS = 20.0


def rows(options: Options, steps: Steps) -> list[ResultRow]:
    """All rows; `steps` keeps what is already measured."""
    runs = list(recorded(data_dir()))
    listed: list[ResultRow] = []
    for clients in (1, CLIENTS):
        seconds = lasting(clients, quick=options.quick)
        measured = steps.value((clients, seconds), lambda: asdict(load(runs, clients, seconds)))  # noqa: B023
        listed += load_rows(
            Seen(**measured),
            clients,
            seconds,
            method="jepakit guard serve",
            request="a check",
            requests="checks",
            wrong="not the auditor's",
            aims_ms={95: AIM_MS},
        )
    return listed


def recorded(folder: Path) -> Sequence[Trace]:
    """Recorded runs with calls, benign and attacked."""
    assert SUITE in SUITES
    found: list[Trace] = []
    for file in sorted((folder / "guard" / "agentdojo").glob("*.jsonl.gz")):
        for trace in load_traces(file, "agentdojo", strict=False):
            if trace.about.get("suite") == SUITE and len(trace.calls) > 1:
                found.append(trace)
            if len(found) >= RUNS:
                return found
    raise DataError("too few recorded runs", file=folder, expected=f"{RUNS} of the suite {SUITE}")


def expected(trace: Trace) -> list[str]:
    """The answers to the calls of a run, in a session that has read what the run has."""
    session = Session(Auditor(load_policy(POLICY), timeout=60), Context())
    answers: list[str] = []
    for call in trace.calls:
        judgement = session.check(call.tool, call.arguments, call=call.id)
        answers.append(judgement.effective)
        if judgement.effective != "deny":
            session.finish(judgement.call, call.output)
    return answers


def load(runs: Sequence[Trace], clients: int, seconds: float) -> Seen:
    """A server under the load of some clients."""
    answers = [expected(trace) for trace in runs]

    async def replay(sender: Clients, number: int) -> None:
        session, trace = f"run-{number}", runs[number % len(runs)]
        for call, right in zip(trace.calls, answers[number % len(runs)], strict=True):
            body = {"session": session, "tool": call.tool, "arguments": call.arguments, "call": call.id}
            answer = await sender.send("POST", "/v1/check", body, timed=True)
            decision = None if answer is None else answer.json()["decision"]
            sender.seen.wrong += decision != right
            if decision in ("allow", "ask"):
                told = {"session": session, "call": call.id, "output": call.output}
                await sender.send("POST", "/v1/finish", told)
        await sender.send("DELETE", f"/v1/sessions/{session}")

    words = ["guard", "serve", "--policy", POLICY, "--sessions", str(MOST_SESSIONS)]
    return under_load(words, replay, clients, seconds)


if __name__ == "__main__":
    main("guard_serve", rows, depends_on="guard/**/*.py")
