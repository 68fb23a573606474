"""What the benchmarks of linear programs share: training on bases, kept labels, problems solved in all ways as rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness import data_dir
from jepakit.datasets.folders import cache_folder
from jepakit.lp import LinearProgram, PretrainConfig, SolveConfig, read_problem
from jepakit.lp.encoder import EncoderConfig
from jepakit.lp.evaluate import Way, solved
from jepakit.training.result_rows import ResultRow

__all__ = [
    "NETWORKS",
    "PIVOTS",
    "SEEDS",
    "TIME",
    "Facts",
    "by_metric",
    "facts",
    "labels_folder",
    "median",
    "rows_of",
    "taught_by_bases",
    "unit_commitment_days",
]

SEEDS = (0, 1, 2)
#: Models of the network, and what their files are called.
NETWORKS = {"copper plate": "NetCopperPlate", "DC": "NetDC", "PTDF": "NetPTDF"}
PIVOTS, TIME = "pivots", "time in ms, guess included"
#: Of each way, by name: whether it is ours, whether it is learned, and under "solved", of each problem: pivots,
#: milliseconds, whether a start was given up, whether a guess alone was enough.
Facts = dict[str, dict[str, Any]]


def unit_commitment_days(network: str) -> list[LinearProgram]:
    """The relaxations of three days of RTS-GMLC, which differ in sides alone.

    Args:
        network: one of `NETWORKS`.
    """
    folder = data_dir() / "lp" / "unit_commitment"
    return [read_problem(file, relax=True) for file in sorted(folder.glob(f"*_{NETWORKS[network]}_*.mps.gz"))]


def labels_folder() -> Path:
    """Where the benchmarks keep the optima that they learn from."""
    return cache_folder() / "benchmarks" / "lp_labels"


def taught_by_bases(
    *, seed: int, epochs: int, batch_size: int, encoder: EncoderConfig, held_out: int | None = None
) -> PretrainConfig:
    """Training for starts: the statuses of optimal bases alone, without the KKT loss."""
    return PretrainConfig(
        seed=seed,
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=2e-3,
        progress=False,
        primal_weight=0,
        dual_weight=0,
        stationarity_weight=0,
        complementary_slackness_weight=0,
        encoder=encoder,
        held_out=held_out,
    )


def facts(problems: Sequence[LinearProgram], by: Mapping[str, Way]) -> Facts:
    """Problems solved in every way, as JSON holds it.

    Args:
        problems: unseen ones.
        by: ways by name, cold first.
    """
    results = solved(problems, by, SolveConfig())
    return {
        name: {
            "ours": way.ours,
            "learned": way.learned,
            "solved": [
                [
                    float(one.solution.pivots),
                    1e3 * one.seconds,
                    float(one.solution.fell_back),
                    float(bool(one.starts) and one.solution.source != "solver" and one.solution.pivots == 0),
                ]
                for one in results[name]
            ],
        }
        for name, way in by.items()
    }


def median(by_seed: Sequence[Facts], way: str, metric: str) -> float:
    """Over the problems, the mean of those of all seeds."""
    return float(np.mean(_medians(by_seed, way, metric)))


def _medians(by_seed: Sequence[Facts], way: str, metric: str) -> list[float]:
    return [float(np.median([one[_COLUMN[metric]] for one in found[way]["solved"]])) for found in by_seed]


def rows_of(where: str, by_seed: Sequence[Facts], aims: Mapping[str, float], aimed: str) -> list[ResultRow]:
    """Medians and worst cases of time and pivots of each way.

    Args:
        where: the data set's name.
        by_seed: `facts` of the same problems, with a model of another seed each; what learns nothing differs in time.
        aims: of medians, by metric.
        aimed: the way that has these aims.
    """
    rows: list[ResultRow] = []
    for metric, column in _COLUMN.items():
        for name, way in by_seed[0].items():
            middle = _medians(by_seed, name, metric)
            several = way["learned"] and len(middle) > 1
            median_row = ResultRow(
                where,
                name,
                f"{metric}, median",
                median(by_seed, name, metric),
                float(np.std(middle, ddof=1)) if several else None,
                len(middle) if several else None,
                aim=aims.get(metric) if name == aimed else None,
                note=_note(by_seed, name) if metric == PIVOTS else "",
                ours=way["ours"],
                lower_is_better=True,
            )
            rows.append(median_row)
        for name, way in by_seed[0].items():
            worst = max(one[column] for found in by_seed for one in found[name]["solved"])
            rows.append(ResultRow(where, name, f"{metric}, worst", worst, ours=way["ours"], lower_is_better=True))
    return rows


def by_metric(rows: Sequence[ResultRow]) -> list[ResultRow]:
    """The rows of each metric together, in the order in which metrics and rows come."""
    metrics = list(dict.fromkeys(row.metric for row in rows))
    return sorted(rows, key=lambda row: metrics.index(row.metric))


#: What is waited for comes first.
_COLUMN = {TIME: 1, PIVOTS: 0}


def _note(by_seed: Sequence[Facts], way: str) -> str:
    """How often a start was given up, and how often no pivot was needed."""
    given_up = int(sum(one[2] for found in by_seed for one in found[way]["solved"]))
    certified = int(sum(one[3] for found in by_seed for one in found[way]["solved"]))
    count = sum(len(found[way]["solved"]) for found in by_seed)
    parts = ((given_up, "given up"), (certified, "without any pivot"))
    return ", ".join(f"{number} of {count} {what}" for number, what in parts if number)
