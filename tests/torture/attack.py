"""Loads damaged files in a process that may hang, run out of memory or die, and says what is wrong with the answers."""

from __future__ import annotations

import io
import logging
import os
import resource
import shutil
import time
import traceback
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from random import Random

from brought import BROUGHT, Reader
from mutations import mutant
from written import WRITTEN

from jepakit.errors import JepakitError
from processes import CONTEXT

READERS: dict[str, Reader] = {**BROUGHT, **WRITTEN}
SECONDS = 20
"""Of processor time, for one file of a few kilobytes."""
WAIT = 180
"""Seconds by the clock after which a process is taken to hang, on a busy machine too."""
BYTES = 4 << 30
"""Of memory, beyond what the process has at first."""
MESSAGE = 2000
"""Characters of a message, at most."""


@dataclass(frozen=True)
class Fault:
    """An answer to a damaged file that is not allowed.

    Args:
        reader: of `READERS`.
        file: the damaged file, kept.
        problem: what is wrong.
    """

    reader: str
    file: Path
    problem: str

    def __str__(self) -> str:
        return f"{self.reader}: {self.file}\n{self.problem}"


def attack(reader: str, count: int, seed: int, folder: Path) -> tuple[list[Fault], int]:
    """The faults among ``count`` damaged files, and how many of these were refused as they should be.

    Args:
        reader: of `READERS`.
        count: how many files.
        seed: of the damage.
        folder: an empty folder; the damaged files of the faults are kept there.
    """
    return _supervised(reader, folder, [(str(number), seed * 1_000_003 + number) for number in range(count)])


def replay(reader: str, kept: Path, folder: Path) -> list[Fault]:
    """The faults of damaged files that were kept: ``kept/CASE/FILE`` takes the place of ``FILE``."""
    cases = sorted(path.name for path in kept.iterdir())
    return _supervised(reader, folder, [(f"{kept}/{case}", -1) for case in cases])[0]


def _supervised(reader: str, folder: Path, jobs: list[tuple[str, int]]) -> tuple[list[Fault], int]:
    faults: list[Fault] = []
    refused = 0
    begin = 0
    while begin < len(jobs):
        here, there = CONTEXT.Pipe(duplex=False)
        process = CONTEXT.Process(target=_work, args=(reader, folder, jobs[begin:], there))
        process.start()
        there.close()
        try:
            for place, answer in _answers(here):
                refused += answer == "refused"
                if answer not in ("refused", "loaded"):
                    faults.append(Fault(reader, _kept(folder, jobs[begin + place][0]), answer))
                last = place
            begin = len(jobs) if last == len(jobs) - begin - 1 else begin + last + 1
        except _StoppedError as stopped:
            place = stopped.place
            faults.append(Fault(reader, _kept(folder, jobs[begin + place][0]), str(stopped)))
            begin += place + 1
        finally:
            process.kill()
            process.join()
            here.close()
    return faults, refused


class _StoppedError(Exception):
    def __init__(self, place: int, problem: str) -> None:
        super().__init__(problem)
        self.place = place


def _answers(here: Connection) -> Iterator[tuple[int, str]]:
    place = -1
    while True:
        if not here.poll(WAIT):
            raise _StoppedError(place + 1, f"no answer in {WAIT} s")
        try:
            received = here.recv()
        except EOFError:
            raise _StoppedError(place + 1, "the process died") from None
        if received is None:
            return
        place, answer = received
        yield place, answer


def _kept(folder: Path, name: str) -> Path:
    """What the worker has left of the last damaged files, moved aside."""
    target = folder / "faults" / Path(name).name
    target.parent.mkdir(exist_ok=True)
    if not target.exists():
        shutil.copytree(folder / "at-work", target, dirs_exist_ok=True)
    return target


def _work(reader: str, folder: Path, jobs: list[tuple[str, int]], there: Connection) -> None:
    logging.disable()
    whole, at_work = folder / "whole", folder / "at-work"
    how = READERS[reader]
    if not whole.exists():
        whole.mkdir(parents=True)
        how.write(whole)
    os.environ["XDG_CACHE_HOME"] = str(folder / "cache")
    expected = how.load(whole)
    pages = int(Path("/proc/self/statm").read_text().split()[0]) if Path("/proc/self/statm").exists() else 0
    limit = pages * resource.getpagesize() + BYTES if pages else resource.RLIM_INFINITY
    resource.setrlimit(resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))
    files = sorted({path for pattern in how.attacked for path in whole.rglob(pattern) if path.is_file()})
    for place, (name, seed) in enumerate(jobs):
        shutil.rmtree(at_work, ignore_errors=True)
        shutil.copytree(whole, at_work)
        if seed < 0:
            shutil.copytree(name, at_work, dirs_exist_ok=True)
        else:
            draw = Random(seed)
            file = draw.choice(files)
            damaged = mutant(file.read_bytes(), draw, keeps_meaning=reader in WRITTEN)
            (at_work / file.relative_to(whole)).write_bytes(damaged)
        answer = _judged(reader, at_work, expected)
        if answer not in ("loaded", "refused"):
            _kept(folder, name)
        there.send((place, answer))
    there.send(None)


def _judged(reader: str, folder: Path, expected: object) -> str:
    begin = time.process_time()
    said = io.StringIO()
    try:
        with redirect_stdout(said), redirect_stderr(said):
            found = READERS[reader].load(folder)
    except JepakitError as error:
        message = str(error)
        if str(folder) not in message:
            return f"the message names no file: {message[:MESSAGE]}"
        if len(message) > MESSAGE or "\n" in message.strip():
            return f"the message is long, or has several lines: {message[:MESSAGE]}"
        answer = "refused"
    except BaseException:  # noqa: BLE001 -- whatever escapes is what is looked for
        return traceback.format_exc(limit=-6)[-3000:]
    else:
        if reader in WRITTEN and found != expected:
            return "it was read as something else than was written"
        answer = "loaded"
    seconds = time.process_time() - begin
    if said.getvalue():
        return f"it printed: {said.getvalue()[:300]}"
    return answer if seconds < SECONDS else f"it took {seconds:.0f} s"
