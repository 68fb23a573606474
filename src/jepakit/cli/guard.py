"""``jepakit guard audit | calibrate | draft-policy | repair | serve | proxy | pin | approve``."""

from __future__ import annotations

from jepakit.cli.command import Command
from jepakit.cli.guard_audit import AuditOptions, run_audit
from jepakit.cli.guard_live import (
    ApproveOptions,
    PinOptions,
    ProxyOptions,
    ServeOptions,
    run_approve,
    run_pin,
    run_proxy_command,
    run_serve,
)
from jepakit.cli.guard_policy import CalibrateOptions, DraftOptions, run_calibrate, run_draft_policy
from jepakit.cli.guard_repair import RepairOptions, run_repair

COMMANDS = {
    "audit": Command("judge every call of recorded runs", AuditOptions, run_audit, positional=("traces",)),
    "calibrate": Command(
        "thresholds from recorded runs, at rates of yours", CalibrateOptions, run_calibrate, positional=("traces",)
    ),
    "draft-policy": Command(
        "write a first policy from descriptions of tools", DraftOptions, run_draft_policy, positional=("tools",)
    ),
    "repair": Command("take the harm out of plans", RepairOptions, run_repair, positional=("traces",)),
    "serve": Command("judge traces and running sessions, and repair plans, over HTTP", ServeOptions, run_serve),
    "proxy": Command(
        "judge the calls of an MCP server's tools before the server hears of them: proxy ... -- SERVER COMMAND",
        ProxyOptions,
        run_proxy_command,
        rest="command",
    ),
    "pin": Command(
        "pin the tools of an MCP server as they are now, after you have read them: pin ... -- SERVER COMMAND",
        PinOptions,
        run_pin,
        rest="command",
    ),
    "approve": Command(
        "let a call through that waits for a person", ApproveOptions, run_approve, positional=("folder",)
    ),
}
