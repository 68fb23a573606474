"""Real processes, alone or in a group, forked from a server that has imported what takes seconds to import."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path

import torch.distributed as dist
from safetensors.torch import load_file, save_file
from torch import Tensor

#: Seconds after which a process is taken to hang: far more than a busy machine needs.
LIMIT = 600
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(
    [
        *("jepakit.cli.graph", "jepakit.cli.lp", "jepakit.cli.retrieval", "jepakit.graph.probe.classes"),
        *("jepakit.cli.guard_audit", "jepakit.cli.guard_repair", "jepakit.guard.audit.report"),
        # What they import while they run.
        *("jepakit.training.trainer", "pydantic"),
        *("jepakit.cli.kgqa", "sentence_transformers", "transformers.models.bert", "transformers.models.llama", "peft"),
    ]
)


def run_group(
    work: Callable[..., dict[str, Tensor]], folder: Path, *arguments: object, world: int = 2
) -> list[dict[str, Tensor]]:
    """What ``work(rank, world, *arguments)`` returns in each process of a gloo group.

    Args:
        work: a function of a module.
        folder: for the files of the group.
        arguments: which can be pickled.
        world: number of processes.
    """
    assert codes_of_group(work, folder, *arguments, world=world) == [0] * world
    return [load_file(folder / f"{rank}.safetensors") for rank in range(world)]


def codes_of_group(
    work: Callable[..., dict[str, Tensor]], folder: Path, *arguments: object, world: int = 2
) -> list[int | None]:
    """The exit codes of the processes of `run_group`; None of one that hangs."""
    members = [CONTEXT.Process(target=_member, args=(work, rank, world, folder, arguments)) for rank in range(world)]
    for member in members:
        member.start()
    for member in members:
        member.join(LIMIT)
    codes = [member.exitcode for member in members]
    for member in members:
        member.kill()
    return codes


def _member(
    work: Callable[..., dict[str, Tensor]], rank: int, world: int, folder: Path, arguments: tuple[object, ...]
) -> None:
    # Lightning joins the group where this is set, and starts processes of its own where it is not.
    os.environ["LOCAL_RANK"] = str(rank)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=world)
    save_file(work(rank, world, *arguments), folder / f"{rank}.safetensors")
    dist.barrier()  # a process that leaves first would break the connection of another that has not finished
    dist.destroy_process_group()


def start_command(
    words: Sequence[str], log: Path, *, errors: Path | None = None, without: str | None = None
) -> BaseProcess:
    """``jepakit WORDS`` in a process of its own.

    Args:
        words: the command line.
        log: where its output goes.
        errors: where its errors go; None: to ``log``.
        without: a package that cannot be imported there.
    """
    process = CONTEXT.Process(target=_command, args=(list(words), str(log), str(errors or log), without))
    process.start()
    return process


def ended(words: Sequence[str], log: Path) -> int | None:
    """The exit code of ``jepakit WORDS``; None if it hangs."""
    process = start_command(words, log)
    process.join(LIMIT)
    code = process.exitcode
    process.kill()
    return code


class _Blocker:
    def __init__(self, package: str) -> None:
        self.package = package

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        if name.partition(".")[0] == self.package:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def _command(words: list[str], log: str, errors: str, without: str | None) -> None:
    for descriptor, file in ((1, log), (2, errors)):
        os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND), descriptor)
    # A shell that runs the tests in the background has its children ignore Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    from jepakit.cli.main import main

    if without is not None:
        for name in [name for name in sys.modules if name.partition(".")[0] == without]:
            del sys.modules[name]
        sys.meta_path.insert(0, _Blocker(without))  # type: ignore[arg-type]
    sys.exit(main(words))
