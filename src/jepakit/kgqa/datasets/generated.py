"""A knowledge graph of any size that is drawn at random: for measurements of time and memory."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count as count_from

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from jepakit.errors import ConfigError, require_at_least, require_within
from jepakit.kgqa.arrow import pc
from jepakit.kgqa.data import Ids, KnowledgeGraph, Relation, different, entity_table

_VOWELS, _CONSONANTS = "aeiou", "bdfgklmnprst"
_SYLLABLES = tuple(consonant + vowel for consonant in _CONSONANTS for vowel in _VOWELS)
#: Draws by weight before hubs are taken to be full.
_WEIGHTED_ROUNDS = 3
#: The words of a subject, of which a text has some.
_SUBJECT_WORDS, _TEXT_WORDS = 12, 6


@dataclass(frozen=True)
class GeneratedConfig:
    """The size and shape of a generated graph; by default those of STaRK-Prime (Wu et al. 2024).

    Args:
        entities: N.
        triples: T, all different.
        relations: number of relations; each leads from one type to one type.
        types: number of types of entities.
        subjects: number of subjects; each entity has one, and texts of one subject share their words.
        hub: triples drawn at the largest hub; fewer are left of them, since repeated triples are dropped.
        kinship: fraction of triples between entities of one subject.

    Raises:
        ConfigError: a value is out of range.
    """

    entities: int = 129_375
    triples: int = 8_100_000
    relations: int = 18
    types: int = 10
    subjects: int = 500
    hub: int = 48_000
    kinship: float = 0.5

    def __post_init__(self) -> None:
        require_at_least(self, entities=2, triples=1, relations=1, types=1, subjects=1, hub=1)
        require_within(self, "[0, 1]", "kinship")
        if self.types > self.entities:
            raise ConfigError("types", self.types, f"at most the number of entities, {self.entities}")


@dataclass(frozen=True)
class Generated:
    """A generated graph, and what its texts are drawn from.

    Args:
        graph: the graph.
        subject: of each entity, ``[N]``.
    """

    graph: KnowledgeGraph
    subject: Ids


def generate(config: GeneratedConfig, draw: np.random.Generator) -> Generated:
    """Draws a graph: skewed degrees, typed relations, more triples within a subject than by chance, texts of its words.

    Raises:
        ConfigError: the types and relations drawn have no room for so many triples.
    """
    kind = draw.choice(config.types, config.entities, p=_zipf(config.types, 0.8))
    kind[: config.types] = np.arange(config.types)
    subject = draw.integers(config.subjects, size=config.entities)
    ends = draw.integers(config.types, size=(config.relations, 2))
    size = np.bincount(kind)
    room = size[ends].prod(1)
    # As many triples as a relation has room for by half: the drawing of different ones ends soon.
    counts = np.minimum(np.ceil(_zipf(config.relations, 1.0) * config.triples), room // 2).astype(np.int64)
    counts[np.argmax(room)] += config.triples - counts.sum()
    if counts[np.argmax(room)] > room.max() // 2:
        raise ConfigError("triples", config.triples, f"at most about {room.sum() // 2} between these entities")
    weight = _weights(
        kind, np.bincount(ends.ravel(), np.repeat(counts, 2), config.types).astype(np.float64), config.hub, draw
    )
    members = [
        _Members.of(np.flatnonzero(kind == one), weight, subject, config.subjects) for one in range(config.types)
    ]
    triples = [
        _different(members[head], members[tail], int(count), config, draw, relation)
        for relation, ((head, tail), count) in enumerate(zip(ends.tolist(), counts, strict=True))
    ]
    relations = [Relation(f"relation {number}", f"inverse of relation {number}") for number in range(config.relations)]
    entities = _entities(kind, subject, draw)
    return Generated(KnowledgeGraph.from_rows("generated", entities, relations, np.concatenate(triples)), subject)


@dataclass(frozen=True)
class _Members:
    """The entities of a type, grouped by subject, with the running sum of their weights."""

    rows: Ids
    sums: NDArray[np.float64]
    first: Ids

    @classmethod
    def of(cls, rows: Ids, weight: NDArray[np.float64], subject: Ids, subjects: int) -> _Members:
        rows = rows[np.argsort(subject[rows], kind="stable")]
        first = np.searchsorted(subject[rows], np.arange(subjects + 1))
        return cls(rows, np.concatenate([[0], np.cumsum(weight[rows])]), first)

    def drawn(self, count: int, draw: np.random.Generator, low: Ids | int = 0, high: Ids | int = -1) -> Ids:
        """Places in ``rows``, each from ``low`` to ``high - 1``, by weight."""
        start, stop = self.sums[low], self.sums[high]
        at = start + draw.random(count) * (stop - start)
        return np.clip(np.searchsorted(self.sums, at, "right") - 1, 0, len(self.rows) - 1)

    def subject_of(self, place: Ids) -> Ids:
        return np.searchsorted(self.first, place, "right") - 1


def _different(
    heads: _Members, tails: _Members, count: int, config: GeneratedConfig, draw: np.random.Generator, relation: int
) -> Ids:
    """``count`` different triples of a relation."""
    keys = np.empty(0, np.int64)
    for round_ in count_from(0):
        wanted = int(1.3 * (count - len(keys))) + 16
        # Where few pairs are left to hubs, the rest is drawn without weights.
        place = heads.drawn(wanted, draw) if round_ < _WEIGHTED_ROUNDS else draw.integers(len(heads.rows), size=wanted)
        subject = heads.subject_of(place)
        low, high = tails.first[subject], tails.first[subject + 1]
        anywhere = (draw.random(wanted) >= config.kinship) | (low == high)
        low, high = np.where(anywhere, 0, low), np.where(anywhere, len(tails.rows), high)
        other = tails.drawn(wanted, draw, low, high) if round_ < _WEIGHTED_ROUNDS else draw.integers(low, high)
        keys = different(np.concatenate([keys, heads.rows[place] * config.entities + tails.rows[other]]))
        if len(keys) >= count:
            break
    head, tail = np.divmod(draw.permutation(keys)[:count], config.entities)
    return np.stack([head, np.full(count, relation), tail], 1)


def _zipf(count: int, exponent: float) -> NDArray[np.float64]:
    share = np.arange(1, count + 1) ** -exponent
    return share / share.sum()


def _weights(kind: Ids, load: NDArray[np.float64], hub: int, draw: np.random.Generator) -> NDArray[np.float64]:
    """Of each entity, as a power of its rank; the exponent is that with which ``hub`` triples are expected at one.

    ``load`` has the ends of triples at each type.
    """
    rank = draw.permutation(len(kind)) + 1.0
    low, high = 0.0, 2.0
    for _ in range(30):
        middle = (low + high) / 2
        weight = rank**-middle
        expected = weight * (load / np.bincount(kind, weight))[kind]
        low, high = (middle, high) if expected.max() < hub else (low, middle)
    return (rank**-low).astype(np.float64)


def _entities(kind: Ids, subject: Ids, draw: np.random.Generator) -> pa.Table:
    count = len(kind)
    names = _joined(_digits(draw.permutation(count), len(_SYLLABLES)), _SYLLABLES, "")
    names = pc.utf8_capitalize(names)
    words = draw.integers(_SUBJECT_WORDS, size=(count, _TEXT_WORDS)) + subject[:, None] * _SUBJECT_WORDS
    vocabulary = _joined(_digits(np.arange((int(subject.max()) + 1) * _SUBJECT_WORDS), len(_SYLLABLES)), _SYLLABLES, "")
    types = pa.array([f"type {number}" for number in range(int(kind.max()) + 1)]).take(pa.array(kind))
    texts = _joined(words, vocabulary.to_pylist(), " ")
    return entity_table(pa.array(np.arange(count)).cast(pa.large_utf8()), names=names, types=types, texts=texts)


def _digits(numbers: Ids, base: int) -> Ids:
    """The digits of each number, at least three, ``[n, d]``."""
    count = max(3, int(np.ceil(np.log(max(int(numbers.max()), 1) + 1) / np.log(base))))
    return np.stack([numbers // base**place % base for place in reversed(range(count))], 1)


def _joined(parts: Ids, words: tuple[str, ...] | list[str], separator: str) -> pa.Array:
    """Row by row the words with these numbers, joined."""
    known = pa.array(words, pa.large_utf8())
    columns = [known.take(pa.array(column)) for column in parts.T]
    return pc.binary_join_element_wise(*columns, pa.scalar(separator, pa.large_utf8()))
