"""How long does a question take on a graph of STaRK-Prime's size, and is its subgraph that of the whole graph?

The graph is drawn (`jepakit.kgqa.datasets.generated`), because STaRK-Prime's own is a download. Its texts are encoded
by a random vector for each word, so that an entity is nearest to questions with words of its text; the time of a
sentence encoder comes on top. Everything is measured in a process that opens graph and vectors from files: retrieval,
subgraphs for pre-training, and what ``jepakit kgqa ask`` does (`benchmarks.kgqa_scale_ask`). Growth is measured on
graphs of other sizes; `benchmarks.render` draws it.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.harness import Options, Steps, main
from benchmarks.kgqa_scale_ask import ask_rows, measure_ask
from benchmarks.kgqa_scale_growth import growth_rows, growths, measure
from benchmarks.kgqa_scale_home import (
    ASKED,
    COMPARED,
    LIMIT,
    MEMORY,
    SEED,
    in_own_process,
    opened,
    peak_memory,
    write,
)
from jepakit.kgqa.data import KnowledgeGraph, different
from jepakit.kgqa.datasets.generated import GeneratedConfig
from jepakit.kgqa.retrievers import BM25, KNN, PCST, EntityVectors, KHop, PathConfig, PCSTConfig, Query, Retriever
from jepakit.kgqa.retrievers import Path as ShortestPaths
from jepakit.kgqa.retrievers.steiner import steiner_tree
from jepakit.kgqa.sampling import Sampling
from jepakit.training.result_rows import ResultRow

#: Of the triples drawn at the largest hub a quarter is left: about 48,000.
FULL = GeneratedConfig(hub=200_000)
QUICK = GeneratedConfig(entities=20_000, triples=800_000, hub=20_000)
SUBGRAPHS, HUBS = {False: 5000, True: 200}, 500
NODES = 256
PEAK, TREE = "jepakit: all retrievers", "jepakit: PCST, k-hop candidates"

Function = Callable[[Path, bool], dict[str, float]]


def rows(options: Options, steps: Steps) -> list[ResultRow]:
    """The table."""
    config, quick = QUICK if options.quick else FULL, options.quick
    parts = {"retrieval": measure_retrieval, "subgraphs": measure_subgraphs, "ask": measure_ask}
    with tempfile.TemporaryDirectory() as root:
        folder = Path(root)
        drawn: list[GeneratedConfig] = []

        def measured(function: Function) -> dict[str, float]:
            if not drawn:
                write(config, folder)
                drawn.append(config)
            return in_own_process(function, folder, quick)

        found = {name: steps.value((name, quick), partial(measured, function)) for name, function in parts.items()}
        grown = {
            growth: [
                steps.value(("growth", growth.field, size, quick), partial(measure, one))
                for size, one in zip(growth.sizes(), growth.configs, strict=True)
            ]
            for growth in growths(quick=quick)
        }
    numbers = found["retrieval"]
    data = f"{config.entities:,} entities, {numbers['triples']:,.0f} triples, a hub of {numbers['hub']:,.0f}"
    table = [*retrieval_rows(data, numbers), *subgraph_rows(data, found["subgraphs"]), *ask_rows(data, found["ask"])]
    return [*table, *(row for growth, points in grown.items() for row in growth_rows(growth, points))]


def measure_retrieval(folder: Path, quick: bool) -> dict[str, float]:
    """Times, sizes and the comparison with the tree of the whole graph."""
    graph, vectors, queries = opened(folder, ASKED[quick])
    retrievers: dict[str, Retriever] = {
        TREE: PCST(graph, vectors),
        "jepakit: PCST, with prizes of triples": PCST(graph, vectors, PCSTConfig(topk_e=3)),
        "jepakit: KNN": KNN(graph, vectors),
        "jepakit: k-hop": KHop(graph, vectors),
        "jepakit: path": ShortestPaths(graph, vectors, PathConfig()),
    }
    numbers: dict[str, float] = {"triples": graph.num_triples, "hub": int(graph.degree.max())}
    times: dict[str, list[float]] = {method: [] for method in retrievers}
    sizes: dict[str, list[int]] = {method: [] for method in retrievers}
    # Each question goes to all in turn, so that a busy moment of the machine is not one method's alone.
    for query in queries:
        for method, retriever in retrievers.items():
            start = time.perf_counter()
            (retrieved,) = retriever.retrieve([query], LIMIT)
            times[method].append(1000 * (time.perf_counter() - start))
            sizes[method].append(len(retrieved.subgraph.entities))
    for method in retrievers:
        numbers[f"{method} p50"] = float(np.median(times[method]))
        numbers[f"{method} p95"] = float(np.quantile(times[method], 0.95))
        numbers[f"{method} entities"] = float(np.median(sizes[method]))
    numbers["memory"] = peak_memory()
    words = BM25(graph)
    start = time.perf_counter()
    for query in queries:
        words.retrieve([query], LIMIT)
    numbers["jepakit: BM25 p50"] = 1000 * (time.perf_counter() - start) / len(queries)
    return numbers | compared(graph, vectors, queries[: COMPARED[quick]])


def compared(graph: KnowledgeGraph, vectors: EntityVectors, queries: Sequence[Query]) -> dict[str, float]:
    """Ours beside the tree of the whole graph, with the same prizes: mean Jaccard index of their entities."""
    owner = np.repeat(np.arange(graph.num_entities), graph.degree)
    once = owner < graph.neighbour
    key = different(owner[once] * graph.num_entities + graph.neighbour[once])
    pairs = np.stack(np.divmod(key, graph.num_entities), 1)
    config = PCSTConfig()
    overlap: dict[str, list[float]] = {"whole": [], "plain": []}
    seconds: list[float] = []
    for query in queries:
        vector = vectors.encode([query.text])[0]
        prizes = np.zeros(graph.num_entities)
        prizes[vectors.nearest(vector[None], config.topk).rows[0].numpy()] = np.arange(config.topk, 0, -1)
        prizes[list(query.topics)] = config.topk
        cosine = np.asarray(vectors.matrix) @ vector
        ways = {"whole": config, "plain": PCSTConfig(preference=0)}
        for name, way in ways.items():
            ours = set(PCST(graph, vectors, way).retrieve([query], LIMIT)[0].subgraph.entities.tolist())
            costs = way.cost_e * (1 + way.preference * (1 - cosine[pairs].mean(1, dtype=np.float64)))
            start = time.perf_counter()
            whole = set(steiner_tree(pairs, prizes, costs)[0].tolist())
            seconds.append(time.perf_counter() - start)
            overlap[name].append(len(ours & whole) / len(ours | whole))
    means = {f"jaccard {name}": float(np.mean(values)) for name, values in overlap.items()}
    return means | {"whole s": float(np.median(seconds)), "compared": len(queries)}


def measure_subgraphs(folder: Path, quick: bool) -> dict[str, float]:
    """Seconds for subgraphs around random entities, and around the largest hubs."""
    graph, _, _ = opened(folder, 1)
    draw = np.random.default_rng(SEED)
    roots = {"": draw.integers(graph.num_entities, size=SUBGRAPHS[quick]), " hubs": np.argsort(-graph.degree)[:HUBS]}
    numbers: dict[str, float] = {}
    for method in ("walk", "khop", "fanout"):
        for place, chosen in roots.items():
            start = time.perf_counter()
            subgraphs = Sampling(method, nodes=NODES)(graph, chosen, draw)
            numbers[f"{method}{place} s"] = time.perf_counter() - start
            numbers[f"{method}{place} entities"] = float(np.diff(subgraphs.entity_ptr).mean())
    return numbers | {"count": len(roots[""]), "memory": peak_memory()}


def retrieval_rows(data: str, numbers: dict[str, float]) -> list[ResultRow]:
    """The rows of `measure_retrieval`."""
    times = [
        ResultRow(
            data,
            name.removesuffix(f" {share}"),
            f"question {share}, ms",
            value,
            aim=150.0 if name == f"{TREE} p50" else None,
            ours=True,
            lower_is_better=True,
        )
        for share in ("p50", "p95")
        for name, value in numbers.items()
        if name.endswith(share)
    ]
    sizes = [
        ResultRow(data, name.removesuffix(" entities"), "entities of the subgraph, median", value, ours=True)
        for name, value in numbers.items()
        if name.endswith(" entities")
    ]
    count = int(numbers["compared"])
    equal = "the same prizes and costs, no candidates left out"
    return [
        *times,
        ResultRow(data, "PCST of the whole graph", "question p50, ms", 1000 * numbers["whole s"], lower_is_better=True),
        *sizes,
        ResultRow(
            data,
            TREE,
            "Jaccard to PCST of the whole graph",
            numbers["jaccard whole"],
            seeds=count,
            aim=0.9,
            note=f"{equal}; mean over {count} questions",
            ours=True,
        ),
        ResultRow(
            data,
            f"{TREE}, all triples equally dear",
            "Jaccard to PCST of the whole graph",
            numbers["jaccard plain"],
            seeds=count,
            note="of many trees of equal value each takes another",
            ours=True,
        ),
        ResultRow(data, PEAK, MEMORY, numbers["memory"], aim=6.0, ours=True, lower_is_better=True),
    ]


def subgraph_rows(data: str, numbers: dict[str, float]) -> list[ResultRow]:
    """The rows of `measure_subgraphs`."""
    counts = {"": int(numbers["count"]), " hubs": HUBS}
    table: list[ResultRow] = []
    for place, count in counts.items():
        where = "the largest hubs" if place else "random entities"
        for method in ("walk", "khop", "fanout"):
            note = f"{numbers[f'{method}{place} entities']:.0f} entities in the mean"
            table.append(
                ResultRow(
                    data,
                    f"jepakit: {method}",
                    f"{count:,} subgraphs of at most {NODES} entities around {where}, s",
                    numbers[f"{method}{place} s"],
                    aim=None if place else 60.0,
                    note=note,
                    ours=True,
                    lower_is_better=True,
                )
            )
    memory = ResultRow(data, "jepakit: subgraphs", MEMORY, numbers["memory"], aim=6.0, ours=True, lower_is_better=True)
    return [*table, memory]


if __name__ == "__main__":
    main("kgqa_scale", rows)
