"""How time and memory grow with the triples and the entities of a graph."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from benchmarks.figures import GROWING
from benchmarks.kgqa_scale_home import LIMIT, SEED, in_own_process, opened, peak_memory, write
from jepakit.kgqa.datasets.generated import GeneratedConfig
from jepakit.kgqa.retrievers import PCST
from jepakit.kgqa.sampling import Sampling
from jepakit.training.result_rows import ResultRow

#: Of the triples, drawn at the largest hub; of these a quarter is left.
HUB = 200_000 / 8_100_000
ASKED, ROOTS, NODES = 50, 1000, 256
NUMBERS = {"question": "question p50, ms", "subgraphs": "1,000 subgraphs, s", "memory": "memory, GiB"}
"""What is measured of each graph, and its label."""


@dataclass(frozen=True)
class Growth:
    """Graphs that differ in one field of `GeneratedConfig`.

    Args:
        field: its name.
        configs: the graphs, ascending.
    """

    field: str
    configs: tuple[GeneratedConfig, ...]

    def sizes(self) -> list[int]:
        """The field's values."""
        return [int(getattr(config, self.field)) for config in self.configs]


def growths(*, quick: bool) -> tuple[Growth, Growth]:
    """By triples, up to ten million, and by entities."""
    base = GeneratedConfig(entities=20_000, triples=200_000) if quick else GeneratedConfig(triples=4_000_000)
    triples = (100_000, 200_000) if quick else (500_000, 1_000_000, 2_000_000, 4_000_000, 8_000_000, 10_000_000)
    entities = (10_000, 20_000) if quick else (32_000, 64_000, 128_000, 256_000, 512_000)
    return (
        Growth("triples", tuple(replace(base, triples=count, hub=int(HUB * count)) for count in triples)),
        Growth("entities", tuple(replace(base, entities=count, hub=int(HUB * base.triples)) for count in entities)),
    )


def measure(config: GeneratedConfig) -> dict[str, float]:
    """Draws the graph, and measures in a process that only opens it."""
    with tempfile.TemporaryDirectory() as root:
        write(config, Path(root))
        return in_own_process(_measured, Path(root))


def _measured(folder: Path) -> dict[str, float]:
    graph, vectors, queries = opened(folder, ASKED)
    retriever, milliseconds = PCST(graph, vectors), []
    for query in queries:
        start = time.perf_counter()
        retriever.retrieve([query], LIMIT)
        milliseconds.append(1000 * (time.perf_counter() - start))
    draw = np.random.default_rng(SEED)
    roots = draw.integers(graph.num_entities, size=ROOTS)
    start = time.perf_counter()
    Sampling("khop", nodes=NODES)(graph, roots, draw)
    seconds = time.perf_counter() - start
    return {"question": float(np.median(milliseconds)), "subgraphs": seconds, "memory": peak_memory()}


def growth_rows(growth: Growth, measured: Sequence[Mapping[str, float]]) -> list[ResultRow]:
    """A row for each graph and number."""
    fixed = "triples" if growth.field == "entities" else "entities"
    return [
        ResultRow(
            f"{GROWING}{growth.field}",
            f"{config.entities:,} entities, {config.triples:,} triples",
            label,
            numbers[number],
            note=f"the same {fixed} in all rows",
            ours=True,
            lower_is_better=True,
        )
        for number, label in NUMBERS.items()
        for config, numbers in zip(growth.configs, measured, strict=True)
    ]
