"""The guard as an HTTP service: traces and running sessions are judged, plans repaired."""

from jepakit.guard.serving.app import ServingConfig, make_app

__all__ = ["ServingConfig", "make_app"]
