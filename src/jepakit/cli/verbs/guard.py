"""Verbs of ``jepakit guard``."""

from __future__ import annotations

from jepakit.cli.verbs.verb import Verb

VERBS = {
    "train": Verb("learn from labelled runs of agents", "jepakit.cli.guard"),
    "evaluate": Verb("compare a model with floors on other labelled runs", "jepakit.cli.guard"),
    "audit": Verb("judge every call of recorded runs", "jepakit.cli.guard"),
    "calibrate": Verb("thresholds from recorded runs, at rates of yours", "jepakit.cli.guard"),
    "draft-policy": Verb("write a first policy from descriptions of tools", "jepakit.cli.guard"),
    "repair": Verb("take the harm out of plans", "jepakit.cli.guard"),
    "serve": Verb(
        "judge traces and running sessions, and repair plans, over HTTP", "jepakit.cli.guard_live", quick=True
    ),
    "proxy": Verb(
        "judge the calls of an MCP server's tools before the server hears of them: proxy ... -- SERVER COMMAND",
        "jepakit.cli.guard_live",
        quick=True,
    ),
    "pin": Verb(
        "pin the tools of an MCP server as they are now, after you have read them: pin ... -- SERVER COMMAND",
        "jepakit.cli.guard_live",
        quick=True,
    ),
    "approve": Verb("let a call through that waits for a person", "jepakit.cli.guard_live", quick=True),
}
