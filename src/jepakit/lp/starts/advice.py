"""One recommendation from measured times: which way to solve, what it takes beside the others, in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np
from scipy.special import stdtrit

#: What importing PyTorch and reading a network takes, once a process; measured: 1.5 to 2.5 s.
NETWORK_MS = 2000.0
_CONFIDENCE = 0.95


@dataclass(frozen=True)
class Timed:
    """A way to solve, and the time it took.

    Args:
        name: of the way, as the reader knows it.
        milliseconds: of each problem, guess and solve; the same problems in the same order for all ways.
        network: it needs a network.
    """

    name: str
    milliseconds: tuple[float, ...]
    network: bool = False

    @property
    def mean(self) -> float:
        """Milliseconds a problem."""
        return float(np.mean(self.milliseconds))


def within_noise(one: Timed, other: Timed) -> bool:
    """Whether the 95 % interval of the mean difference over the problems holds 0; with one problem always."""
    differences = np.subtract(one.milliseconds, other.milliseconds)
    if len(differences) < 2:
        return True
    error = differences.std(ddof=1) / np.sqrt(len(differences))
    reach = stdtrit(len(differences) - 1, (1 + _CONFIDENCE) / 2) * error
    return bool(abs(differences.mean()) <= reach)


def recommendation(ways: Sequence[Timed]) -> str:
    """The fastest way and its milliseconds, then those of all others: within noise of it, or slower.

    Args:
        ways: at least one.
    """
    best, *others = sorted(ways, key=lambda way: way.mean)
    near = [way for way in others if within_noise(way, best)]
    slower = [way for way in others if way not in near]
    parts = [f"Use {best.name}: {in_ms(best.mean)} ms a problem"]
    if near:
        why = "not told apart by one problem" if len(best.milliseconds) == 1 else "within noise"
        parts.append(f"{why}: {_listed(near)}")
    if slower:
        parts.append(f"slower: {_listed(slower)}")
    return "; ".join(parts) + _about_networks(best, others)


def _about_networks(best: Timed, others: Sequence[Timed]) -> str:
    """Whether to use a network, where one was measured."""
    if best.network:
        loading = f"; a process that uses the model first loads it in about {NETWORK_MS / 1000:.0f} s"
        saved = min((way.mean for way in others if not way.network), default=0.0) - best.mean
        return (
            f"{loading}, so it pays from {ceil(NETWORK_MS / saved):,} problems a process on" if saved > 0 else loading
        )
    return "; do not use the model" if any(way.network for way in others) else ""


def _listed(ways: Sequence[Timed]) -> str:
    return ", ".join(f"{way.name} {in_ms(way.mean)}" for way in ways)


def in_ms(milliseconds: float) -> str:
    """Three digits, without an exponent."""
    return f"{milliseconds:,.0f}" if milliseconds >= 100 else f"{milliseconds:.3g}"
