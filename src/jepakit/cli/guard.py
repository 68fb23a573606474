"""``jepakit guard train | evaluate | audit | calibrate | draft-policy | repair | serve | proxy | pin | approve``."""

from __future__ import annotations

from jepakit.cli.guard_audit import AuditOptions, run_audit
from jepakit.cli.guard_live import COMMANDS as LIVE_COMMANDS
from jepakit.cli.guard_policy import CalibrateOptions, DraftOptions, run_calibrate, run_draft_policy
from jepakit.cli.guard_repair import RepairOptions, run_repair
from jepakit.cli.guard_train import EARLIER_NAMES, EvaluateOptions, TrainOptions, run_evaluate, run_train
from jepakit.cli.reading import Command
from jepakit.guard.presets import PRESETS

#: Other names of the options of guard train: those of the original system, and of an earlier version.
NAMES = {
    **EARLIER_NAMES,
    "temperature": "objective.temperature",
    "gradient_clip": "clip_norm",
    "security_margin": "objective.security_margin",
    "latent_dim": "encoder.latent_dim",
}

COMMANDS = {
    "train": Command(TrainOptions, run_train, optional=("traces",), presets=PRESETS, aliases=NAMES, json=True),
    "evaluate": Command(EvaluateOptions, run_evaluate, ("run", "traces"), aliases=EARLIER_NAMES, json=True),
    "audit": Command(AuditOptions, run_audit, ("traces",), json=True),
    "calibrate": Command(CalibrateOptions, run_calibrate, ("traces",), json=True),
    "draft-policy": Command(DraftOptions, run_draft_policy, positional=("tools",)),
    "repair": Command(RepairOptions, run_repair, ("traces",), json=True),
    **LIVE_COMMANDS,
}
