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
from dataclasses import replace
from importlib import import_module
from importlib.metadata import version

from rich.console import Console
from rich.text import Text

from jepakit.cli.verbs import SYSTEMS, VERBS
from jepakit.cli.verbs.verb import Verb
from jepakit.errors import JepakitError, MissingExtraError, require_choice
from jepakit.progress import phase, shown

#: Words that ask for help.
_HELP = ("-h", "--help", "help")


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
    1       a fault of jepakit, with its traceback
    2       not done; one line on stderr says why: an option, the data, a file, the disk or the memory
    3       ``jepakit guard audit --fail-on``: a call was denied, or asked about
    130     interrupted (Ctrl-C); a training that can be resumed says how
    141     the reader of the output (head, less) has gone
    143     terminated (SIGTERM); as for 130
    ======  ==========================================================================================
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    errors = Console(stderr=True, soft_wrap=True)
    logging.basicConfig(level=logging.WARNING, format="%(name)s: %(message)s")
    try:
        with _sigterm_interrupts():
            status = _dispatch(words)
        # A reader that has gone is noticed here, not in the interpreter's last moments.
        sys.stdout.flush()
        return status
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
        return f"the memory {place}is full; a smaller batch_size, a smaller encoder or fewer jobs need less"
    if isinstance(error, BrokenExecutor):
        return "a worker process was killed, mostly because the memory is full; fewer jobs need less"
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


def _dispatch(words: list[str]) -> int:
    out = _Output(highlight=False, markup=False, emoji=False)
    match words:
        case [] | ["-h" | "--help" | "help", *_]:
            _write_overview(out)
        case ["-V" | "--version", *_]:
            out.print(version("jepakit"))
        case [name, *rest] if name in VERBS:
            return _run(name, VERBS[name], f"jepakit {name}", rest, out)
        case _:
            system = require_choice("command", words[0], [*SYSTEMS, *VERBS])
            verbs, rest = SYSTEMS[system].verbs, words[1:]
            if not rest or rest[0] in _HELP:
                _write_verbs(system, out)
                return 0
            verb = require_choice("verb", rest[0], verbs)
            return _run(verb, replace(verbs[verb], extra=system), f"jepakit {system} {verb}", rest[1:], out)
    return 0


def _write_overview(out: Console) -> None:
    from jepakit.cli.help_page import write_entries, write_wrapped

    write_wrapped(out, "jepakit: joint-embedding predictive learning on structured data")
    for listed in (SYSTEMS, VERBS):
        out.print()
        write_entries(out, {name: one.help for name, one in listed.items()}, 12)
    out.print()
    write_wrapped(out, "`jepakit SYSTEM` lists its verbs, `jepakit SYSTEM VERB --help` their options.")


def _write_verbs(system: str, out: Console) -> None:
    from jepakit.cli.help_page import write_entries, write_wrapped
    from jepakit.cli.installed import install_command, parts

    verbs = SYSTEMS[system].verbs
    write_wrapped(out, f"jepakit {system}: {SYSTEMS[system].help}")
    out.print()
    write_entries(out, {name: verb.help for name, verb in verbs.items()}, max(map(len, verbs)) + 4)
    out.print()
    write_wrapped(out, f"`jepakit {system} VERB --help` lists its options.")
    if missing := [part.name for part in parts(system) if part.problem]:
        write_wrapped(out, f"Not installed: {', '.join(missing)}. To add them: {install_command(system)}")


def _run(name: str, verb: Verb, program: str, words: list[str], out: Console) -> int:
    try:
        with shown(not verb.quick), phase(program):
            from jepakit.cli.command import run_command

            return run_command(import_module(verb.module).COMMANDS[name], verb, program, words, out)
    except (MissingExtraError, ModuleNotFoundError) as error:
        missing = _missing(error, verb)
        if missing is None:
            raise
        if not {"-h", "--help", "--help-all"} & {*words}:
            raise missing from error
        from jepakit.cli.help_page import write_usage, write_wrapped

        write_usage(out, program, verb, None)
        out.print()
        write_wrapped(out, f"Its options are listed once what it needs is there: {missing}")
        return 0


def _missing(error: MissingExtraError | ModuleNotFoundError, verb: Verb) -> MissingExtraError | None:
    """What a verb lacks, and its extra; None where the error says more than that."""
    if isinstance(error, MissingExtraError):
        # The extra of the verb brings ``training``, too.
        return MissingExtraError(error.package, verb.extra) if error.extra == "training" else None
    # Whatever a verb imports, and whenever, comes with its extra.
    package = (error.name or str(error)).partition(".")[0]
    return None if package == "jepakit" else MissingExtraError(package, verb.extra)
