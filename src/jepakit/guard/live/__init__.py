"""Running agents: their history, approvals by people, and pins of the tools that servers offer."""

from jepakit.guard.live.approvals import Approvals
from jepakit.guard.live.pins import Pins
from jepakit.guard.live.requests import Request, RequestFolder
from jepakit.guard.live.session import Session, SessionLimits

__all__ = ["Approvals", "Pins", "Request", "RequestFolder", "Session", "SessionLimits"]
