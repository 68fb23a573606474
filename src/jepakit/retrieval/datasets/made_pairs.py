"""Pairs made from a corpus alone, for those who have documents and nobody who said what answers what.

========  ===========================  =====================================  ===============================
kind      query                        target                                 after
========  ===========================  =====================================  ===============================
title     the title                    the body
heading   the last heading of several  the other headings, and the section
sentence  one sentence                 title and body without it              inverse cloze, Lee et al. 2019
crops     30 to 60 % of the words      another 30 to 60 %, beside the first   Contriever, Izacard et al. 2022
========  ===========================  =====================================  ===============================

The document holds the query in each of them; to learn to find the one by the words of the other would be to learn
nothing. So with each pair comes the text that is predicted: the document without the query's part.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch

from jepakit.errors import ConfigError, DataError, require_choice
from jepakit.retrieval.data import Documents, Pairs, Queries
from jepakit.retrieval.datasets.chunks import sentence_spans, word_spans
from jepakit.retrieval.datasets.folder import HEADING_SEPARATOR

__all__ = ["Kind", "MadePairs", "made_pairs"]

Kind = Literal["title", "heading", "sentence", "crops"]

_FEWEST_WORDS = 4
_FEWEST_CROPPED_WORDS = 20
_SHORTEST_CROP, _LONGEST_CROP = 0.3, 0.6


@dataclass(frozen=True)
class MadePairs:
    """Pairs with nobody's judgement.

    Args:
        queries: the made queries; their ids are the kind and the id of the document, ``title:12``.
        pairs: which document each was made of. Equal queries are one, with several documents.
        targets: for each pair, the document's text without the query's part: the view that is predicted.
    """

    queries: Queries
    pairs: Pairs
    targets: tuple[str, ...]


def made_pairs(
    documents: Documents,
    *,
    kinds: Sequence[Kind] = ("title", "heading", "sentence"),
    seed: int,
    limit: int | None = None,
) -> MadePairs:
    """Makes at most one pair of each kind of each document, in a random order.

    A document without what a kind needs gives no pair of it; nor does one of which fewer than four words would be left.

    Args:
        documents: what pairs are made of.
        kinds: which pairs, see `jepakit.retrieval.datasets.made_pairs`.
        seed: which documents come first, which sentence, where the crops are. The pairs of a smaller ``limit`` are the
            first of those of a larger one.
        limit: the most pairs; None: as many as there are.

    Raises:
        ConfigError: no kinds, an unknown one, or a limit below 1.
        DataError: no document has what any of the kinds needs.
    """
    if not kinds:
        raise ConfigError("kinds", list(kinds), f"some of {', '.join(get_args(Kind))}")
    makers = {kind: _MAKERS[kind] for kind in kinds if require_choice("kinds", kind, _MAKERS)}
    if limit is not None and limit < 1:
        raise ConfigError("limit", limit, "at least 1, or null")
    generator = torch.Generator().manual_seed(seed)
    ids: dict[str, str] = {}
    row_of: dict[str, int] = {}
    targets: dict[tuple[int, int], str] = {}
    for document in torch.randperm(len(documents), generator=generator).tolist():
        for kind, make in makers.items():
            made = make(documents.titles[document].strip(), documents.texts[document].strip(), generator)
            if made is None:
                continue
            query = row_of.setdefault(made[0], len(row_of))
            ids.setdefault(made[0], f"{kind}:{documents.ids[document]}")
            targets.setdefault((query, document), made[1])
            if len(targets) == limit:
                return _gather(ids, targets)
    if not targets:
        needed = "; or ".join(_NEEDS[kind] for kind in makers)
        raise DataError("no pairs can be made of these documents", field="kinds", value=list(makers), expected=needed)
    return _gather(ids, targets)


def _gather(ids: Mapping[str, str], targets: Mapping[tuple[int, int], str]) -> MadePairs:
    pairs = Pairs.of([query for query, _ in targets], [document for _, document in targets])
    return MadePairs(Queries(tuple(ids.values()), tuple(ids)), pairs, tuple(targets.values()))


_Made = tuple[str, str] | None
"""Query and target; None where the document does not have them."""


def _title(title: str, text: str, _: torch.Generator) -> _Made:
    target = _without(text, title.rpartition(HEADING_SEPARATOR)[2])
    return (title.replace(HEADING_SEPARATOR, " "), target) if title and _enough(target) else None


def _heading(title: str, text: str, _: torch.Generator) -> _Made:
    outer, _sep, heading = title.rpartition(HEADING_SEPARATOR)
    rest = _without(text, heading)
    return (heading, f"{outer} {rest}") if outer and heading and _enough(rest) else None


def _sentence(title: str, text: str, generator: torch.Generator) -> _Made:
    sentences = [text[start:end] for start, end in sentence_spans(text)]
    candidates = [sentence for sentence in sentences if _enough(sentence)]
    if not candidates:
        return None
    query = candidates[_below(len(candidates), generator)]
    # What stands twice is taken out twice.
    rest = " ".join(sentence for sentence in sentences if sentence != query)
    target = f"{title} {rest}".strip()
    return (query, target) if _enough(rest) and query not in target else None


def _crops(_: str, text: str, generator: torch.Generator) -> _Made:
    words = word_spans(text)
    if len(words) < _FEWEST_CROPPED_WORDS:
        return None
    shortest, longest = math.ceil(_SHORTEST_CROP * len(words)), math.floor(_LONGEST_CROP * len(words))
    first = shortest + _below(longest - shortest + 1, generator)
    second = shortest + _below(min(longest, len(words) - first) - shortest + 1, generator)
    if _below(2, generator):
        first, second = second, first
    room = len(words) - first - second
    start = _below(room + 1, generator)
    after = start + first + _below(room - start + 1, generator)
    views = [text[words[at][0] : words[at + size - 1][1]] for at, size in ((start, first), (after, second))]
    query = _below(2, generator)
    return (views[query], views[1 - query]) if views[query] not in views[1 - query] else None


def _without(text: str, heading: str) -> str:
    """The text without its heading, which many repeat as the first line; a long one is taken out wherever it stands."""
    if not heading:
        return text
    place = "" if _enough(heading) else r"\A"
    pattern = rf"{place}(?<!\w){re.escape(heading)}(?!\w)[\s.:—–-]*"
    return re.sub(pattern, "", text, flags=re.IGNORECASE)


def _enough(text: str) -> bool:
    return len(word_spans(text)) >= _FEWEST_WORDS


def _below(count: int, generator: torch.Generator) -> int:
    return int(torch.randint(count, (), generator=generator))


_MAKERS: dict[str, Callable[[str, str, torch.Generator], _Made]] = {
    "title": _title,
    "heading": _heading,
    "sentence": _sentence,
    "crops": _crops,
}

_NEEDS = {
    "title": "titles, and texts under them",
    "heading": "titles with headings, as a folder of Markdown or HTML files has them",
    "sentence": "texts of two sentences and more",
    "crops": f"texts of {_FEWEST_CROPPED_WORDS} words and more",
}
