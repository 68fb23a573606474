"""Training pairs made from a corpus alone, for documents without queries and judgements.

========  ===========================  =====================================  ===============================
kind      query                        target                                 after
========  ===========================  =====================================  ===============================
title     the title                    the body
heading   the last heading of several  the other headings, and the section
sentence  one sentence                 title and body without it              inverse cloze, Lee et al. 2019
crops     30 to 60 % of the words      another 30 to 60 %, beside the first   Contriever, Izacard et al. 2022
========  ===========================  =====================================  ===============================

The query is a part of its document, so matching words would be a trivial task. Each pair therefore has its own target
text: the document without the part that is the query.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch

from jepakit.errors import ConfigError, DataError, require_choice
from jepakit.retrieval.data import Pairs, Queries
from jepakit.retrieval.datasets.chunks import sentence_spans, word_spans
from jepakit.retrieval.datasets.folder import HEADING_SEPARATOR
from jepakit.search.documents import Documents

Kind = Literal["title", "heading", "sentence", "crops"]

_MIN_TARGET_WORDS = 4
_MIN_CROPPED_WORDS = 20
#: Words of a crop, as a fraction of the text.
_MIN_CROP, _MAX_CROP = 0.3, 0.6


@dataclass(frozen=True)
class MadePairs:
    """Pairs without human judgements.

    Args:
        queries: ids are the kind and the id of the document, ``title:12``; equal queries are merged.
        pairs: the documents of each query.
        targets: for each pair the text to predict: the document without the part that is the query.
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
    """Makes at most one pair of each kind from each document, in random order.

    A document gives no pair of a kind that does not apply to it, or that would leave fewer than four words as target.

    Args:
        documents: the corpus.
        kinds: kinds of pairs, see `jepakit.retrieval.datasets.made_pairs`.
        seed: seed of the order of documents, of sentences and of crops. The pairs of a smaller ``limit`` are the first
            pairs of a larger one.
        limit: the most pairs; None: no limit.

    Raises:
        ConfigError: no kinds, an unknown kind, or a limit below 1.
        DataError: none of the kinds applies to any document.
    """
    if not kinds:
        raise ConfigError("kinds", list(kinds), f"some of {', '.join(get_args(Kind))}")
    makers = {kind: _MAKERS[require_choice("kinds", kind, _MAKERS)] for kind in kinds}
    if limit is not None and limit < 1:
        raise ConfigError("limit", limit, "at least 1, or null")
    generator = torch.Generator().manual_seed(seed)
    ids: dict[str, str] = {}
    row_of: dict[str, int] = {}
    targets: dict[tuple[int, int], str] = {}
    for document in torch.randperm(len(documents), generator=generator).tolist():
        for kind, (make, _) in makers.items():
            if len(targets) == limit:
                break
            made = make(documents.titles[document].strip(), documents.texts[document].strip(), generator)
            if made is not None:
                query, target = made
                ids.setdefault(query, f"{kind}:{documents.ids[document]}")
                targets.setdefault((row_of.setdefault(query, len(row_of)), document), target)
    if not targets:
        needed = "; or ".join(needs for _, needs in makers.values())
        raise DataError("no pairs can be made of these documents", field="kinds", value=list(makers), expected=needed)
    pairs = Pairs.of(*zip(*targets, strict=True))
    return MadePairs(Queries(tuple(ids.values()), tuple(ids)), pairs, tuple(targets.values()))


_Made = tuple[str, str] | None
"""Query and target; None if the document does not have them."""


def _title(title: str, text: str, _: torch.Generator) -> _Made:
    target = _without(text, title.rpartition(HEADING_SEPARATOR)[2])
    return (title.replace(HEADING_SEPARATOR, " "), target) if title and _is_long(target) else None


def _heading(title: str, text: str, _: torch.Generator) -> _Made:
    outer, _sep, heading = title.rpartition(HEADING_SEPARATOR)
    rest = _without(text, heading)
    return (heading, f"{outer} {rest}") if outer and heading and _is_long(rest) else None


def _sentence(title: str, text: str, generator: torch.Generator) -> _Made:
    sentences = [text[start:end] for start, end in sentence_spans(text)]
    candidates = [sentence for sentence in sentences if _is_long(sentence)]
    if not candidates:
        return None
    query = candidates[_below(len(candidates), generator)]
    # Repetitions of the sentence are removed too.
    rest = " ".join(sentence for sentence in sentences if sentence != query)
    target = f"{title} {rest}".strip()
    return (query, target) if _is_long(rest) and query not in target else None


def _crops(_: str, text: str, generator: torch.Generator) -> _Made:
    words = word_spans(text)
    if len(words) < _MIN_CROPPED_WORDS:
        return None
    shortest, longest = math.ceil(_MIN_CROP * len(words)), math.floor(_MAX_CROP * len(words))
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
    """The text without its heading, which many texts repeat as first line; a long heading is removed everywhere."""
    if not heading:
        return text
    place = "" if _is_long(heading) else r"\A"
    pattern = rf"{place}(?<!\w){re.escape(heading)}(?!\w)[\s.:—–-]*"
    return re.sub(pattern, "", text, flags=re.IGNORECASE)


def _is_long(text: str) -> bool:
    return len(word_spans(text)) >= _MIN_TARGET_WORDS


def _below(count: int, generator: torch.Generator) -> int:
    return int(torch.randint(count, (), generator=generator))


_MAKERS: dict[str, tuple[Callable[[str, str, torch.Generator], _Made], str]] = {
    "title": (_title, "titles, and texts under them"),
    "heading": (_heading, "titles with headings, as a folder of Markdown or HTML files has them"),
    "sentence": (_sentence, "texts of two sentences and more"),
    "crops": (_crops, f"texts of {_MIN_CROPPED_WORDS} words and more"),
}
"""Kind -> the function that makes a pair, and the documents that it needs."""
