"""Where the values of arguments come from, by the places where they stand in what the agent has read."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from itertools import islice

from jepakit.guard.data import Call, Edge, Origin, SourceKind, Trace
from jepakit.guard.traces.folding import Folded, fold
from jepakit.guard.traces.records import Span, records
from jepakit.guard.traces.runs import WORDS, Words, common_runs
from jepakit.guard.traces.strict_json import JsonValue, exact_number, is_number, leaves

#: Places of a value in one text.
_PLACES = 8
#: Words of a text of which each counts, and of any text.
_SHORT, _MOST_WORDS = 16, 256
#: Words inside of a text, those of addresses among them: they hold a digit, an @, or a point between letters.
_PART, _ADDRESS = re.compile(r"\w[\w@.+-]*\w"), re.compile(r"[\d@]|\w\.\w")
_WEB = frozenset(("http", "https", "www", "mailto"))
_NUMBER = re.compile(r"(?<![\w.])[-+]?(?:\d{1,3}(?:,\d{3})+|\d{1,40})(?:\.\d{1,40})?(?!\w)", re.ASCII)


@dataclass(frozen=True)
class Read:
    """A value, or a part of it, that stands in a text the agent has read.

    Args:
        origin: where.
        share: of the characters of the value that stand there; 1 for all of it.
    """

    origin: Origin
    share: float


@dataclass(frozen=True)
class Value:
    """A leaf of a call's arguments.

    Args:
        pointer: its JSON pointer.
        value: itself.
        reads: where it comes from; empty where it stands in nothing that the agent has read.
        words: of a short text that stands nowhere as a whole, and of addresses in a longer one, where each word stands
            that stands somewhere.
    """

    pointer: str
    value: JsonValue
    reads: tuple[Read, ...]
    words: tuple[tuple[Read, ...], ...] = ()


@dataclass(frozen=True)
class Flow:
    """The values of all calls of a trace, and the data flow between the calls.

    Args:
        values: of each call, in the order of its arguments; None where its arguments are not known.
        edges: those of the trace, then those derived.
    """

    values: tuple[tuple[Value, ...] | None, ...]
    edges: tuple[Edge, ...]


def data_flow(trace: Trace) -> Flow:
    """Finds each argument in the user's and the system's words and in the outputs of earlier calls.

    Texts are compared after `fold`; a number is equal to a number written otherwise ("1,000.00"). A text that stands
    nowhere as a whole is found by its runs of four words or more. Origins that the trace gives are kept as they are.

    Raises:
        DataError: the arguments of a call are not JSON, or more of it than is read.
    """
    sources = Sources()
    sources.add("user", trace.context.task)
    sources.add("system", trace.context.system)
    values: list[tuple[Value, ...] | None] = []
    for call in trace.calls:
        values.append(sources.values(call))
        if call.output:
            sources.add("output", call.output, call.id)
    return Flow(tuple(values), edges_of(trace, values))


def edges_of(trace: Trace, values: Sequence[tuple[Value, ...] | None]) -> tuple[Edge, ...]:
    """The edges of a trace, then those that the values of its calls make."""
    edges = {(edge.source, edge.target, edge.argument): edge for edge in trace.edges}
    for call, of_call in zip(trace.calls, values, strict=True):
        for value in of_call or ():
            for read in value.reads:
                if read.origin.call is not None:
                    key = (read.origin.call, call.id, value.pointer)
                    edges.setdefault(key, Edge(source=key[0], target=key[1], argument=key[2]))
    return tuple(edges.values())


class Sources:
    """The texts that an agent has read so far."""

    def __init__(self) -> None:
        self._texts: list[_Text] = []
        self._vocabulary: dict[str, int] = {}

    def copy(self) -> Sources:
        """The same texts; more can be added to either."""
        other = Sources()
        other._texts, other._vocabulary = list(self._texts), self._vocabulary
        return other

    def add(self, kind: SourceKind, text: str, call: str | None = None) -> None:
        """Adds a text; ``call`` is the id of the call that returned it."""
        listed = records(text) if kind == "output" else []
        self._texts.append(_Text(kind, call, fold(text), listed, self._vocabulary))

    def values(self, call: Call) -> tuple[Value, ...] | None:
        """The leaves of a call's arguments with their origins; None where the arguments are not known."""
        if call.arguments is None:
            return None
        found: list[Value] = []
        for leaf in leaves(call.arguments):
            given = call.origins.get(leaf.pointer)
            reads = self.reads(leaf.value) if given is None else tuple(Read(origin, 1.0) for origin in given)
            words = self.words(leaf.value, reads) if given is None else ()
            found.append(Value(leaf.pointer, leaf.value, reads, words))
        return tuple(found)

    def reads(self, value: JsonValue) -> tuple[Read, ...]:
        """Where a value stands; true, false, null and empty values are said to stand nowhere."""
        number = exact_number(value)
        # A number in quotes is a text too: a phone number, an identifier.
        sought = "" if is_number(value) or not isinstance(value, str) else fold(value).text
        words = Words(sought, self._vocabulary) if number is None else Words("", {})
        listed: list[Read] = []
        for text in self._texts:
            reads = text.reads(number, sought)
            if not reads and len(words.ids) >= WORDS:
                reads = [Read(text.origin(place), share) for place, share in text.parts(words)]
            listed += reads
        return tuple(listed)

    def words(self, value: JsonValue, reads: Sequence[Read]) -> tuple[tuple[Read, ...], ...]:
        """See `Value.words`; ``reads`` are those of the value."""
        if not isinstance(value, str) or any(read.share >= 1.0 for read in reads):
            return ()
        share = 1.0 / max(len(value), 1)
        places = ([(text, span) for text in self._texts for span in text.places(word)] for word in _words_of(value))
        return tuple(
            tuple(Read(text.origin(span), share * (span[1] - span[0])) for text, span in of_word)
            for of_word in places
            if of_word
        )


@dataclass
class _Text:
    """A text with what is needed to find values in it."""

    kind: SourceKind
    call: str | None
    folded: Folded
    records: list[Span]
    vocabulary: dict[str, int]

    def reads(self, number: Decimal | None, sought: str) -> list[Read]:
        """The places of a value as a whole: of its number and of its folded text."""
        places = [] if number is None else self.numbers.get(number.normalize(), [])[:_PLACES]
        if sought:
            places = list(dict.fromkeys([*places, *self.places(sought)]))[:_PLACES]
        return [Read(self.origin(place), 1.0) for place in places]

    def places(self, sought: str) -> list[Span]:
        """Places of a folded text."""
        return list(islice(self._of_text(sought), _PLACES))

    @cached_property
    def numbers(self) -> dict[Decimal, list[Span]]:
        """The numbers of the folded text."""
        numbers: dict[Decimal, list[Span]] = {}
        for match in _NUMBER.finditer(self.folded.text):
            numbers.setdefault(Decimal(match[0].replace(",", "")).normalize(), []).append(match.span())
        return numbers

    @cached_property
    def words(self) -> Words:
        """The words of the folded text."""
        return Words(self.folded.text, self.vocabulary)

    def _of_text(self, sought: str) -> Iterator[Span]:
        """Places of a folded text that are not inside a longer word."""
        text, start = self.folded.text, -1
        while (start := text.find(sought, start + 1)) >= 0:
            if not _inside_word(text, start) and not _inside_word(text, start + len(sought)):
                yield start, start + len(sought)

    def parts(self, sought: Words) -> list[tuple[Span, float]]:
        """The longest runs of words that both texts have, each with its share of the characters of ``sought``."""
        runs = common_runs(sought, self.words)[:_PLACES]
        spans = [
            (self.words.span(place, place + size), sought.span(start, start + size)) for start, place, size in runs
        ]
        return [(place, (end - start) / int(sought.ends[-1])) for place, (start, end) in spans]

    def origin(self, place: Span) -> Origin:
        """A part of the folded text as a place of the text itself."""
        start, end = self.folded.span(*place)
        return Origin(source=self.kind, call=self.call, start=start, end=end, record=self._record(start))

    def _record(self, place: int) -> int | None:
        number = bisect_right(self.records, (place, 1 << 62)) - 1
        return number if number >= 0 and place < self.records[number][1] else None


def _words_of(value: str) -> list[str]:
    """The words of a short text, and those of a longer one that look like addresses; not a text that is one word."""
    text = fold(value).text
    found = _PART.findall(text)
    words = [word for word in dict.fromkeys(found) if word not in _WEB and word != text]
    if len(found) > _SHORT:
        words = [word for word in words if _ADDRESS.search(word) is not None]
    return words[:_MOST_WORDS]


def _inside_word(text: str, place: int) -> bool:
    """Whether letters or digits of ASCII stand on both sides: other scripts do without spaces."""
    beside = text[max(place - 1, 0) : place + 1]
    return 0 < place < len(text) and beside.isascii() and beside.isalnum()
