"""Where jepakit keeps what it can make or fetch again."""

import os
from pathlib import Path

__all__ = ["cache_folder"]


def cache_folder() -> Path:
    """``$XDG_CACHE_HOME/jepakit``, or ``~/.cache/jepakit`` where that variable is unset; it need not exist yet."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "jepakit"
