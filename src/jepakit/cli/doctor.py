"""``jepakit doctor``: what is installed, what is missing and how to add it, and whether native libraries work."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from importlib.metadata import version

from rich.console import Console
from rich.table import Table
from rich.text import Text

from jepakit.cli.installed import NAME, Part, extras, install_command, parts
from jepakit.cli.messages import say
from jepakit.cli.outcome import Outcome
from jepakit.cli.reading import Command
from jepakit.cli.self_tests import CHECKS, LIMIT, Check, run_check
from jepakit.errors import ModelError, require_choice


@dataclass
class DoctorOptions:
    """Looking at an installation.

    Args:
        extras: those that have to be there, such as ``graph``; by default all are looked at, and none has to be.
        test: do the self-tests of native libraries, each in a process of its own.
        seconds: after which a self-test is ended.
    """

    extras: list[str] = field(default_factory=list[str])
    test: bool = True
    seconds: float = LIMIT


def run_doctor(options: DoctorOptions, out: Console) -> Outcome:
    """Prints versions, the machine, the extras and the self-tests.

    Raises:
        ConfigError: there is no such extra.
    """
    known = extras()
    for name in options.extras:
        require_choice("extras", name, known)
    groups = {name: parts(name) for name in ("", *(options.extras or known))}
    content = {"versions": _versions(), "machine": _machine()}
    say(out, ", ".join(f"{name} {value}" for name, value in content["versions"].items()))
    say(out, ", ".join(f"{value} {name}" for name, value in content["machine"].items()))
    _show_extras(groups, out)
    installed = {part.name for group in groups.values() for part in group if part.installed}
    checks = _checked([name for name in CHECKS if name in installed], options.seconds) if options.test else []
    _show_checks(checks, out)
    content |= {
        "extras": [
            {"extra": name, "packages": [{**asdict(part), "problem": part.problem} for part in group]}
            for name, group in groups.items()
        ],
        "self_tests": [asdict(check) for check in checks],
    }
    return Outcome(content, _fault(groups, checks, required=("", *options.extras)))


def _fault(groups: dict[str, list[Part]], checks: list[Check], *, required: Sequence[str]) -> Exception | None:
    """What has to be mended: in an extra that is required or all there, and in the libraries."""
    faults = [
        f"{part.name}: {part.problem}"
        for name, group in groups.items()
        if name in required or all(part.installed for part in group)
        for part in group
        if part.problem
    ]
    faults += [f"{check.name}: its self-test failed" for check in checks if check.problem]
    return ModelError("; ".join(dict.fromkeys(faults))) if faults else None


def _versions() -> dict[str, str]:
    return {NAME: version(NAME), "Python": platform.python_version(), platform.system(): platform.machine()}


def _machine() -> dict[str, float]:
    """Cores that this process may use, and memory where the system tells it."""
    machine: dict[str, float] = {"cores": os.cpu_count() or 1}
    if sys.platform == "linux":
        machine["cores"] = len(os.sched_getaffinity(0))
    if sys.platform != "win32":
        machine["GB of memory"] = round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9, 1)
    return machine


def _checked(names: list[str], seconds: float) -> list[Check]:
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        return list(pool.map(lambda name: run_check(name, limit=seconds), names))


def _show_extras(groups: dict[str, list[Part]], out: Console) -> None:
    table = Table("extra", "state", "to add it")
    for name, group in groups.items():
        problems = ", ".join(f"{part.name}: {part.problem}" for part in group if part.problem)
        state = Text(problems, "yellow") if problems else Text("complete", "green")
        table.add_row(name or "(none)", state, Text(install_command(name) if problems else ""))
    out.print(table)


def _show_checks(checks: list[Check], out: Console) -> None:
    if not checks:
        return
    table = Table("library", "version", "self-test")
    for check in checks:
        outcome = Text(check.problem, "red") if check.problem else Text(f"passed {check.detail}".strip(), "green")
        table.add_row(check.name, version(check.name), outcome)
    out.print(table)


COMMANDS = {"doctor": Command(DoctorOptions, run_doctor, optional=("extras",), json=True)}
