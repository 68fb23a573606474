"""Weights of the steps of a search."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

from jepakit.errors import require_within
from jepakit.files import read_json, reading, write_json

DEPTH = 100
"""Depth of rankings that are fused or scored again by sentences; Recall@100 needs as many."""
FEEDBACK_DOCUMENTS = 3
"""First documents that a query is moved towards."""
FEEDBACK_TEMPERATURE = 0.05
"""Softmax temperature of their weights: a cosine higher by this makes a weight e times as large."""


@dataclass(frozen=True)
class SearchSettings:
    """Weights of a search, from 0 to 1, which held-out pairs choose; 0 turns a step off.

    Args:
        words: weight of BM25 against the vectors, in the training collection.
        feedback: weight of pseudo-relevance feedback, see `jepakit.retrieval.ranking.with_feedback`.
        sentences: weight of a document's best sentence against the whole document, see
            `jepakit.retrieval.ranking.with_sentences`.
        words_elsewhere: weight of BM25 in other collections.
    """

    words: float = 0.0
    feedback: float = 0.0
    sentences: float = 0.0
    words_elsewhere: float = 0.0

    @property
    def use_words(self) -> bool:
        """Whether BM25 has a weight anywhere."""
        return self.words > 0 or self.words_elsewhere > 0

    @property
    def names(self) -> str:
        """The steps that are on in the training collection, such as ``sentences + BM25``."""
        steps = {"sentences": self.sentences, "feedback": self.feedback, "BM25": self.words}
        return " + ".join(name for name, weight in steps.items() if weight)

    def write(self, file: str | Path) -> None:
        """Writes the settings as JSON."""
        write_json(Path(file), asdict(self))

    @classmethod
    def read(cls, file: str | Path) -> SearchSettings:
        """Reads a file of `write`; without a file, the defaults.

        Raises:
            DataError: the file is damaged.
        """
        file = Path(file)
        if not file.exists():
            return cls()
        weights = read_json(file)
        with reading(file, expected='{"words": a number, "feedback": a number, "sentences": a number}'):
            # Earlier versions searched other collections without BM25.
            return cls.checked(**{"words_elsewhere": 0.0, **weights})

    @classmethod
    def checked(cls, **weights: float) -> SearchSettings:
        """Settings with weights from a file.

        Raises:
            ConfigError: a weight is not in [0, 1].
        """
        settings = cls(**weights)
        require_within(settings, "[0, 1]", *asdict(settings))
        return settings
