"""A made-up power grid as a MATPOWER file."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_BASE = 100.0
#: Lines between near buses beside a ring; capacity of all generators as a multiple of all loads; and the limit of a
#: line as a multiple of its flow where each generator has its share.
_CHORDS, _CAPACITY, _LIMIT = 0.5, 1.6, 2.5


def matpower(buses: int, generators: int, *, seed: int) -> str:
    """A connected grid whose cheapest generation is held up by the limits of some lines.

    Args:
        buses: of the grid.
        generators: at random buses, with linear costs.
        seed: of all choices.
    """
    draw = np.random.default_rng(seed)
    load = draw.uniform(10, 60, buses)
    at = draw.choice(buses, generators, replace=False)
    capacity = draw.uniform(0.5, 1.5, generators)
    capacity *= _CAPACITY * load.sum() / capacity.sum()
    cost = draw.uniform(5, 60, generators)
    ring = np.stack([np.arange(buses), (np.arange(buses) + 1) % buses])
    start = draw.integers(0, buses, int(_CHORDS * buses))
    chords = np.stack([start, (start + draw.integers(2, buses // 3, len(start))) % buses])
    ends = np.unique(np.sort(np.concatenate([ring, chords], axis=1), axis=0), axis=1)
    reactance = draw.uniform(0.02, 0.2, ends.shape[1])
    limit = np.ceil(_LIMIT * np.abs(_shared_flows(load, at, capacity, ends, reactance)) + 10)
    tables = {
        "bus": [
            (bus + 1, 3 if bus == 0 else 1, f"{load[bus]:.2f}", 0, 0, 0, 1, 1, 0, 135, 1, 1.1, 0.9)
            for bus in range(buses)
        ],
        "gen": [(bus + 1, 0, 0, 0, 0, 1, _BASE, 1, f"{most:.2f}", 0) for bus, most in zip(at, capacity, strict=True)],
        "branch": [
            (one + 1, other + 1, f"{x / 10:.5f}", f"{x:.5f}", 0, most, most, most, 0, 0, 1, -360, 360)
            for one, other, x, most in zip(*ends, reactance, limit, strict=True)
        ],
        "gencost": [(2, 0, 0, 2, f"{slope:.2f}", 0) for slope in cost],
    }
    parts = [f"function mpc = grid\nmpc.version = '2';\nmpc.baseMVA = {_BASE:g};"]
    for name, rows in tables.items():
        lines = "\n".join(f"\t{' '.join(map(str, row))};" for row in rows)
        parts.append(f"mpc.{name} = [\n{lines}\n];")
    return "\n".join(parts) + "\n"


def _shared_flows(
    load: NDArray[np.float64],
    at: NDArray[np.int64],
    capacity: NDArray[np.float64],
    ends: NDArray[np.int64],
    reactance: NDArray[np.float64],
) -> NDArray[np.float64]:
    """The flow of each line, ``[lines]``, where generators share the load in proportion to their capacities."""
    injection = -load
    injection[at] += capacity * load.sum() / capacity.sum()
    lines = np.arange(len(reactance))
    incidence = np.zeros((len(reactance), len(load)))
    incidence[lines, ends[0]], incidence[lines, ends[1]] = 1, -1
    weighted = incidence / reactance[:, None]
    angles = np.linalg.lstsq(incidence.T @ weighted, injection, rcond=None)[0]
    return weighted @ angles
