"""The ways to start a problem of a family, timed on problems that were held out, and the choice between them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from math import inf, isfinite
from pathlib import Path
from typing import Any, Literal, get_args

from jepakit.errors import ConfigError, ModelError, require_choice
from jepakit.files import read_json, reading, write_json
from jepakit.lp.data import LinearProgram
from jepakit.lp.solving.highs import EdgeWeights, Method
from jepakit.lp.starts.advice import NETWORK_MS, Timed, in_ms
from jepakit.lp.starts.kind import STATISTICS, Kind

Source = Literal["cold", "interior point", "problem before", "nearest", "model"]
_NAMES: dict[Source, str] = {
    "cold": "cold",
    "interior point": "interior point and crossover",
    "problem before": "basis of the problem before",
    "nearest": "nearest training basis",
    "model": "model",
}


@dataclass(frozen=True)
class Way:
    """A way to start.

    Args:
        source: what gives the start. ``nearest`` is the solved training problem whose duals prove the best bound.
        edge_weights: see `jepakit.lp.solving.solver.Start`.
        milliseconds: what each held-out problem took, guess and solve; empty if not measured.
    """

    source: Source
    edge_weights: EdgeWeights = "choose"
    milliseconds: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        require_choice("source", self.source, get_args(Source))
        require_choice("edge_weights", self.edge_weights, get_args(EdgeWeights))
        for value in self.milliseconds:
            if not (isfinite(value) and value > 0):
                raise ConfigError("milliseconds", value, "a positive number")

    @property
    def method(self) -> Method | None:
        """The method of a cold solve; None: that of the solver."""
        return "ipm" if self.source == "interior point" else None

    @property
    def timed(self) -> Timed:
        """Name and times."""
        devex = ", Devex" if self.edge_weights == "devex" else ""
        return Timed(f"{_NAMES[self.source]}{devex}", self.milliseconds, self.source == "model")


#: Where nothing was measured: a basis of the same matrix does little harm, a network may.
_UNMEASURED = (Way("nearest"), Way("cold"))


@dataclass(frozen=True)
class Choice:
    """What is used for problems of a family.

    Args:
        kind: of its problems; None: not known, in runs of an earlier version.
        ways: the measured ones; empty if no problem was held out. An earlier version has chosen
            some by pivots, without times.
    """

    kind: Kind | None
    ways: tuple[Way, ...] = ()

    def __post_init__(self) -> None:
        counts = [len(way.milliseconds) for way in self.ways]
        if len(set(counts)) > 1:
            raise ConfigError("ways", counts, "a time of each problem in each way")

    @property
    def measured(self) -> bool:
        """Whether the ways have times."""
        return any(way.milliseconds for way in self.ways)

    def difference(self, problem: LinearProgram) -> str:
        """How a problem differs from the kind; empty if it does not, or the kind is not known."""
        return "" if self.kind is None else self.kind.difference(problem)

    def ranked(self, problems: float = inf, *, loaded: bool = False) -> list[Way]:
        """The ways, fastest first; a network only if it is the fastest, or loaded.

        Args:
            problems: number of problems that are to be solved; loading a network counts as a share of each.
            loaded: the network is loaded already.
        """
        if not self.measured:
            return list(self.ways or _UNMEASURED)
        loading = 0.0 if loaded else NETWORK_MS / max(1.0, problems)

        def cost(way: Way) -> float:
            return way.timed.mean + (loading if way.source == "model" else 0.0)

        best, *others = sorted(self.ways, key=cost)
        return [best, *(way for way in others if loaded or way.source != "model")]

    @property
    def network(self) -> Way | None:
        """The fastest way with the network; None if none was measured."""
        ways = [way for way in self.ways if way.source == "model" and way.milliseconds]
        return min(ways, key=lambda way: way.timed.mean, default=None)

    def in_words(self, problems: float) -> str:
        """What is used for a number of problems, and what it took beside a cold start when it was measured."""
        if self.kind is None:
            names = ", ".join(way.timed.name for way in self.ways)
            return f"{names}: chosen by an earlier version, and not by time; train again to have it measured"
        if not self.measured:
            return "not measured, no problem was held out; starts from solved problems of the same matrix"
        best = self.ranked(problems)[0].timed
        cold = [way.timed.mean for way in self.ways if way.source == "cold" and way.timed != best]
        beside = f" (cold: {in_ms(cold[0])})" if cold else ""
        count = len(best.milliseconds)
        on = "1 held-out problem" if count == 1 else f"{count} held-out problems"
        return f"{best.name}: {in_ms(best.mean)} ms a problem{beside}, measured on {on} of training"

    def save(self, file: Path) -> None:
        """Writes a JSON file."""
        write_json(file, asdict(self))

    @classmethod
    def load(cls, file: Path) -> Choice:
        """Reads a file of `save`, or of an earlier version; without a file the model is all that there is.

        Raises:
            ModelError: the file is damaged.
        """
        if not file.exists():
            return cls(None, (Way("model"),))
        again = "the choice that training has written; train again"
        content = read_json(file, ModelError, expected=again)
        with reading(file, ModelError, expected=again):
            if "source" in content:
                return cls(None, _earlier(**content))
            return cls(_kind(**content["kind"]), tuple(_way(**one) for one in content["ways"]))


def _earlier(*, source: str, edge_weights: EdgeWeights) -> tuple[Way, ...]:
    """The choice of an earlier version."""
    ways: dict[str, tuple[Source, ...]] = {"training": ("nearest",), "model": ("model",), "both": ("nearest", "model")}
    return tuple(Way(one, edge_weights) for one in ways[require_choice("source", source, ways)])


def _way(*, milliseconds: list[Any], **more: Any) -> Way:
    return Way(milliseconds=tuple(float(value) for value in milliseconds), **more)


def _kind(*, matrix: str, ranges: dict[str, Any]) -> Kind:
    pairs = {name: (float(least), float(largest)) for name, (least, largest) in ranges.items()}
    if set(pairs) != set(STATISTICS):
        raise ConfigError("ranges", sorted(pairs), ", ".join(STATISTICS))
    return Kind(str(matrix), pairs)
