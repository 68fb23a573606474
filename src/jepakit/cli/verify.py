"""``jepakit verify``."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console

from jepakit.cli.messages import say
from jepakit.cli.outcome import Outcome
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


def run_verify(options: VerifyOptions, out: Console) -> Outcome:
    """Lists what is damaged.

    Raises:
        ConfigError: no folder is named.
        ModelError: there is no such folder.
    """
    if options.folder is None:
        raise ConfigError("folder", None, "the folder of a run, an encoder or an index")
    verified = verify(options.folder)
    for fault in verified.faults:
        say(out, str(fault))
    content = {"folder": options.folder, **asdict(verified)}
    if verified.faults:
        problem = f"{options.folder}: {len(verified.faults)} of {verified.files} files are damaged or missing"
        return Outcome(content, ModelError(problem))
    digests = f"{verified.with_digest} have digests, and all agree"
    say(out, f"{options.folder}: {verified.files} files can be read; {digests}")
    return Outcome(content)


COMMANDS = {"verify": Command(VerifyOptions, run_verify, ("folder",), json=True)}
