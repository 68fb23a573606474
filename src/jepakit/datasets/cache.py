"""Data that take seconds to build, kept as safetensors in the user's cache folder.

The cache is never needed: a file that is missing, damaged or written by another build is built again, and a folder that
cannot be written to only costs the time.
"""

import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from torch import Tensor

from jepakit.datasets.folders import cache_folder
from jepakit.errors import JepakitError, ModelError
from jepakit.files import parse_json, stated_digest
from jepakit.files.tensors import read_tensors, write_tensors

Stored = tuple[dict[str, Tensor], dict[str, Any]]
"""Named CPU tensors and what JSON can hold about them."""


def cached_tensors(key: str, build: Callable[[], Stored]) -> Stored:
    """The data in the cache under ``key``, or what ``build`` returns, which is then stored there.

    The file states its digest, so that one with a flipped bit is built again too.

    Args:
        key: the file's name without its suffix; it must change with everything that the result depends on.
        build: makes the data.
    """
    file = cache_folder() / f"{key}.safetensors"
    stored = _read(file)
    if stored is None:
        stored = build()
        # On a full disk or in a read-only folder the data are in memory all the same.
        with suppress(ModelError):
            tensors, header = stored
            write_tensors(file, tensors, {"header": json.dumps(header, sort_keys=True)})
    return stored


def _read(file: Path) -> Stored | None:
    try:
        if stated_digest(file) is None:
            return None
        tensors, metadata = read_tensors(file)
        return tensors, parse_json(metadata["header"])
    except (JepakitError, OSError, KeyError, ValueError):
        return None
