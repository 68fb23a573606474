"""The frame of an HTTP service: who may ask, limits and deadlines, errors as JSON, health and metrics, a graceful stop.

A system adds its routes to `make_service` and runs it with `run_service`. Needs FastAPI and uvicorn, which the extras
of the systems that serve bring.

Every error is ``{"error": message}``. A client that does not send a whole head or body in time is cut off. Requests are
answered in threads, a bounded number of them at once; a bounded number wait, and more are refused with 503.
"""

from jepakit.http.deadlines import ServiceLimits
from jepakit.http.service import json_response, make_server, make_service, run_service

__all__ = ["ServiceLimits", "json_response", "make_server", "make_service", "run_service"]
