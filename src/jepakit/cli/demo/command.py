"""``jepakit demo``."""

from __future__ import annotations

import shutil
import time
from dataclasses import asdict, dataclass, field, replace
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Literal, get_args

from rich.console import Console

from jepakit.cli.demo.case import Shown
from jepakit.cli.messages import say
from jepakit.cli.outcome import Outcome
from jepakit.cli.reading import Command
from jepakit.errors import ConfigError, MissingExtraError, require_choice
from jepakit.files import write_json
from jepakit.progress import in_words, phase

System = Literal["graph", "kgqa", "retrieval", "lp", "guard"]
#: What each shows, and the seconds that it takes about, until the first ones have told how fast this machine is.
_PARTS: dict[System, tuple[str, int]] = {
    "graph": ("nodes of Python's standard library from few labels", 60),
    "kgqa": ("questions about the standard library, learned without an answer", 40),
    "retrieval": ("search in the documentation of the standard library", 90),
    "lp": ("a power grid under thousands of loads", 15),
    "guard": ("an agent's mail to a stranger, stopped and repaired", 3),
}
_EXTRAS = {"kgqa": "kgqa,minilm", "retrieval": "retrieval,minilm"}
_MARK = "demo.json"


@dataclass
class DemoOptions:
    """Showing what each system does, on built-in data.

    Args:
        systems: some of ``graph``, ``kgqa``, ``retrieval``, ``lp``, ``guard``; by default all.
        run: folder for their runs and the page ``index.html``; those of an earlier demo are replaced.
        progress: show what is done, how much of it, and the time left.
    """

    systems: list[System] = field(default_factory=lambda: list[System](get_args(System)))
    run: Path = Path("runs/demo")
    progress: bool = True

    def __post_init__(self) -> None:
        for system in self.systems:
            require_choice("systems", system, get_args(System))


def run_demo(options: DemoOptions, out: Console) -> Outcome:
    """Runs the parts one after another; one whose packages are missing is left out.

    Raises:
        ConfigError: the folder holds something else than an earlier demo.
    """
    # The page's table needs torch, for which a first line should not wait.
    say(out, f"{len(options.systems)} systems on built-in data, nothing is downloaded; results in {options.run}")
    from jepakit.cli.demo.page import show_table, write_index

    _prepare(options.run)
    parts: dict[str, Shown] = {}
    skipped: dict[str, str] = {}
    seconds = [_PARTS[name][1] for name in options.systems]
    with phase("demo", len(seconds), unit="systems") as whole:
        for place, name in enumerate(options.systems):
            task, _ = _PARTS[name]
            done, rest = sum(seconds[:place]), sum(seconds[place:])
            left = f"about {in_words(rest * whole.seconds / done if done else rest)} left in all"
            say(out, f"\n{place + 1} of {len(seconds)}, {name}: {task} ({left})")
            start = time.perf_counter()
            try:
                shown = import_module(f"jepakit.cli.demo.{name}").run(options.run / name, out)
                parts[name] = replace(shown, seconds=time.perf_counter() - start)
            except (ModuleNotFoundError, MissingExtraError) as error:
                skipped[name] = _missing(name, error)
                say(out, skipped[name])
            whole.advance()
    say(out, "")
    show_table(parts, skipped, out)
    write_index(options.run / "index.html", parts, skipped)
    page = options.run / "index.html"
    say(out, f"{in_words(whole.seconds)} in all; open {page}")
    systems = {name: asdict(part) for name, part in parts.items()}
    return Outcome({"page": page, "seconds": whole.seconds, "systems": systems, "left_out": skipped})


def _prepare(folder: Path) -> None:
    """An empty folder; what an earlier demo has left is removed."""
    if folder.exists() and any(folder.iterdir()):
        if not (folder / _MARK).is_file():
            raise ConfigError("run", folder, "a folder that is new, or of an earlier demo")
        shutil.rmtree(folder)
    write_json(folder / _MARK, {"jepakit": version("jepakit")})


def _missing(name: str, error: Exception) -> str:
    if isinstance(error, MissingExtraError):
        return str(error)
    package = (getattr(error, "name", None) or str(error)).partition(".")[0]
    if package == "jepakit":
        raise error
    return str(MissingExtraError(package, _EXTRAS.get(name, name)))


COMMANDS = {"demo": Command(DemoOptions, run_demo, optional=("systems",))}
