"""``jepakit SYSTEM VERB ...``: finds the command, runs it, reports errors in one line."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from collections.abc import Generator, Sequence
from concurrent.futures import BrokenExecutor
from contextlib import contextmanager
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from jepakit.errors import (
    ConfigError,
    JepakitError,
    MissingExtraError,
    ModelError,
    require_choice,
)

if TYPE_CHECKING:
    from jepakit.cli.command import Command


#: system -> (module of its commands, what it is for)
SYSTEMS = {
    "graph": ("jepakit.cli.graph", "self-supervised encoders for graphs"),
    "guard": ("jepakit.cli.guard", "tool calls of agents, judged before they are carried out"),
    "kgqa": ("jepakit.cli.kgqa", "questions over a knowledge graph"),
    "lp": ("jepakit.cli.lp", "linear programs solved again and again"),
    "retrieval": ("jepakit.cli.retrieval", "search adapted to documents of your own"),
}

#: system -> module of those of its commands that do without torch, and do not wait for it
_QUICK = {
    "guard": "jepakit.cli.guard_live",
    "lp": "jepakit.cli.lp_solve",
    "retrieval": "jepakit.cli.retrieval_search",
}

_VERIFY = "whether the files of a run, encoder or index are as they were written"


class _Output(Console):
    """A console that leaves a reader that has gone (head, less) to `main`."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


class _Terminated(KeyboardInterrupt):
    """SIGTERM, which ends a command as Ctrl-C does."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command line and returns its exit status.

    ======  ==========================================================================================
    status  meaning
    ======  ==========================================================================================
    0       done
    2       not done; one line on stderr says why: an option, the data, a file, the disk or the memory
    3       ``jepakit guard audit --fail-on``: a call was denied, or asked about
    130     interrupted (Ctrl-C); a training that can be resumed says how
    141     the reader of the output (head, less) has gone
    143     terminated (SIGTERM); as for 130
    ======  ==========================================================================================

    Any other error is a fault of jepakit and leaves its traceback, with status 1.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    errors = Console(stderr=True, soft_wrap=True)
    logging.basicConfig(level=logging.WARNING, format="%(name)s: %(message)s")
    try:
        with _sigterm_interrupts():
            _dispatch(words)
        # A reader that has gone is noticed here, not in the interpreter's last moments.
        sys.stdout.flush()
        return 0
    except SystemExit as done:  # --help and --print_config
        return int(done.code or 0)
    except KeyboardInterrupt as interruption:
        terminated = isinstance(interruption, _Terminated)
        errors.print("terminated" if terminated else "interrupted")
        return 143 if terminated else 130
    except BrokenPipeError:
        # The reader (head, less) has gone: nothing is left to say, not even at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except (JepakitError, OSError, MemoryError, RuntimeError) as error:
        message = _in_one_line(error)
        if message is None:
            raise
        errors.print(Text.assemble(("error: ", "bold red"), message))
        return 2


def _in_one_line(error: Exception) -> str | None:
    """What went wrong outside jepakit, and the way out; None where the error is a fault of jepakit."""
    if isinstance(error, JepakitError):
        return str(error)
    if isinstance(error, OSError):
        reason = error.strerror or str(error) or type(error).__name__
        return reason if error.filename is None else f"{error.filename}: {reason}"
    # torch's error for an accelerator is known by its name: torch is not imported for this.
    full = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    if full or "can't allocate memory" in str(error):
        place = "of the accelerator " if type(error).__module__.startswith("torch") else ""
        return f"the memory {place}is full; a smaller batch_size, a smaller encoder or fewer workers need less"
    if isinstance(error, BrokenExecutor):
        return "a worker process was killed, mostly because the memory is full; fewer workers need less"
    if "home directory" in str(error):
        return "there is no home folder for the cache; set HOME or XDG_CACHE_HOME to a folder"
    return None


@contextmanager
def _sigterm_interrupts() -> Generator[None]:
    """SIGTERM raises `_Terminated`, where signals can be handled: in the main thread."""

    def terminate(*_: object) -> None:
        raise _Terminated

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _dispatch(words: list[str]) -> None:
    out = _Output(highlight=False, markup=False)
    match words:
        case [] | ["-h" | "--help" | "help", *_]:
            lines = [f"  {name:12}{summary}" for name, (_, summary) in SYSTEMS.items()]
            out.print("jepakit: joint-embedding predictive learning on structured data", "", *lines, sep="\n")
            out.print(f"  {'verify':12}{_VERIFY}", "", sep="\n")
            out.print("`jepakit SYSTEM` lists its verbs, `jepakit SYSTEM VERB --help` their options.")
        case ["-V" | "--version", *_]:
            out.print(version("jepakit"))
        case ["verify", *rest]:
            _verify(rest, out)
        case _:
            name, *rest = words
            system = require_choice("system", name, SYSTEMS)
            try:
                _run(system, rest, out)
            except ModuleNotFoundError as error:
                # Whatever a system imports, and whenever, comes with its extra.
                package = (error.name or str(error)).partition(".")[0]
                if package == "jepakit":
                    raise
                raise MissingExtraError(package, system) from error


def _run(system: str, words: list[str], out: Console) -> None:
    module, summary = SYSTEMS[system]
    quick: dict[str, Command] = import_module(_QUICK[system]).COMMANDS if system in _QUICK else {}
    commands = quick if words and words[0] in quick else import_module(module).COMMANDS
    if not words or words[0] in ("-h", "--help", "help"):
        width = max(map(len, commands)) + 2
        lines = [f"  {verb:{width}}{command.help}" for verb, command in commands.items()]
        out.print(f"jepakit {system}: {summary}", "", *lines, "", sep="\n")
        out.print(f"`jepakit {system} VERB --help` lists its options.")
        return
    from jepakit.cli.command import run_command

    verb = require_choice("verb", words[0], commands)
    run_command(commands[verb], f"jepakit {system} {verb}", words[1:], out)


def _verify(words: list[str], out: Console) -> None:
    """``jepakit verify FOLDER``."""
    from jepakit.files.verify import verify

    if words in (["-h"], ["--help"], ["help"]):
        out.print(f"jepakit verify FOLDER: {_VERIFY}; the exit status is 0 where all are, else 2", soft_wrap=True)
        return
    if len(words) != 1:
        raise ConfigError("verify", words, "one folder: jepakit verify FOLDER")
    verified = verify(Path(words[0]))
    for fault in verified.faults:
        out.print(fault, soft_wrap=True)
    if verified.faults:
        raise ModelError(f"{words[0]}: {len(verified.faults)} of {verified.files} files are damaged or missing")
    digests = f"{verified.with_digest} have digests, and all agree"
    out.print(f"{words[0]}: {verified.files} files can be read; {digests}", soft_wrap=True)
