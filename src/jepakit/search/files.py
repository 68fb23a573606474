"""Small files of an index: JSON and arrays, and messages that name the file when one is damaged."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from jepakit.errors import ModelError


def write_json(file: Path, content: dict[str, Any]) -> None:
    """Writes an object as JSON."""
    file.write_text(json.dumps(content, indent=1), encoding="ascii")


def read_json(file: Path) -> dict[str, Any]:
    """The object in a JSON file.

    Raises:
        FileNotFoundError: there is no such file.
        ModelError: it is not a JSON object.
    """
    try:
        content = json.loads(file.read_text(encoding="ascii"))
    except ValueError as error:
        raise ModelError(f"{file}: damaged (not JSON: {error})") from error
    if not isinstance(content, dict):
        raise ModelError(f"{file}: damaged (not a JSON object)")
    return content


def read_array(file: Path, dtype: DTypeLike, dimensions: int = 1) -> np.ndarray:
    """The array in a file, mapped into memory.

    Raises:
        FileNotFoundError: there is no such file.
        ModelError: it is no such array, or not all of it is there.
    """
    try:
        array = np.load(file, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise ModelError(f"{file}: damaged (not a whole array)") from error
    if array.ndim != dimensions or array.dtype != np.dtype(dtype):
        raise ModelError(f"{file}: damaged (found {array.dtype} of {array.ndim} dimensions)")
    return np.asarray(array)
