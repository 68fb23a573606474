"""``jepakit guard train | evaluate | audit | calibrate | draft-policy | repair | serve | proxy | pin | approve``."""

from __future__ import annotations

from jepakit.cli.command import Command
from jepakit.cli.guard_audit import AuditOptions, run_audit
from jepakit.cli.guard_live import COMMANDS as LIVE_COMMANDS
from jepakit.cli.guard_policy import CalibrateOptions, DraftOptions, run_calibrate, run_draft_policy
from jepakit.cli.guard_repair import RepairOptions, run_repair
from jepakit.cli.guard_train import EvaluateOptions, TrainOptions, run_evaluate, run_train
from jepakit.guard.presets import PRESETS

#: Options of the original system.
ORIGINAL_NAMES = {
    "temperature": "objective.temperature",
    "gradient_clip": "clip_norm",
    "security_margin": "objective.security_margin",
    "latent_dim": "encoder.latent_dim",
}

COMMANDS = {
    "train": Command(
        "learn from labelled runs of agents", TrainOptions, run_train, ("dataset",), PRESETS, aliases=ORIGINAL_NAMES
    ),
    "evaluate": Command("compare a model with floors on other labelled runs", EvaluateOptions, run_evaluate, ("run",)),
    "audit": Command("judge every call of recorded runs", AuditOptions, run_audit, positional=("traces",)),
    "calibrate": Command(
        "thresholds from recorded runs, at rates of yours", CalibrateOptions, run_calibrate, positional=("traces",)
    ),
    "draft-policy": Command(
        "write a first policy from descriptions of tools", DraftOptions, run_draft_policy, positional=("tools",)
    ),
    "repair": Command("take the harm out of plans", RepairOptions, run_repair, positional=("traces",)),
    **LIVE_COMMANDS,
}
