"""The names of the public graphs and question sets, and where their files are in a folder of data."""

from __future__ import annotations

from pathlib import Path

from jepakit.datasets.folders import data_folder
from jepakit.errors import ConfigError, DataError, did_you_mean

FILES = {
    "metaqa": "kgqa/metaqa/kb.tsv",
    "pathquestion-2h": "kgqa/pathquestion/2H-kb.txt",
    "pathquestion-3h": "kgqa/pathquestion/3H-kb.txt",
    "primekg": "kgqa/primekg_subset/triples_59k.tsv",
}
"""Name of a graph that is a table of triples -> its file."""

STARK_NAMES = ("prime", "mag", "amazon")
"""The knowledge bases of STaRK."""

NAMES = ("python", *FILES, *STARK_NAMES)
"""All names."""


def named_file(name: str, place: str, data_dir: str | Path | None) -> Path:
    """The file or folder at ``place`` in the folder of data.

    Raises:
        ConfigError: there is no folder of data.
        DataError: the data are not in it.
    """
    root = data_folder(data_dir)
    if root is None:
        expected = f"the folder in which {place} is, for the data {name!r}; python needs no files"
        raise ConfigError("JEPAKIT_DATA", "", expected)
    if not (root / place).exists():
        raise DataError(f"the data {name!r} are not in the folder of data", file=root / place)
    return root / place


def unknown_name(field: str, name: str, expected: str) -> ConfigError:
    """The error for a name that is none of `NAMES`, with the nearest."""
    return ConfigError(field, name, f"{expected}, or one of {', '.join(NAMES)}{did_you_mean(name, NAMES)}")
