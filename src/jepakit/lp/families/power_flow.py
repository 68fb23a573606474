"""DC optimal power flow from MATPOWER files, with loads that vary.

The model is that of the DC column of PGLib-OPF (Babaeinejadsarookolaee et al. 2019, arXiv 1908.02788): a flow is b
times the difference of the angles at its ends, b = x / (r² + x²), with limits on flows and on differences, and shunts
as loads. Loads vary as those of PGLearn (Klamkin et al. 2025, arXiv 2505.22825): one factor for all, one for each bus.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import scipy.sparse as sp

from jepakit.errors import ConfigError, DataError
from jepakit.lp.data import Array, LinearProgram

__all__ = ["PowerFlow", "read_matpower"]

# Columns of MATPOWER's tables that are used.
_BUS, _KIND, _LOAD, _SHUNT = 0, 1, 2, 4
_GEN_BUS, _GEN_ON, _MOST, _LEAST = 0, 7, 8, 9
_FROM, _TO, _R, _X, _RATE, _BRANCH_ON, _ANGLE_LEAST, _ANGLE_MOST = 0, 1, 2, 3, 5, 10, 11, 12
_REFERENCE, _POLYNOMIAL = 3, 2
_WIDTHS = {"bus": 13, "gen": 10, "branch": 13, "gencost": 5}


@dataclass(frozen=True, eq=False)
class PowerFlow:
    """The cheapest generation that serves all loads, whose angles θ and powers p (in units of baseMVA) are the columns.

    Args:
        network: a problem as `read_matpower` makes it: its first rows are the balances of buses, at their loads.
        loads: of each bus, ``[buses]``.
        total: the range of the factor that all loads share.
        width: of the factor of each load around 1.
    """

    network: LinearProgram
    loads: Array
    total: tuple[float, float] = (0.6, 1.0)
    width: float = 0.15

    def __post_init__(self) -> None:
        low, high = self.total
        if not 0 <= low <= high:
            raise ConfigError("total", self.total, "two factors of at least 0, the smaller first")
        if not 0 <= self.width < 1:
            raise ConfigError("width", self.width, "a number from 0 to below 1")

    @classmethod
    def read(cls, file: Path) -> PowerFlow:
        """From a MATPOWER file.

        Raises:
            DataError: names what is wrong with it.
        """
        network, loads = read_matpower(file)
        return cls(network, loads)

    def problem(self, seed: int) -> LinearProgram:
        """See `jepakit.lp.families.LPFamily.problem`."""
        draw = np.random.default_rng(seed)
        factor = draw.uniform(*self.total) * draw.uniform(1 - self.width, 1 + self.width, len(self.loads))
        more = np.zeros(self.network.rows)
        more[: len(self.loads)] = (factor - 1) * self.loads
        row_lower, row_upper = self.network.row_lower + more, self.network.row_upper + more
        return replace(self.network, row_lower=row_lower, row_upper=row_upper, name=f"{self.network.name}-{seed}")


def read_matpower(file: Path) -> tuple[LinearProgram, Array]:
    """The problem in a MATPOWER file (``.m``), and the load of each bus.

    Raises:
        DataError: names what is wrong with it.
        FileNotFoundError: it is not there.
    """
    case = _Case(file, file.read_text("utf-8", "replace"))
    buses, gens, branches = case.buses, case.gens, case.branches
    loads = buses[:, _LOAD] / case.base
    shunts = buses[:, _SHUNT] / case.base
    susceptance = branches[:, _X] / (branches[:, _R] ** 2 + branches[:, _X] ** 2)
    ends = case.places(branches[:, _FROM], "branch"), case.places(branches[:, _TO], "branch")
    count = np.arange(len(branches))
    incidence = sp.csr_array(
        (np.concatenate([np.ones(len(count)), -np.ones(len(count))]), (np.tile(count, 2), np.concatenate(ends))),
        shape=(len(branches), len(buses)),
    )
    flows = sp.diags_array(susceptance) @ incidence
    at = sp.csr_array(
        (np.ones(len(gens)), (case.places(gens[:, _GEN_BUS], "gen"), np.arange(len(gens)))),
        shape=(len(buses), len(gens)),
    )
    # Both limits of a branch are limits of one difference of angles.
    rate = branches[:, _RATE] / case.base
    rate = np.where(rate > 0, rate, np.inf) / np.abs(susceptance)
    least = np.maximum(np.radians(branches[:, _ANGLE_LEAST]), -rate)
    most = np.minimum(np.radians(branches[:, _ANGLE_MOST]), rate)
    matrix = sp.vstack(
        [sp.hstack([-incidence.T @ flows, at]), sp.hstack([incidence, sp.csr_array((len(count), len(gens)))])]
    )
    free = np.where(buses[:, _KIND] == _REFERENCE, 0.0, np.inf)
    problem = LinearProgram(
        costs=np.concatenate([np.zeros(len(buses)), case.base * case.slopes]),
        matrix=sp.csc_array(matrix),
        row_lower=np.concatenate([loads + shunts, least]),
        row_upper=np.concatenate([loads + shunts, most]),
        lower=np.concatenate([-free, gens[:, _LEAST] / case.base]),
        upper=np.concatenate([free, gens[:, _MOST] / case.base]),
        offset=float(case.constants.sum()),
        name=file.stem,
    )
    return problem, loads


@dataclass(frozen=True)
class _Case:
    """The tables of a MATPOWER file, of what is switched on."""

    file: Path
    text: str

    @cached_property
    def base(self) -> float:
        """MVA of one unit."""
        found = re.search(r"mpc\.baseMVA\s*=\s*([-+.\deE]+)", self.text)
        if found is None:
            raise DataError("no mpc.baseMVA", file=self.file, expected="a MATPOWER case")
        return float(found[1])

    @cached_property
    def buses(self) -> Array:
        return self._table("bus")

    @cached_property
    def gens(self) -> Array:
        return self._table("gen")[self._on]

    @cached_property
    def branches(self) -> Array:
        table = self._table("branch")
        return table[table[:, _BRANCH_ON] > 0]

    @cached_property
    def slopes(self) -> Array:
        """Cost of a MW, of each generator."""
        return self._costs[:, -2]

    @cached_property
    def constants(self) -> Array:
        """Cost of being there."""
        return self._costs[:, -1]

    @cached_property
    def _on(self) -> Array:
        return self._table("gen")[:, _GEN_ON] > 0

    @cached_property
    def _costs(self) -> Array:
        """Coefficients of each generator's polynomial, the highest power first."""
        table = self._table("gencost")[: len(self._on)][self._on]
        powers = table[:, 4:]
        if (table[:, 0] != _POLYNOMIAL).any() or (table[:, 3] != table[0, 3]).any():
            raise DataError("costs that are not all polynomials of one degree", file=self.file, field="gencost")
        powers = powers[:, : int(table[0, 3])]
        powers = np.pad(powers, ((0, 0), (max(0, 2 - powers.shape[1]), 0)))
        if (powers[:, :-2] != 0).any():
            raise DataError("costs that are not linear", file=self.file, field="gencost", expected="a linear program")
        return powers

    def places(self, numbers: Array, field: str) -> Array:
        """Rows of buses of these numbers."""
        order = np.argsort(self.buses[:, _BUS])
        sorted_numbers = self.buses[order, _BUS]
        place = np.searchsorted(sorted_numbers, numbers).clip(max=len(order) - 1)
        unknown = sorted_numbers[place] != numbers
        if unknown.any():
            raise DataError("a bus that is not there", file=self.file, field=field, value=int(numbers[unknown][0]))
        return order[place]

    def _table(self, name: str) -> Array:
        found = re.search(rf"mpc\.{name}\s*=\s*\[(.*?)\]", self.text, re.DOTALL)
        if found is None:
            raise DataError(f"no mpc.{name}", file=self.file, expected="a MATPOWER case")
        first = self.text.count("\n", 0, found.start(1)) + 1
        rows: list[list[float]] = []
        for number, line in enumerate(found[1].split("\n"), first):
            for part in filter(None, (part.strip() for part in line.partition("%")[0].split(";"))):
                rows.append(self._row(name, part, number, rows[0] if rows else None))
        if not rows:
            raise DataError(f"mpc.{name} is empty", file=self.file)
        return np.array(rows)

    def _row(self, name: str, part: str, line: int, first: list[float] | None) -> list[float]:
        try:
            row = [float(word) for word in part.replace(",", " ").split()]
        except ValueError as error:
            raise DataError("no number", file=self.file, line=line, field=name, value=str(error)) from None
        if len(row) < _WIDTHS[name] or (first is not None and len(row) != len(first)) or not np.isfinite(row).all():
            expected = f"{_WIDTHS[name] if first is None else len(first)} finite numbers"
            raise DataError(
                "no row of this table", file=self.file, line=line, field=name, value=part, expected=expected
            )
        return row
