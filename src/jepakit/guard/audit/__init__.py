"""The auditor of an agent's calls: decisions, thresholds and their calibration, reports."""

from jepakit.guard.audit.auditor import AuditLimits, Auditor, Gate
from jepakit.guard.audit.judgement import Judgement
from jepakit.guard.audit.thresholds import Thresholds

__all__ = ["AuditLimits", "Auditor", "Gate", "Judgement", "Thresholds"]
