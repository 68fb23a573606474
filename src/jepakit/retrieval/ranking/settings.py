"""The weights of a search that are chosen by held-out pairs, besides the adapter."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

from jepakit.errors import DataError
from jepakit.files import read_json, reading, write_json


@dataclass(frozen=True)
class SearchSettings:
    """Weights of a search, from 0 to 1; 0 turns a step off.

    Args:
        words: weight of BM25 against the vectors.
        feedback: weight of pseudo-relevance feedback; see `jepakit.retrieval.ranking.feedback`.
        sentences: weight of a document's best sentence against the whole document; see
            `jepakit.retrieval.ranking.sentences`.
    """

    words: float = 0.0
    feedback: float = 0.0
    sentences: float = 0.0

    def write(self, file: Path) -> None:
        """Writes the settings as JSON."""
        write_json(file, asdict(self))

    @classmethod
    def read(cls, file: Path) -> SearchSettings:
        """Reads a file of `write`; without a file, the defaults.

        Raises:
            DataError: the file is damaged.
        """
        if not file.exists():
            return cls()
        weights = read_json(file)
        with reading(file, expected='{"words": a number, "feedback": a number, "sentences": a number}'):
            settings = cls(**{name: weights[name] for name in asdict(cls())})
        for name, weight in asdict(settings).items():
            if not isinstance(weight, int | float) or not 0 <= weight <= 1:
                raise DataError("not a weight", file=file, field=name, value=weight, expected="a number from 0 to 1")
        return settings
