"""What a command has found."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from jepakit.files.copies import named


@dataclass(frozen=True)
class Outcome:
    """What a command has found, for ``--json``, and how it ends.

    Args:
        content: names and values; a path is written as text, that of a copy as its address, a number that is none
            as null.
        error: raised when that is written.
        status: exit status.
    """

    content: dict[str, Any] = field(default_factory=dict[str, Any])
    error: Exception | None = None
    status: int = 0

    def as_json(self) -> str:
        """One JSON document."""
        return json.dumps(_writable(self.content), ensure_ascii=False, indent=1)


def _writable(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(name): _writable(one) for name, one in cast(Mapping[Any, Any], value).items()}
    if isinstance(value, list | tuple):
        return [_writable(one) for one in cast(list[Any], value)]
    if isinstance(value, str | Path):
        return named(str(value))
    return None if isinstance(value, float) and not math.isfinite(value) else value
