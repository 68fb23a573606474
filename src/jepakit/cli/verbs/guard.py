"""Verbs of ``jepakit guard``: what help says of them."""

from __future__ import annotations

from jepakit.cli.verbs.verb import Verb

VERBS = {
    "train": Verb(
        "learn from labelled runs of agents",
        "jepakit.cli.guard",
        (
            "jepakit guard train traces.jsonl --policy policy.yaml --run runs/guard",
            "jepakit guard train --generated 60 --epochs 2 --run runs/try",
        ),
        {
            "data": ("traces", "format", "policy", "generated", "held_out"),
            "training": ("epochs", "batch_size", "learning_rate", "encoder.hidden", "encoder.words", "seed"),
            "the run": ("run", "resume", "overwrite", "dry_run"),
        },
    ),
    "evaluate": Verb(
        "compare a model with floors on other labelled runs",
        "jepakit.cli.guard",
        ("jepakit guard evaluate runs/guard other_traces.jsonl --policy policy.yaml",),
    ),
    "audit": Verb(
        "judge every call of recorded runs",
        "jepakit.cli.guard",
        (
            "jepakit guard audit traces.jsonl --policy policy.yaml --report report",
            "jepakit guard audit traces.jsonl --policy agentdojo/banking --fail-on deny",
        ),
        {
            "what is judged, and by what": ("traces", "policy", "model", "thresholds", "format"),
            "what is shown and written": ("show", "most", "out", "report", "fail_on"),
        },
    ),
    "calibrate": Verb(
        "thresholds from recorded runs, at rates of yours",
        "jepakit.cli.guard",
        ("jepakit guard calibrate traces.jsonl --policy policy.yaml --ask-rate 0.05 --out thresholds.json",),
    ),
    "draft-policy": Verb(
        "write a first policy from descriptions of tools",
        "jepakit.cli.guard",
        ("jepakit guard draft-policy tools.json --out policy.yaml",),
    ),
    "repair": Verb(
        "take the harm out of plans",
        "jepakit.cli.guard",
        ("jepakit guard repair traces.jsonl --policy policy.yaml --out repaired.jsonl",),
    ),
    "serve": Verb(
        "judge traces and running sessions, and repair plans, over HTTP",
        "jepakit.cli.guard_live",
        ("jepakit guard serve --policy policy.yaml --role clerk",),
        quick=True,
    ),
    "proxy": Verb(
        "judge the calls of an MCP server's tools before the server hears of them",
        "jepakit.cli.guard_live",
        ("jepakit guard proxy --policy policy.yaml --pins pins.json -- npx some-mcp-server",),
        {
            "the server": ("command", "url", "name", "pins"),
            "what judges": ("policy", "model", "mode", "role", "task"),
            "calls that wait for a person": ("approvals", "approval_seconds"),
        },
        quick=True,
    ),
    "pin": Verb(
        "pin the tools of an MCP server as they are now, after you have read them",
        "jepakit.cli.guard_live",
        ("jepakit guard pin --pins pins.json --accept -- npx some-mcp-server",),
        quick=True,
    ),
    "approve": Verb(
        "let a call through that waits for a person",
        "jepakit.cli.guard_live",
        ("jepakit guard approve waiting", "jepakit guard approve waiting --call 4f2a"),
        quick=True,
    ),
}
