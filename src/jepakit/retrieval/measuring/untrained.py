"""What a search gains without any training: the base model with sentences, with feedback, with BM25."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path

from jepakit.files import read_json, reading, write_json
from jepakit.retrieval.ranking import SearchSettings

FILE = "floors.json"
"""Where a run keeps it."""


@dataclass(frozen=True)
class Untrained:
    """Weights of the steps of a search for the base model, chosen on the held-out pairs of the adapter.

    Args:
        each: the weight of each step alone; 0: the step is not measured.
        together: the weights that help the base significantly, one step after the other.
    """

    each: SearchSettings = field(default_factory=lambda: SearchSettings(words=0.3, feedback=0.2, sentences=0.2))
    together: SearchSettings = field(default_factory=SearchSettings)

    def write(self, file: Path) -> None:
        """Writes it as JSON."""
        write_json(file, asdict(self))

    @classmethod
    def read(cls, file: Path) -> Untrained:
        """Reads a file of `write`; without a file, the defaults.

        Raises:
            DataError: the file is damaged.
        """
        if not file.exists():
            return cls()
        weights = read_json(file)
        with reading(file, expected='{"each": weights of a search, "together": weights of a search}'):
            return cls(SearchSettings.checked(**weights["each"]), SearchSettings.checked(**weights["together"]))
