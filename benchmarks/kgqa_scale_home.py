"""What the benchmark of scale measures on: a drawn graph on disk, vectors of its entities, questions."""

from __future__ import annotations

import multiprocessing
import resource
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from jepakit.kgqa.data import KnowledgeGraph
from jepakit.kgqa.datasets.generated import GeneratedConfig, generate
from jepakit.kgqa.retrievers import EntityVectors, Query, entity_passages
from jepakit.kgqa.storage import open_graph, write_graph
from jepakit.text import Kind

T = TypeVar("T")

SEED, LIMIT = 3, 20
#: Questions, by ``--quick``: asked, and compared with what takes longer.
ASKED, COMPARED = {False: 100, True: 20}, {False: 10, True: 4}
MEMORY = "memory, GiB"
GRAPH, VECTORS = "graph", "vectors.npy"


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


def write(config: GeneratedConfig, folder: Path) -> None:
    """Draws a graph and writes it and the vectors of its entities into an empty folder."""
    graph = generate(config, np.random.default_rng(SEED)).graph
    write_graph(folder / GRAPH, graph)
    np.save(folder / VECTORS, WordVectors().encode(entity_passages(graph), "document").numpy())


def opened(folder: Path, asked: int) -> tuple[KnowledgeGraph, EntityVectors, list[Query]]:
    """Graph, vectors, and questions: four words of the text of an entity, half of them with a topic."""
    graph, draw = open_graph(folder / GRAPH), np.random.default_rng(SEED + 1)
    vectors = EntityVectors(graph, WordVectors(), matrix=np.load(folder / VECTORS, mmap_mode="r"))
    texts = graph.column("text", draw.integers(graph.num_entities, size=asked))
    chosen = [" ".join(draw.choice(text.split(), 4, replace=False)) for text in texts]
    topics = draw.integers(graph.num_entities, size=asked).tolist()
    return graph, vectors, [Query(text, (topics[row],) if row % 2 else ()) for row, text in enumerate(chosen)]


def peak_memory() -> float:
    """The most memory of this process so far, GiB; pages of mapped files that were read count.

    On Linux ``ru_maxrss`` of a new process begins with the memory of the one that started it; ``VmHWM`` does not.
    """
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    (line,) = [line for line in status.read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) / 2**20


def in_own_process(function: Callable[..., T], *arguments: object) -> T:
    """Calls a function in a fresh process, so that its memory is its alone."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()
