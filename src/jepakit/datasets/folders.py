"""The folder with the user's data, and the folder for what jepakit can make or fetch again."""

import os
from pathlib import Path

from jepakit.errors import ConfigError


def cache_folder() -> Path:
    """``$XDG_CACHE_HOME/jepakit``, or ``~/.cache/jepakit`` where that variable is unset; it need not exist yet."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "jepakit"


def data_folder(data_dir: str | Path | None = None) -> Path | None:
    """The folder in which datasets are looked up by name: ``data_dir``, else ``$JEPAKIT_DATA``, else None.

    Raises:
        ConfigError: the folder does not exist.
    """
    field, given = ("data_dir", data_dir) if data_dir is not None else ("JEPAKIT_DATA", os.environ.get("JEPAKIT_DATA"))
    if not given:
        return None
    if not Path(given).is_dir():
        raise ConfigError(field, str(given), "an existing folder")
    return Path(given)
