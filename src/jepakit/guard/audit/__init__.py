"""The auditor of an agent's calls: decisions, thresholds and their calibration, reports."""

from jepakit.guard.audit.auditor import Auditor, Gate, Mode
from jepakit.guard.audit.judgement import Judgement
from jepakit.guard.audit.limits import AuditLimits
from jepakit.guard.audit.secrets import SecretRules
from jepakit.guard.audit.thresholds import Thresholds

__all__ = ["AuditLimits", "Auditor", "Gate", "Judgement", "Mode", "SecretRules", "Thresholds"]
