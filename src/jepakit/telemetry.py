"""Libraries that report their use to their makers are used without these reports: they need the user's consent."""

from __future__ import annotations

import sys
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, cast


@contextmanager
def without_openvino_telemetry() -> Generator[None]:
    """Disables OpenVINO's telemetry while OpenVINO is imported or converts a model, by hiding its telemetry package."""
    modules = cast("dict[str, Any]", sys.modules)
    hidden = "openvino_telemetry" not in modules
    if hidden:
        modules["openvino_telemetry"] = None
    try:
        yield
    finally:
        if hidden:
            del modules["openvino_telemetry"]
