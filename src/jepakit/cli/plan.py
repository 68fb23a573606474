"""``--dry-run``: what a training command would do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console

from jepakit.cli.messages import say
from jepakit.cli.outcome import Outcome
from jepakit.cli.runs import starting
from jepakit.training import FitConfig, RunFolder


def planned(
    run: RunFolder, options: Any, data: str, out: Console, *, renamed: Mapping[str, str] | None = None
) -> Outcome:
    """Says what would be trained on what and where; nothing is written.

    How long it takes is said where the folder has a run: its epochs were timed.

    Args:
        run: the folder of the run.
        options: of the command.
        data: the data, with their sizes.
        out: where it is said.
        renamed: see `jepakit.cli.runs.training_run`.

    Raises:
        ConfigError: the command would be refused; see `jepakit.training.RunFolder.require_startable`.
    """
    run.require_startable(**starting(options), renamed=renamed)
    earlier = run.read_metrics() if run.config.exists() else []
    what = "a new run"
    resumed: bool = options.resume and run.config.exists()
    if run.config.exists():
        what = "resumes the run" if resumed else "replaces the run"
    content: dict[str, Any] = {"dry_run": True, "data": data, "run": run.path, "what": what}
    say(out, data)
    say(out, f"{what} in {run.path}")
    if isinstance(options, FitConfig):
        done = len(earlier) if resumed else 0
        content |= {"epochs": options.epochs, "epochs_done": done, "batch_size": options.batch_size}
        before = f", of which {done} are done" if done else ""
        say(out, f"{options.epochs} epochs{before}, {options.batch_size} examples a step")
        if seconds := [float(row.get("seconds") or 0) for row in earlier]:
            content["seconds_an_epoch"] = mean = sum(seconds) / len(seconds)
            left = mean * (options.epochs - done)
            say(
                out,
                f"an epoch of the run in the folder took {mean:.3g} s; {options.epochs - done} would take {left:.3g} s",
            )
    say(out, "nothing was written")
    return Outcome(content)
