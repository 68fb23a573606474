"""How a relation path reads: several wordings of each, made from the names of its relations."""

from __future__ import annotations

import re
from collections.abc import Sequence

from jepakit.kgqa.data import KnowledgeGraph

TOPIC = "X"
"""Stands for the topic, in wordings and in questions."""

#: Pairs of a wording along a relation and one against it; ``{r}`` is the relation, ``{p}`` what is before it.
_TEMPLATES = (
    ("the {r} of {p}", "what has {p} as {r}"),
    ("{p} {r}", "those {r} {p}"),
    ("the {r} for {p}", "the {r} inverse of {p}"),
    ("{r} {p}", "{p} is the {r} of"),
    ("{p} has {r}", "which has {r} {p}"),
    ("{p} -> {r}", "{p} <- {r}"),
)
WORDINGS = len(_TEMPLATES)
"""The most wordings that a path has."""


def word_path(graph: KnowledgeGraph, steps: Sequence[int], count: int = WORDINGS) -> list[str]:
    """The first ``count`` wordings of a path from `TOPIC`.

    A relation that has an inverse name reads by it, as a relation of its own, in the inverse direction.
    """
    wordings: list[str] = []
    for along, against in _TEMPLATES[:count]:
        phrase = TOPIC
        for step in steps:
            relation = graph.relations[step % len(graph.relations)]
            inverse = step >= len(graph.relations)
            template = against if inverse and not relation.inverse else along
            name = relation.inverse if inverse and relation.inverse else relation.name
            phrase = template.format(r=as_words(name), p=phrase)
        wordings.append(phrase)
    return wordings


def as_words(name: str) -> str:
    """A name in words: ``directed_by``, ``directedBy`` and ``film/directed-by`` without their joints."""
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", re.sub(r"[_/.\-]+", " ", name))
    return " ".join(spaced.lower().split())
