"""``jepakit guard serve`` under load: 50 clients replay recorded runs of AgentDojo, one after the other, without pause.

    python -m benchmarks.guard_serve            # a minute and some more
    python -m benchmarks.guard_serve --quick    # ten seconds

Each client takes a run of the suite workspace, asks about its calls (``/v1/check``), tells what they returned
(``/v1/finish``), and ends the session. The server is a process of its own, the clients are another one. A check's time
is that of its whole request, waiting included: of one client alone, and of 50 at once, where it is mostly the time that
the requests of the others take. Its processor time has ``finish`` and the end of sessions in it, and does not depend on
what else the machine does. An answer is wrong where it is not the one that the auditor gives over the recorded
run.
"""

from __future__ import annotations

import asyncio
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from benchmarks.guard_runs import SUITES
from benchmarks.harness import Options, Steps, data_dir, main
from jepakit.errors import DataError
from jepakit.guard import Context, Trace, load_traces
from jepakit.guard.audit import Auditor
from jepakit.guard.live import Session
from jepakit.guard.policy import load_policy
from jepakit.training.result_rows import ResultRow

CLIENTS, SECONDS, QUICK_SECONDS = 50, 60.0, 5.0
SUITE, RUNS, MOST_SESSIONS = "workspace", 60, 256
POLICY = f"agentdojo/{SUITE}"
#: Of a check on one core, as the aim of the guard has it.
AIM_MS = 20.0
_COMMAND = "import sys; from jepakit.cli.main import main; sys.exit(main())"


@dataclass
class Seen:
    """What clients have seen.

    Args:
        seconds: of each check.
        requests: that were sent.
        answers: with status 200.
        wrong: answers about a call that are not the auditor's.
        memory: of the server in MiB, each second.
        processor: seconds that the server has computed.
    """

    seconds: list[float] = field(default_factory=list[float])
    requests: int = 0
    answers: int = 0
    wrong: int = 0
    memory: list[float] = field(default_factory=list[float])
    processor: float = 0.0


def rows(options: Options, steps: Steps) -> list[ResultRow]:
    """All rows; `steps` keeps what is already measured."""
    seconds = QUICK_SECONDS if options.quick else SECONDS
    runs = list(recorded(data_dir()))
    listed: list[ResultRow] = []
    for clients in (1, CLIENTS):
        lasting = min(seconds, 10.0) if clients == 1 else seconds
        measured = steps.value((clients, lasting), lambda: asdict(load(runs, clients, lasting)))  # noqa: B023
        listed += rows_of(Seen(**measured), clients, lasting)
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
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    words = ["guard", "serve", "--policy", POLICY, "--port", str(port), "--sessions", str(MOST_SESSIONS)]
    with tempfile.TemporaryFile() as log:
        server = subprocess.Popen([sys.executable, "-c", _COMMAND, *words], stdout=log, stderr=log)
        try:
            return asyncio.run(_load(f"http://127.0.0.1:{port}", server.pid, runs, answers, clients, seconds))
        finally:
            server.terminate()
            server.wait()


async def _load(
    url: str, pid: int, runs: Sequence[Trace], answers: list[list[str]], clients: int, seconds: float
) -> Seen:
    seen = Seen()
    numbers = count()
    limits = httpx.Limits(max_connections=clients)
    async with httpx.AsyncClient(base_url=url, timeout=60, limits=limits) as client:
        await _started(client)
        end, began = time.monotonic() + seconds, _processor(pid)

        async def send(method: str, path: str, body: dict[str, Any] | None = None) -> httpx.Response | None:
            seen.requests += 1
            try:
                answer = await client.request(method, path, json=body)
            except httpx.HTTPError:
                return None
            seen.answers += answer.status_code == 200
            return answer if answer.status_code == 200 else None

        async def agent() -> None:
            while time.monotonic() < end:
                number = next(numbers)
                await _replay(send, seen, f"run-{number}", runs[number % len(runs)], answers[number % len(runs)])

        async def watch() -> None:
            while time.monotonic() < end:
                seen.memory.append(_memory(pid))
                await asyncio.sleep(1)

        await asyncio.gather(watch(), *(agent() for _ in range(clients)))
        seen.memory.append(_memory(pid))
        seen.processor = _processor(pid) - began
    return seen


async def _started(client: httpx.AsyncClient) -> None:
    for _ in range(600):
        try:
            await client.get("/health")
        except httpx.ConnectError:
            await asyncio.sleep(0.1)
        else:
            return
    raise DataError("the server does not answer")


async def _replay(send: Any, seen: Seen, session: str, trace: Trace, answers: list[str]) -> None:
    for call, expected in zip(trace.calls, answers, strict=True):
        body = {"session": session, "tool": call.tool, "arguments": call.arguments, "call": call.id}
        began = time.perf_counter()
        answer = await send("POST", "/v1/check", body)
        seen.seconds.append(time.perf_counter() - began)
        decision = None if answer is None else answer.json()["decision"]
        seen.wrong += decision != expected
        if decision in ("allow", "ask"):
            told = {"session": session, "call": call.id, "output": call.output}
            await send("POST", "/v1/finish", told)
    await send("DELETE", f"/v1/sessions/{session}")


def _memory(pid: int) -> float:
    """Resident memory of a process in MiB."""
    match = re.search(r"VmRSS:\s+([0-9]+) kB", Path(f"/proc/{pid}/status").read_text())
    return float(match[1]) / 1024 if match else float("nan")


def _processor(pid: int) -> float:
    """Seconds that a process has computed, in all its threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def rows_of(seen: Seen, clients: int, seconds: float) -> list[ResultRow]:
    """The rows of one load."""
    name = f"{clients} clients, {seconds:.0f} s" if clients > 1 else f"1 client, {seconds:.0f} s"
    checks = np.asarray(seen.seconds) * 1000
    busy = os.getloadavg()[0]
    note = f"{len(checks)} checks, load average {busy:.1f} on {os.cpu_count()} cores"
    aim = AIM_MS if clients == 1 else None

    def row(
        metric: str, value: float, *, aim: float | None = None, note: str = "", lower_is_better: bool = True
    ) -> ResultRow:
        return ResultRow(
            name,
            "jepakit guard serve",
            metric,
            value,
            aim=aim,
            note=note,
            ours=True,
            lower_is_better=lower_is_better,
        )

    half = len(seen.memory) // 2
    return [
        *(
            row(f"p{at} of a check, ms", float(np.percentile(checks, at)), note=note, aim=aim if at == 95 else None)
            for at in (50, 95, 99)
        ),
        row("processor time of the server a check, ms", seen.processor / len(checks) * 1000),
        row("checks per second", len(checks) / seconds, lower_is_better=False),
        row("answers that are lost or no 200", seen.requests - seen.answers, aim=0.0),
        row("answers that are not the auditor's", seen.wrong, aim=0.0),
        row("memory at the end, MiB", seen.memory[-1]),
        row("growth of memory in the second half, MiB", max(seen.memory[half:]) - seen.memory[half]),
    ]


if __name__ == "__main__":
    main("guard_serve", rows, depends_on="guard/**/*.py")
