"""Plans of which something is denied or asked about, with the harm taken out: see `repair`."""

from jepakit.guard.repair.config import RepairConfig
from jepakit.guard.repair.result import Edit, Repair, intent_similarity
from jepakit.guard.repair.search import repair

__all__ = ["Edit", "Repair", "RepairConfig", "intent_similarity", "repair"]
