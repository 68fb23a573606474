"""The hierarchy energy: an untrusted text, not the user, made the agent call a tool.

    E = w · max(d, t · m)

``w`` is the privilege of the tool in [0, 1]. d = 1 where the trace says that an untrusted output made the agent call
(`Call.tier`), else 0. ``t`` is the largest tainted share of a value of the call; ``m`` the share of the words of the
tool's name that stand in the untrusted outputs which those values come from, and not in the words of the user and the
system. The unit is a call of the highest privilege.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache

from jepakit.guard.energies.facts import CallFacts
from jepakit.guard.energies.parts import Part
from jepakit.guard.energies.provenance import sources_of
from jepakit.guard.traces.folding import fold

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")


def hierarchy(facts: CallFacts) -> Iterator[Part]:
    """The part of the energy, if it is not 0."""
    if facts.seen.call.tier == "output":
        yield Part("hierarchy", facts.weight, "an untrusted output made the agent call the tool")
        return
    tainted = [taint for _, taint, _ in facts.values if taint.tainted]
    if not tainted or not facts.weight:
        return
    asked = folded_text(facts.context.task), folded_text(facts.context.system)
    words = frozenset(match[0].lower() for match in _WORD.finditer(facts.seen.call.tool))
    wanted = [word for word in words if not any(word in text for text in asked)]
    if not wanted:
        return
    sources = tuple(dict.fromkeys(source for taint in tainted for source in sources_of(taint)))
    texts = [folded_text(source.call.output or "") for source in facts.seen.sources if source.call.id in sources]
    named = sum(any(word in text for text in texts) for word in wanted) / len(words)
    value = facts.weight * max(taint.share for taint in tainted) * named
    yield Part("hierarchy", value, "untrusted outputs name the tool, and the user does not", sources=sources)


@lru_cache(maxsize=64)
def folded_text(text: str) -> str:
    """A text as it is compared."""
    return fold(text).text
