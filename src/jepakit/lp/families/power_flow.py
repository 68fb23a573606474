"""DC optimal power flow from MATPOWER files, with random loads.

The model is the DC column of PGLib-OPF (Babaeinejadsarookolaee et al. 2019, arXiv 1908.02788): the flow of a branch is
b times the difference of the angles at its ends, b = x / (r² + x²), with limits on flows and on angle differences, and
shunts as loads. Loads vary as in PGLearn (Klamkin et al. 2025, arXiv 2505.22825): a common factor times one per bus.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import scipy.sparse as sp

from jepakit.errors import ConfigError, DataError, require_within
from jepakit.files import read_text, reading
from jepakit.lp.data import Array, LinearProgram

# Columns of MATPOWER's tables bus, gen and branch; the manual's appendix B calls them BUS_I, BUS_TYPE, PD, GS, ...
_BUS, _BUS_TYPE, _LOAD, _SHUNT = 0, 1, 2, 4
_GEN_BUS, _GEN_STATUS, _P_MAX, _P_MIN = 0, 7, 8, 9
_FROM, _TO, _R, _X, _RATE, _BRANCH_STATUS, _ANGLE_MIN, _ANGLE_MAX = 0, 1, 2, 3, 5, 10, 11, 12
#: Codes of the reference bus and of polynomial costs.
_REFERENCE, _POLYNOMIAL = 3, 2
#: Smallest number of columns of each table.
_WIDTHS = {"bus": 13, "gen": 10, "branch": 13, "gencost": 5}


@dataclass(frozen=True, eq=False)
class PowerFlow:
    """The cheapest generation that serves all loads. Columns are bus angles θ and powers p, in units of baseMVA.

    Args:
        network: as `read_matpower` makes it: its first rows are the balances of the buses, at their nominal loads.
        loads: of each bus, ``[buses]``.
        total: range of the factor of all loads.
        width: each load has another factor in 1 ± width.
    """

    network: LinearProgram
    loads: Array
    total: tuple[float, float] = (0.6, 1.0)
    width: float = 0.15

    def __post_init__(self) -> None:
        low, high = self.total
        if not 0 <= low <= high:
            raise ConfigError("total", self.total, "two factors of at least 0, the smaller first")
        require_within(self, "[0, 1)", "width")

    @classmethod
    def read(cls, file: Path) -> PowerFlow:
        """From a MATPOWER file; see `read_matpower`."""
        return cls(*read_matpower(file))

    def problem(self, seed: int) -> LinearProgram:
        """See `jepakit.lp.families.named.LPFamily.problem`."""
        draw, network = np.random.default_rng(seed), self.network
        factor = draw.uniform(*self.total) * draw.uniform(1 - self.width, 1 + self.width, len(self.loads))
        change = np.zeros(network.rows)
        change[: len(self.loads)] = (factor - 1) * self.loads
        row_lower, row_upper = network.row_lower + change, network.row_upper + change
        return replace(network, row_lower=row_lower, row_upper=row_upper, name=f"{network.name}-{seed}")


def read_matpower(file: Path) -> tuple[LinearProgram, Array]:
    """The problem in a MATPOWER file (``.m``), and the load of each bus.

    Raises:
        DataError: names the file, the table and the line.
    """
    text = read_text(file, errors="replace")
    with reading(file):
        return _network(text, file.stem)


def _network(text: str, name: str) -> tuple[LinearProgram, Array]:
    match = re.search(r"mpc\.baseMVA\s*=\s*([-+.\deE]+)", text)
    if match is None:
        raise DataError("no mpc.baseMVA", expected="a MATPOWER case")
    base = float(match[1])
    buses, gens, branches = (_table(text, table) for table in ("bus", "gen", "branch"))
    in_service = gens[:, _GEN_STATUS] > 0
    gencost = _table(text, "gencost")
    if len(gencost) < len(gens):
        raise DataError("not a cost for each generator", field="gencost", value=len(gencost), expected=str(len(gens)))
    costs = _linear_costs(gencost[: len(gens)][in_service])
    gens, branches = gens[in_service], branches[branches[:, _BRANCH_STATUS] > 0]
    loads = buses[:, _LOAD] / base
    demand = loads + buses[:, _SHUNT] / base
    if (lossless := np.flatnonzero(branches[:, _X] == 0)).size:
        value = branches[lossless[0], [_FROM, _TO]].tolist()
        raise DataError("a branch without reactance", field="branch", value=value, expected="x other than 0")
    susceptance = branches[:, _X] / (branches[:, _R] ** 2 + branches[:, _X] ** 2)
    ends = _bus_rows(buses, branches[:, _FROM], "branch"), _bus_rows(buses, branches[:, _TO], "branch")
    branch = np.arange(len(branches))
    signs = np.concatenate([np.ones(len(branch)), -np.ones(len(branch))])
    incidence = sp.csr_array((signs, (np.tile(branch, 2), np.concatenate(ends))), shape=(len(branch), len(buses)))
    flows = sp.diags_array(susceptance) @ incidence
    gen_bus = _bus_rows(buses, gens[:, _GEN_BUS], "gen")
    injections = sp.csr_array((np.ones(len(gens)), (gen_bus, np.arange(len(gens)))), shape=(len(buses), len(gens)))
    # The limit of a flow is a limit of its angle difference too.
    rate = branches[:, _RATE] / base
    rate = np.where(rate > 0, rate, np.inf) / np.abs(susceptance)
    smallest = np.maximum(np.radians(branches[:, _ANGLE_MIN]), -rate)
    largest = np.minimum(np.radians(branches[:, _ANGLE_MAX]), rate)
    matrix = sp.block_array([[-incidence.T @ flows, injections], [incidence, None]])
    angle = np.where(buses[:, _BUS_TYPE] == _REFERENCE, 0.0, np.inf)
    problem = LinearProgram(
        costs=np.concatenate([np.zeros(len(buses)), base * costs[:, -2]]),
        matrix=sp.csc_array(matrix),
        row_lower=np.concatenate([demand, smallest]),
        row_upper=np.concatenate([demand, largest]),
        lower=np.concatenate([-angle, gens[:, _P_MIN] / base]),
        upper=np.concatenate([angle, gens[:, _P_MAX] / base]),
        offset=float(costs[:, -1].sum()),
        name=name,
    )
    return problem, loads


def _linear_costs(table: Array) -> Array:
    """Coefficients of each generator's cost, the highest power first; slope and constant are last."""
    if (table[:, 0] != _POLYNOMIAL).any() or (table[:, 3] != table[0, 3]).any():
        raise DataError("costs that are not all polynomials of one degree", field="gencost")
    powers = table[:, 4:][:, : int(table[0, 3])]
    powers = np.pad(powers, ((0, 0), (max(0, 2 - powers.shape[1]), 0)))
    if (powers[:, :-2] != 0).any():
        raise DataError("costs that are not linear", field="gencost", expected="a linear program")
    return powers


def _bus_rows(buses: Array, numbers: Array, field: str) -> Array:
    """Rows in the bus table of these bus numbers."""
    order = np.argsort(buses[:, _BUS])
    sorted_numbers = buses[order, _BUS]
    place = np.searchsorted(sorted_numbers, numbers).clip(max=len(order) - 1)
    missing = sorted_numbers[place] != numbers
    if missing.any():
        raise DataError("not a bus of the table", field=field, value=int(numbers[missing][0]))
    return order[place]


def _table(text: str, name: str) -> Array:
    match = re.search(rf"mpc\.{name}\s*=\s*\[(.*?)\]", text, re.DOTALL)
    if match is None:
        raise DataError(f"no mpc.{name}", expected="a MATPOWER case")
    first = text.count("\n", 0, match.start(1)) + 1
    rows: list[list[float]] = []
    for number, line in enumerate(match[1].split("\n"), first):
        for part in filter(None, (part.strip() for part in line.partition("%")[0].split(";"))):
            rows.append(_row(name, part, number, len(rows[0]) if rows else None))
    if not rows:
        raise DataError(f"mpc.{name} is empty")
    return np.array(rows)


def _row(name: str, part: str, line: int, width: int | None) -> list[float]:
    """The numbers of a row; ``width`` is that of the first row."""
    try:
        row = [float(word) for word in part.replace(",", " ").split()]
    except ValueError as error:
        raise DataError("not a number", line=line, field=name, value=str(error)) from None
    if len(row) < _WIDTHS[name] or len(row) != (width or len(row)) or not np.isfinite(row).all():
        expected = f"{width or _WIDTHS[name]} finite numbers"
        raise DataError("not a row of this table", line=line, field=name, value=part, expected=expected)
    return row
