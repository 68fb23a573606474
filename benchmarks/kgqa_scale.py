"""How long does a question take on a graph of STaRK-Prime's size, and is its subgraph that of the whole graph?

The graph is drawn (`jepakit.kgqa.datasets.generated`), because STaRK-Prime's own is a download. Its texts are encoded
by a random vector for each word, so that an entity is nearest to questions with words of its text; the time of a
sentence encoder comes on top. Everything is measured in a process that opens graph and vectors from files.
"""

from __future__ import annotations

import multiprocessing
import resource
import tempfile
import time
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks.harness import Options, Steps, main
from jepakit.kgqa.data import KnowledgeGraph, different
from jepakit.kgqa.datasets.generated import GeneratedConfig, generate
from jepakit.kgqa.retrievers import (
    BM25,
    KNN,
    PCST,
    EntityVectors,
    KHop,
    PathConfig,
    PCSTConfig,
    Query,
    Retriever,
    entity_passages,
)
from jepakit.kgqa.retrievers import Path as ShortestPaths
from jepakit.kgqa.retrievers.steiner import steiner_tree
from jepakit.kgqa.storage import open_graph, write_graph
from jepakit.text import Kind
from jepakit.training.result_rows import ResultRow

SEED, LIMIT = 3, 20
#: Of the triples drawn at the largest hub a quarter is left: about 48,000.
FULL = GeneratedConfig(hub=200_000)
QUICK = GeneratedConfig(entities=20_000, triples=800_000, hub=20_000)
ASKED, COMPARED = {False: 100, True: 20}, {False: 10, True: 4}
PEAK, TREE = "jepakit: all retrievers", "jepakit: PCST, k-hop candidates"


class WordVectors:
    """A random vector for each word, added up."""

    name, dim, fingerprint = "words", 384, "words"

    def __init__(self) -> None:
        self._table = np.random.default_rng(SEED).standard_normal((1 << 14, self.dim)).astype(np.float32)

    def encode(self, texts: Sequence[str], kind: Kind) -> Tensor:
        """See `jepakit.text.TextEncoder.encode`."""
        vectors = np.zeros((len(texts), self.dim), np.float32)
        for row, text in enumerate(texts):
            words = [zlib.crc32(word.encode()) % len(self._table) for word in text.split()]
            vectors[row] = self._table[words].sum(0)
        return torch.nn.functional.normalize(torch.from_numpy(vectors), dim=-1)


def rows(options: Options, steps: Steps) -> list[ResultRow]:
    """The table."""
    config = QUICK if options.quick else FULL
    with tempfile.TemporaryDirectory() as root:
        folder = Path(root)

        def measured() -> dict[str, float]:
            write(config, folder)
            return in_own_process(measure_retrieval, folder, options.quick)

        numbers = steps.value(("retrieval", options.quick), measured)
    return retrieval_rows(config, numbers)


def write(config: GeneratedConfig, folder: Path) -> None:
    """Draws a graph and writes it and the vectors of its entities."""
    graph = generate(config, np.random.default_rng(SEED)).graph
    write_graph(folder / "graph", graph)
    np.save(folder / "vectors.npy", WordVectors().encode(entity_passages(graph), "document").numpy())


def measure_retrieval(folder: Path, quick: bool) -> dict[str, float]:
    """Times, sizes and the comparison with the tree of the whole graph."""
    graph, queries = opened(folder, ASKED[quick])
    vectors = EntityVectors(graph, WordVectors(), matrix=np.load(folder / "vectors.npy", mmap_mode="r"))
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
    numbers["memory"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    words = BM25(graph)
    start = time.perf_counter()
    for query in queries:
        words.retrieve([query], LIMIT)
    numbers["jepakit: BM25 p50"] = 1000 * (time.perf_counter() - start) / len(queries)
    return numbers | compared(graph, vectors, queries[: COMPARED[quick]])


def opened(folder: Path, asked: int) -> tuple[KnowledgeGraph, list[Query]]:
    """The graph, and questions: four words of the text of an entity, half of them with a topic."""
    graph, draw = open_graph(folder / "graph"), np.random.default_rng(SEED + 1)
    texts = graph.column("text", draw.integers(graph.num_entities, size=asked))
    chosen = [" ".join(draw.choice(text.split(), 4, replace=False)) for text in texts]
    topics = draw.integers(graph.num_entities, size=asked).tolist()
    return graph, [Query(text, (topics[row],) if row % 2 else ()) for row, text in enumerate(chosen)]


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


def retrieval_rows(config: GeneratedConfig, numbers: dict[str, float]) -> list[ResultRow]:
    """The rows of `measure_retrieval`."""
    data = f"{config.entities:,} entities, {numbers['triples']:,.0f} triples, a hub of {numbers['hub']:,.0f}"
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
        ResultRow(data, PEAK, "memory, GiB", numbers["memory"], aim=6.0, ours=True, lower_is_better=True),
    ]


def in_own_process(function: Callable[..., dict[str, float]], *arguments: object) -> dict[str, float]:
    """Calls a function in a fresh process, so that its memory is its alone."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


if __name__ == "__main__":
    main("kgqa_scale", rows)
