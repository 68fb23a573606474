"""``jepakit verify``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from jepakit.cli.messages import say
from jepakit.cli.reading import Command
from jepakit.errors import ConfigError, ModelError
from jepakit.files.verify import verify


@dataclass
class VerifyOptions:
    """Checking files.

    Args:
        folder: a run, an encoder, an index, or a folder of them.
    """

    folder: Path | None = None


def run_verify(options: VerifyOptions, out: Console) -> None:
    """Lists what is damaged.

    Raises:
        ConfigError: no folder is named.
        ModelError: files are damaged or missing.
    """
    if options.folder is None:
        raise ConfigError("folder", None, "the folder of a run, an encoder or an index")
    verified = verify(options.folder)
    for fault in verified.faults:
        say(out, str(fault))
    if verified.faults:
        raise ModelError(f"{options.folder}: {len(verified.faults)} of {verified.files} files are damaged or missing")
    say(
        out, f"{options.folder}: {verified.files} files can be read; {verified.with_digest} have digests, and all agree"
    )


COMMANDS = {"verify": Command(VerifyOptions, run_verify, ("folder",))}
