"""``jepakit verify FOLDER``: whether the files of a run, encoder or index are still what was written."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from jepakit.errors import ConfigError, ModelError
from jepakit.files.verify import verify

USAGE = """\
jepakit verify FOLDER: reads every file of a run, encoder or index folder and computes its digests

It lists the files that are damaged or missing; the exit status is 0 where there are none, else 2."""


def run_verify(words: Sequence[str], out: Console) -> int:
    """Says what is wrong with a folder.

    Raises:
        ConfigError: not one folder is given.
        ModelError: there is no such folder, or files in it are damaged.
    """
    if list(words) in (["-h"], ["--help"], ["help"]):
        out.print(USAGE, highlight=False, markup=False)
        return 0
    if len(words) != 1:
        raise ConfigError("verify", list(words), "one folder: jepakit verify FOLDER")
    found = verify(Path(words[0]))
    for fault in found.faults:
        out.print(fault, highlight=False, markup=False, soft_wrap=True)
    if found.faults:
        raise ModelError(f"{words[0]}: {len(found.faults)} of {found.files} files are damaged or missing")
    sentence = f"{words[0]}: {found.files} files can be read; {found.with_digest} have digests, and all agree"
    out.print(sentence, highlight=False, markup=False, soft_wrap=True)
    return 0
