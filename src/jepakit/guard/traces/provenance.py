"""Where the values of arguments come from, by the places where they stand in what the agent has read."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cache

from jepakit.guard.data import Call, Edge, Origin, SourceKind, Trace
from jepakit.guard.traces.folding import fold
from jepakit.guard.traces.records import Span
from jepakit.guard.traces.runs import Words
from jepakit.guard.traces.searched import Found, SearchedText, Texts
from jepakit.guard.traces.strict_json import JsonValue, exact_number, is_number, leaves

#: Words of a text of which each counts, and of any text.
_SHORT, _MOST_WORDS = 16, 256
#: Words inside of a text, those of addresses among them: they hold a digit, an @, or a point between letters.
_PART, _ADDRESS = re.compile(r"\w[\w@.+-]*\w"), re.compile(r"[\d@]|\w\.\w")
_WEB = frozenset(("http", "https", "www", "mailto"))
#: What agents put before an address that a text has without it, and a slash after its host.
_SCHEME = re.compile(r"https?://(?=[^\s/?#]*\w\.\w)|mailto:(?=\S*@)")
_HOST = re.compile(r"[^\s/?#]+/")


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


def data_flow(trace: Trace, shared: Shared | None = None) -> Flow:
    """Finds each argument in the user's and the system's words and in the outputs of earlier calls.

    Texts are compared after `fold`; a number is equal to a number written otherwise ("1,000.00"), and an address to one
    without "https://" or "mailto:". A text that stands nowhere as a whole is found by its runs of four words or more.
    Origins that the trace gives are kept as they are.

    Args:
        trace: whose calls are looked at.
        shared: what is worked out once for many traces; None: for this one alone.

    Raises:
        DataError: the arguments of a call are not JSON, or more of it than is read.
    """
    sources = Sources(shared)
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


class Shared:
    """What many runs have read and where their values stand in it, worked out once for all of them.

    Args:
        characters: of texts that are kept for the next run; those used longest ago make room.
    """

    def __init__(self, characters: int) -> None:
        self.texts = Texts(characters)
        self._numbers: dict[tuple[int, SourceKind, str | None, str], int] = {}
        self._values: dict[tuple[int, str], tuple[Value, ...]] = {}

    def after(self, before: int, kind: SourceKind, call: str | None, text: str) -> int:
        """The number of all that was read when ``text`` follows what has the number ``before``; 0 for nothing."""
        return self._numbers.setdefault((before, kind, call, text), len(self._numbers) + 1)

    def values(self, read: int, arguments: object, work_out: Callable[[], tuple[Value, ...]]) -> tuple[Value, ...]:
        """The values of arguments after all that has the number ``read``."""
        try:
            key = read, json.dumps(arguments)
        except (TypeError, ValueError, RecursionError):
            # Not JSON, which is refused where the values are looked at.
            return work_out()
        known = self._values.get(key)
        return known if known is not None else self._values.setdefault(key, work_out())


class Sources:
    """The texts that an agent has read so far.

    Args:
        shared: what other runs have read; None: this one is alone.
    """

    def __init__(self, shared: Shared | None = None) -> None:
        self._shared, self._number = shared, 0
        self._prepared = Texts() if shared is None else shared.texts
        self._texts: list[_Text] = []

    def copy(self) -> Sources:
        """The same texts; more can be added to either."""
        other = Sources(self._shared)
        other._number, other._prepared, other._texts = self._number, self._prepared, list(self._texts)
        return other

    def add(self, kind: SourceKind, text: str, call: str | None = None) -> None:
        """Adds a text; ``call`` is the id of the call that returned it."""
        self._texts.append(_Text(kind, call, self._prepared.get(text, has_records=kind == "output")))
        if self._shared is not None:
            self._number = self._shared.after(self._number, kind, call, text)

    def values(self, call: Call) -> tuple[Value, ...] | None:
        """The leaves of a call's arguments with their origins; None where the arguments are not known."""
        if call.arguments is None:
            return None
        if self._shared is None or call.origins:
            return self._values(call)
        return self._shared.values(self._number, call.arguments, lambda: self._values(call))

    def _values(self, call: Call) -> tuple[Value, ...]:
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
        if number is None and not sought:
            return ()
        normal = None if number is None else number.normalize()
        words = cache(lambda: Words(sought, self._prepared.vocabulary))
        bare = _bare_address(sought)
        return tuple(
            Read(text.origin(place), share)
            for text in self._texts
            for place, share in _found(text.searched, normal, sought, bare, words)
        )

    def words(self, value: JsonValue, reads: Sequence[Read]) -> tuple[tuple[Read, ...], ...]:
        """See `Value.words`; ``reads`` are those of the value."""
        if not isinstance(value, str) or any(read.share >= 1.0 for read in reads):
            return ()
        share = 1.0 / max(len(value), 1)
        places = (
            [(text, span) for text in self._texts for span in text.searched.places(word)] for word in _words_of(value)
        )
        return tuple(
            tuple(Read(text.origin(span), share * (span[1] - span[0])) for text, span in of_word)
            for of_word in places
            if of_word
        )


@dataclass(frozen=True)
class _Text:
    """A text that an agent has read."""

    kind: SourceKind
    call: str | None
    searched: SearchedText

    def origin(self, place: Span) -> Origin:
        """A part of the folded text as a place of the text itself."""
        start, end, record = self.searched.original(place)
        return Origin(source=self.kind, call=self.call, start=start, end=end, record=record)


def _found(
    text: SearchedText, number: Decimal | None, sought: str, bare: str | None, words: Callable[[], Words]
) -> Found:
    """The places of a value; those of the bare address where the text has not the whole of the value."""
    found = text.found(number, sought, words)
    if bare is None or any(share >= 1.0 for _, share in found):
        return found
    return tuple((place, 1.0) for place in text.places(bare)) or found


def _bare_address(text: str) -> str | None:
    """A folded address of the web or of mail as people write it: without scheme, a host without a slash after it."""
    scheme = _SCHEME.match(text)
    if scheme is None:
        return None
    bare = text[scheme.end() :]
    return (bare[:-1] if _HOST.fullmatch(bare) else bare) or None


def _words_of(value: str) -> list[str]:
    """The words of a short text, and those of a longer one that look like addresses; not a text that is one word."""
    text = fold(value).text
    found = _PART.findall(text)
    words = [word for word in dict.fromkeys(found) if word not in _WEB and word != text]
    if len(found) > _SHORT:
        words = [word for word in words if _ADDRESS.search(word) is not None]
    return words[:_MOST_WORDS]
