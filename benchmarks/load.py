"""A service of jepakit under the load of clients: what the benchmarks of services share.

The server is a process of its own, the clients are another one. The time of a request is that of the whole of it,
waiting included: of one client alone, and of 50 at once, where it is mostly the time that the requests of the others
take. The server's processor time does not depend on what else the machine does.
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
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from jepakit.errors import DataError
from jepakit.training.result_rows import ResultRow

CLIENTS, SECONDS, QUICK_SECONDS = 50, 60.0, 5.0
#: Of one client alone.
SECONDS_ALONE = 10.0
_COMMAND = "import sys; from jepakit.cli.main import main; sys.exit(main())"


@dataclass
class Seen:
    """What clients have seen of a server.

    Args:
        seconds: of each timed request.
        requests: that were sent.
        answers: with status 200.
        wrong: answers that are not the expected ones.
        memory: of the server in MiB, each second.
        processor: seconds that the server has computed.
    """

    seconds: list[float] = field(default_factory=list[float])
    requests: int = 0
    answers: int = 0
    wrong: int = 0
    memory: list[float] = field(default_factory=list[float])
    processor: float = 0.0


class Clients:
    """Sends requests of all clients over one pool of connections, and counts them in `seen`."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self.seen = Seen()
        self._client = client

    async def send(self, method: str, path: str, body: object = None, *, timed: bool = False) -> httpx.Response | None:
        """The answer, or None where it is lost or has another status than 200."""
        self.seen.requests += 1
        began = time.perf_counter()
        try:
            answer = await self._client.request(method, path, json=body)
        except httpx.HTTPError:
            return None
        if timed:
            self.seen.seconds.append(time.perf_counter() - began)
        self.seen.answers += answer.status_code == 200
        return answer if answer.status_code == 200 else None


Work = Callable[[Clients, int], Awaitable[None]]
"""What a client does for one number of 0, 1, ...; it goes on with the next number as soon as it is done."""


def lasting(clients: int, *, quick: bool) -> float:
    """Seconds of a load."""
    seconds = QUICK_SECONDS if quick else SECONDS
    return seconds if clients > 1 else min(seconds, SECONDS_ALONE)


def under_load(words: Sequence[str], work: Work, clients: int, seconds: float) -> Seen:
    """What some clients see of ``jepakit WORDS --port PORT`` in some seconds."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with tempfile.TemporaryFile() as log:
        command = [sys.executable, "-c", _COMMAND, *words, "--port", str(port)]
        server = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            return asyncio.run(_load(f"http://127.0.0.1:{port}", server, work, clients, seconds))
        finally:
            server.terminate()
            server.wait()


async def _load(url: str, server: subprocess.Popen[bytes], work: Work, clients: int, seconds: float) -> Seen:
    numbers, limits = count(), httpx.Limits(max_connections=clients)
    async with httpx.AsyncClient(base_url=url, timeout=60, limits=limits) as connections:
        await _started(connections, server)
        sender = Clients(connections)
        seen = sender.seen
        # The first request loads what the others share.
        await work(sender, next(numbers))
        seen.seconds.clear()
        end, began = time.monotonic() + seconds, _processor(server.pid)

        async def one_client() -> None:
            while time.monotonic() < end:
                await work(sender, next(numbers))

        async def watch() -> None:
            while time.monotonic() < end:
                seen.memory.append(_memory(server.pid))
                await asyncio.sleep(1)

        await asyncio.gather(watch(), *(one_client() for _ in range(clients)))
        seen.memory.append(_memory(server.pid))
        seen.processor = _processor(server.pid) - began
    return seen


async def _started(client: httpx.AsyncClient, server: subprocess.Popen[bytes]) -> None:
    for _ in range(1200):
        try:
            await client.get("/health")
        except httpx.ConnectError:
            if server.poll() is not None:
                break
            await asyncio.sleep(0.1)
        else:
            return
    raise DataError("the server does not answer", value=server.poll(), expected="a server that runs")


def _memory(pid: int) -> float:
    """Resident memory of a process in MiB."""
    match = re.search(r"VmRSS:\s+([0-9]+) kB", Path(f"/proc/{pid}/status").read_text())
    return float(match[1]) / 1024 if match else float("nan")


def _processor(pid: int) -> float:
    """Seconds that a process has computed, in all its threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def load_rows(
    seen: Seen,
    clients: int,
    seconds: float,
    *,
    method: str,
    request: str,
    requests: str,
    wrong: str,
    what: str = "",
    aims_ms: dict[int, float] | None = None,
) -> list[ResultRow]:
    """The rows of one load.

    Args:
        seen: what the clients have seen.
        clients: how many there were.
        seconds: how long.
        method: the command.
        request: a timed request with its article, such as "a check".
        requests: some of them, such as "checks".
        wrong: what an answer is that is counted as wrong.
        what: is served, where a method is measured more than once.
        aims_ms: percentile of the time of one client alone -> its aim.
    """
    name = f"{clients} clients, {seconds:.0f} s" if clients > 1 else f"1 client, {seconds:.0f} s"
    times = np.asarray(seen.seconds) * 1000
    note = f"{len(times)} {requests}, load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
    aims = (aims_ms or {}) if clients == 1 else {}

    def row(metric: str, value: float, *, lower_is_better: bool = True, **more: Any) -> ResultRow:
        dataset = f"{what}, {name}" if what else name
        return ResultRow(dataset, method, metric, value, ours=True, lower_is_better=lower_is_better, **more)

    half = len(seen.memory) // 2
    return [
        *(
            row(f"p{at} of {request}, ms", float(np.percentile(times, at)), note=note, aim=aims.get(at))
            for at in (50, 95, 99)
        ),
        row(f"processor time of the server {request}, ms", seen.processor / len(times) * 1000),
        row(f"{requests} per second", len(times) / seconds, lower_is_better=False),
        row("answers that are lost or no 200", seen.requests - seen.answers, aim=0.0),
        row(f"answers that are {wrong}", seen.wrong, aim=0.0),
        row("memory at the end, MiB", seen.memory[-1]),
        row("growth of memory in the second half, MiB", max(seen.memory[half:]) - seen.memory[half]),
    ]
