"""Finds the entities that questions name."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from jepakit.errors import require_at_least, require_within
from jepakit.kgqa.arrow import pc
from jepakit.kgqa.data import KnowledgeGraph
from jepakit.kgqa.linking.fuzzy import FuzzyNames
from jepakit.kgqa.linking.matches import METHODS, Match, Method
from jepakit.kgqa.linking.names import ARTICLES, COMMON_WORDS, NameIndex, Words, without_overlap
from jepakit.kgqa.linking.qualified import QualifiedNames
from jepakit.search.vectors import VectorIndex
from jepakit.text import TextEncoder

_Rank = tuple[bool, bool, int, bool, int, int, int]
_Group = tuple[_Rank, list[Match]]
#: Words of one stem are taken to begin with the same letters: "directors", "directed_by".
_STEM = 4
#: The longest part of a question that is embedded, in words.
_LONGEST_EMBEDDED = 4


@dataclass(frozen=True)
class LinkingConfig:
    """When a part of a question is taken for an entity.

    Args:
        fuzzy: the smallest similarity of a fuzzy match, see `FuzzyNames`; 1 switches fuzzy matches off.
        embedding: the smallest cosine of a match by embedding.
        limit: matches of a question.

    Raises:
        ConfigError: a value is out of range.
    """

    fuzzy: float = 0.85
    embedding: float = 0.8
    limit: int = 20

    def __post_init__(self) -> None:
        require_within(self, "(0, 1]", "fuzzy", "embedding")
        require_at_least(self, limit=1)


class EntityLinker:
    """Finds the entities that questions name: by exact, normalised, fuzzy and embedding match, in this order of trust.

    The longest name wins. Normal forms have no capitals, accents, punctuation, underscores or article. Of several
    entities of one name all are matches, the one with most triples first.

    A shorter form of a name with dots ("json.JSONDecodeError") is a normalised match, and none of its parts is a name.

    Names of two words, and names with a capital or a digit, are sure. Others ("film") come after them, and last those
    that also stand in names of relations and types. Names of common words alone ("It") count only with a capital, and
    not at the beginning. Fuzzy matches are looked for where no name of two words stands in the question, nor a sure one
    between common words; one around a known name ("Grace Kely" around "Grace") goes before it. Matches by embedding are
    looked for where nothing matches.

    Args:
        graph: the entities.
        config: thresholds.
        encoder: for matches by embedding, which encodes all names now; None: no such matches.
    """

    def __init__(
        self, graph: KnowledgeGraph, config: LinkingConfig | None = None, *, encoder: TextEncoder | None = None
    ) -> None:
        self.config = config or LinkingConfig()
        self._names = graph.column("name")
        self._degree = graph.degree
        self._index = NameIndex(self._names)
        self._qualified = QualifiedNames(self._names)
        schema = [relation.name for relation in graph.relations] + pc.unique(graph.entities["type"]).to_pylist()
        self._schema = {word[:_STEM] for name in schema for word in Words.of(name).texts}
        self._keys = list(self._index.rows)
        self._fuzzy = FuzzyNames(self._keys, self.config.fuzzy) if self.config.fuzzy < 1 else None
        self._encoder = encoder
        self._vectors = None if encoder is None else VectorIndex.build(encoder.encode(self._keys, "document"))

    def link(self, questions: Sequence[str]) -> list[tuple[Match, ...]]:
        """The entities that each question names, best first."""
        words = [Words.of(question) for question in questions]
        linked = [self._by_words(question, one) for question, one in zip(questions, words, strict=True)]
        blank = [place for place, matches in enumerate(linked) if not matches]
        for place, matches in zip(blank, self._by_embedding([words[place] for place in blank]), strict=True):
            linked[place] = matches
        return [tuple(matches[: self.config.limit]) for matches in linked]

    def _by_words(self, question: str, words: Words) -> list[Match]:
        spans = self._index.spans(words)
        groups = self._shortened(question, words, spans)
        shortened = [matches[0] for _, matches in groups]
        for start, stop in spans:
            matches = self._of_span(question, words, start, stop)
            if any(_contains(other, matches[0]) for other in shortened):
                continue
            striking = start > 0 and _is_striking(question, matches[0])
            parts = words.texts[start:stop]
            common = all(word in COMMON_WORDS for word in parts) or (len(parts) == 1 and len(parts[0]) == 1)
            if common:
                matches = [match for match in matches if striking and match.method == "exact"]
            if matches:
                sure = not common and (striking or len(parts) > 1)
                weak = not striking and len(parts) == 1 and parts[0][:_STEM] in self._schema
                trust = METHODS.index(matches[0].method)
                rank = (not sure, weak, trust, not striking, start - stop, -len(parts[0]), start)
                groups.append((rank, matches))
        groups.sort(key=lambda group: group[0])
        sure = [match for rank, matches in groups if not rank[0] for match in matches]
        unsure = [match for rank, matches in groups if rank[0] for match in matches]
        settled = any(rank[4] < -1 or (not rank[0] and _stands_alone(words, rank[-1])) for rank, _ in groups)
        if self._fuzzy is None or settled:
            return sure + unsure
        resembling = self._resembling(words, self._fuzzy, {match.entity for match in sure + unsure})
        wider = [match for match in resembling if any(_contains(match, other) for other in sure + unsure)]
        striking = [match for match in resembling if match not in wider and _is_striking(question, match)]
        rest = [match for match in resembling if match not in wider and match not in striking]
        return wider + sure + striking + unsure + rest

    def _shortened(self, question: str, words: Words, spans: Sequence[tuple[int, int]]) -> list[_Group]:
        """Groups of the shorter forms of names with dots that are no names themselves."""
        groups: list[_Group] = []
        for start, end, rows in self._qualified.matches(question):
            place, stop = bisect_left(words.starts, start), bisect_right(words.ends, end)
            if (place, stop) not in spans:
                # Of the rank of a name of two words at least: it is sure.
                rank = (False, False, METHODS.index("normalised"), False, min(place - stop, -2), start - end, place)
                groups.append((rank, self._ranked([Match(row, "normalised", 1.0, start, end) for row in rows])))
        return groups

    def _of_span(self, question: str, words: Words, start: int, stop: int) -> list[Match]:
        """All entities of the name in these words."""
        matches = [self._of_name(question, words, start, stop, row) for row in self._index.rows[words.key(start, stop)]]
        return self._ranked(matches)

    def _of_name(self, question: str, words: Words, start: int, stop: int, row: int) -> Match:
        name = self._names[row]
        named = Words.of(name)
        article = len(named.texts) > stop - start and named.texts[0] in ARTICLES
        begin = words.starts[start] - named.starts[int(article)]
        if begin >= 0 and question[begin : begin + len(name)] == name:
            return Match(row, "exact", 1.0, begin, begin + len(name))
        widened = article and start > 0 and words.texts[start - 1] == named.texts[0]
        return Match(row, "normalised", 1.0, words.starts[start - int(widened)], words.ends[stop - 1])

    def _resembling(self, words: Words, names: FuzzyNames, linked: set[int]) -> list[Match]:
        """Fuzzy matches with entities that are not linked yet, best first."""
        similar = names.matches(words)
        kept = set(without_overlap([(start, stop) for _, _, start, stop in similar]))
        # Names that resemble the very same part are alternatives; parts across a better one are not.
        matches = self._of_keys(words, [match for match in similar if match[2:] in kept], "fuzzy")
        return [match for match in matches if match.entity not in linked]

    def _by_embedding(self, asked: Sequence[Words]) -> list[list[Match]]:
        if self._vectors is None or self._encoder is None or not asked:
            return [[] for _ in asked]
        spans = [_content_spans(words) for words in asked]
        parts = list(dict.fromkeys(words.key(*span) for words, some in zip(asked, spans, strict=True) for span in some))
        if not parts:
            return [[] for _ in asked]
        hits = self._vectors.search(self._encoder.encode(parts, "query"), self.config.limit)
        near = {
            part: [(row, score) for row, score in zip(rows, scores, strict=True) if score >= self.config.embedding]
            for part, rows, scores in zip(parts, hits.rows.tolist(), hits.scores.tolist(), strict=True)
        }
        linked: list[list[Match]] = []
        for words, some in zip(asked, spans, strict=True):
            similar = [(row, min(score, 1.0), *span) for span in some for row, score in near[words.key(*span)]]
            similar.sort(key=lambda match: (-match[1], match[0]))
            kept = set(without_overlap([(start, stop) for _, _, start, stop in similar]))
            linked.append(self._of_keys(words, [one for one in similar if (one[2], one[3]) in kept], "embedding"))
        return linked

    def _of_keys(self, words: Words, found: Iterable[tuple[int, float, int, int]], method: Method) -> list[Match]:
        """The entities of normal forms by number, each with a score and a part of the question."""
        matches: list[Match] = []
        for key, score, start, stop in found:
            rows = self._index.rows[self._keys[key]]
            place = words.starts[start], words.ends[stop - 1]
            matches += self._ranked([Match(row, method, score, *place) for row in rows])
        return matches

    def _ranked(self, matches: list[Match]) -> list[Match]:
        # "The Fury" is more exact than "Fury" where both stand in the question.
        return sorted(
            matches,
            key=lambda match: (
                METHODS.index(match.method),
                match.start - match.end if match.method == "exact" else 0,
                -self._degree[match.entity],
                match.entity,
            ),
        )


def _stands_alone(words: Words, place: int) -> bool:
    """Whether the word at ``place`` can hardly be a part of a longer name: two common words are on either side."""
    beside = words.texts[max(place - 2, 0) : place] + words.texts[place + 1 : place + 3]
    return all(word in COMMON_WORDS for word in beside)


def _is_striking(question: str, match: Match) -> bool:
    return any(one.isupper() or one.isdigit() for one in question[slice(*match.span)])


def _contains(match: Match, other: Match) -> bool:
    return match.start <= other.start and other.end <= match.end and match.span != other.span


def _content_spans(words: Words) -> list[tuple[int, int]]:
    """Parts of a question that begin and end with a word that is not common."""
    count = len(words.texts)
    content = [word not in COMMON_WORDS for word in words.texts]
    return [
        (start, stop)
        for start in range(count)
        for stop in range(start + 1, min(start + _LONGEST_EMBEDDED, count) + 1)
        if content[start] and content[stop - 1]
    ]
