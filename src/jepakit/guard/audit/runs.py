"""Runs with the judgements of their calls, and how texts of strangers are shown."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from heapq import nsmallest

from jepakit.guard.audit.judgement import Judgement
from jepakit.guard.data import Trace
from jepakit.guard.policy.schema import SEVERITY

SHOWN = 200
"""Characters of a text that are shown."""


@dataclass(frozen=True)
class AuditedRun:
    """A trace and the judgements of its calls.

    Args:
        trace: the run.
        judgements: of all its calls.
    """

    trace: Trace
    judgements: tuple[Judgement, ...]

    @property
    def rank(self) -> tuple[int, float]:
        """How severe it is: by its most severe decision, then by its largest energy."""
        energies = [one.energies.total for one in self.judgements if one.energies is not None]
        return max((SEVERITY[one.decision] for one in self.judgements), default=0), max(energies, default=0.0)


def most_severe(runs: Iterable[AuditedRun], count: int) -> list[AuditedRun]:
    """The ``count`` most severe runs, the most severe first; no more than these are held."""
    ranked = nsmallest(count, ((-run.rank[0], -run.rank[1], number, run) for number, run in enumerate(runs)))
    return [run for _, _, _, run in ranked]


def visible(text: str, limit: int = SHOWN) -> str:
    """The beginning of a text in which all that cannot be seen, or moves other characters, stands as its number."""
    cut = text if len(text) <= limit else f"{text[: limit - 1]}…"
    return "".join(
        f"\\u{{{ord(one):x}}}" if unicodedata.category(one) in ("Cc", "Cf", "Co", "Cs") and one not in "\n\t" else one
        for one in cut
    )
