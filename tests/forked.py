"""Real processes without the seconds that importing torch takes: forked from a server that has imported everything."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections.abc import Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(
    ["jepakit.cli.graph", "jepakit.cli.lp", "jepakit.cli.retrieval", "jepakit.graph.probe.classes"]
)


def start_command(words: Sequence[str], log: Path, *, without: str | None = None) -> BaseProcess:
    """``jepakit WORDS`` in a process of its own.

    Args:
        words: the command line.
        log: where its output and errors go.
        without: a package that cannot be imported there.
    """
    process = CONTEXT.Process(target=_command, args=(list(words), str(log), without))
    process.start()
    return process


class _Blocker:
    def __init__(self, package: str) -> None:
        self.package = package

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        if name.partition(".")[0] == self.package:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def _command(words: list[str], log: str, without: str | None) -> None:
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(output, 1)
    os.dup2(output, 2)
    # A shell that runs the tests in the background has its children ignore Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    import torch

    from jepakit.cli.main import main

    torch.set_num_threads(1)
    if without is not None:
        for name in [name for name in sys.modules if name.partition(".")[0] == without]:
            del sys.modules[name]
        sys.meta_path.insert(0, _Blocker(without))  # type: ignore[arg-type]
    sys.exit(main(words))
