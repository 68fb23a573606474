"""One index in a process of its own, so that its memory is its own: what `benchmarks.retrieval_speed` times.

    python -m benchmarks.retrieval_speed_index VARIANT COUNT FOLDER THREADS

It answers a line of JSON for each line it reads:

- ``build``: makes the index of COUNT vectors and writes it into FOLDER: ``{"seconds": s}``;
- ``open``: opens what is in FOLDER: ``{"seconds": s}``;
- ``ask FIRST COUNT``: searches for some queries, one at a time: ``{"milliseconds": [...]}``;
- ``memory``: MiB more than before it was opened, and of that what is not pages of a file, which the system can take
  back when it needs them: ``{"resident": m, "anonymous": m}``; Linux only;
- ``recall COUNT``: the share of the ten nearest that it finds: ``{"recall": r}``.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import subprocess
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from benchmarks.harness import SOURCE
from jepakit.errors import ConfigError
from jepakit.retrieval import IndexConfig
from jepakit.search.vectors import VectorIndex

DIM, NEAREST = 384, 10
_BLOCK, _CLUSTER = 50_000, 100


class Variant(ABC):
    """An index, by whichever library."""

    @abstractmethod
    def build(self, blocks: Sequence[np.ndarray], folder: Path) -> None:
        """Makes an index of the vectors, ``[n, D]`` a block, and writes it."""

    @abstractmethod
    def open(self, folder: Path) -> None:
        """Reads what `build` wrote."""

    @abstractmethod
    def search(self, queries: np.ndarray) -> np.ndarray:
        """The rows of the ten nearest vectors of each query, ``[Q, 10]``."""


class Ours(Variant):
    """`jepakit.search.vectors.VectorIndex`: the vectors' part of an index, mapped from disk."""

    def __init__(self, kind: Literal["exact", "hnsw"]) -> None:
        self.config = IndexConfig(kind)
        if kind == "hnsw":
            # Now, so that the memory of the library does not count as the index's.
            importlib.import_module("faiss")

    def build(self, blocks: Sequence[np.ndarray], folder: Path) -> None:
        VectorIndex.build(blocks, self.config).save(folder)

    def open(self, folder: Path) -> None:
        self.index = VectorIndex.load(folder)

    def search(self, queries: np.ndarray) -> np.ndarray:
        return self.index.search(queries, NEAREST).rows.numpy()


class Plain(Variant):
    """FAISS as its documentation uses it, with the settings of ours, read into memory."""

    def __init__(self, kind: Literal["exact", "hnsw"]) -> None:
        # Its own stubs leave out what is used here.
        self.faiss: Any = importlib.import_module("faiss")
        self.kind, self.config = kind, IndexConfig(kind)

    def build(self, blocks: Sequence[np.ndarray], folder: Path) -> None:
        if self.kind == "exact":
            index = self.faiss.IndexFlatIP(DIM)
        else:
            index = self.faiss.IndexHNSWFlat(DIM, self.config.links, self.faiss.METRIC_INNER_PRODUCT)
            index.hnsw.efConstruction = self.config.ef_construction
        for block in blocks:
            index.add(block)
        self.faiss.write_index(index, str(folder / "index.faiss"))

    def open(self, folder: Path) -> None:
        self.index = self.faiss.read_index(str(folder / "index.faiss"))
        if self.kind == "hnsw":
            self.index.hnsw.efSearch = self.config.ef_search

    def search(self, queries: np.ndarray) -> np.ndarray:
        return self.index.search(queries, NEAREST)[1]


VARIANTS: dict[str, tuple[type[Ours | Plain], Literal["exact", "hnsw"]]] = {
    "jepakit exact": (Ours, "exact"),
    "FAISS exact": (Plain, "exact"),
    "jepakit hnsw": (Ours, "hnsw"),
    "FAISS hnsw": (Plain, "hnsw"),
}


def vectors(count: int, *, of: int, seed: int) -> Iterator[np.ndarray]:
    """Blocks of unit vectors in clusters, float32, ``[n, 384]``; two of one cluster have a cosine of about a half.

    Vectors drawn evenly from the sphere have no near ones, and no graph finds the nearest; those of texts have.

    Args:
        count: how many.
        of: size of the collection, which has a cluster for each hundred.
        seed: which; clusters are the same for all.
    """
    centres = _drawn(np.random.default_rng(0), max(1, of // _CLUSTER))
    for start in range(0, count, _BLOCK):
        generator = np.random.default_rng([1, seed, start])
        size = min(_BLOCK, count - start)
        block = centres[generator.integers(len(centres), size=size)] + _drawn(generator, size)
        yield block / np.linalg.norm(block, axis=1, keepdims=True)


def _drawn(generator: np.random.Generator, count: int) -> np.ndarray:
    drawn = generator.standard_normal((count, DIM), dtype=np.float32)
    return drawn / np.linalg.norm(drawn, axis=1, keepdims=True)


class Jobs:
    """The lines that are answered.

    Args:
        variant: a key of `VARIANTS`.
        count: vectors in the index.
        folder: where it is written.
    """

    def __init__(self, variant: str, count: int, folder: Path) -> None:
        made, kind = VARIANTS[variant]
        self.variant: Variant = made(kind)
        self.count, self.folder = count, folder
        self.before: dict[str, float] = {}

    def answer(self, line: str) -> dict[str, Any]:
        """Does what a line asks for."""
        name, *numbers = line.split()
        jobs: dict[str, Callable[..., dict[str, Any]]] = {
            "build": self._build,
            "open": self._open,
            "ask": self._ask,
            "memory": self._memory,
            "recall": self._recall,
        }
        return jobs[name](*map(int, numbers))

    def _build(self) -> dict[str, Any]:
        blocks = list(vectors(self.count, of=self.count, seed=0))
        start = time.perf_counter()
        self.variant.build(blocks, self.folder)
        return {"seconds": time.perf_counter() - start}

    def _open(self) -> dict[str, Any]:
        self.before = _memory()
        start = time.perf_counter()
        self.variant.open(self.folder)
        return {"seconds": time.perf_counter() - start}

    def _ask(self, first: int, count: int) -> dict[str, Any]:
        queries = self._queries(first + count)[first:]
        self.variant.search(queries[:1])
        spent: list[float] = []
        for row in range(count):
            start = time.process_time()
            self.variant.search(queries[row : row + 1])
            spent.append(1e3 * (time.process_time() - start))
        return {"milliseconds": spent}

    def _memory(self) -> dict[str, Any]:
        return {name: now - self.before[name] for name, now in _memory().items()}

    def _recall(self, count: int) -> dict[str, Any]:
        queries = self._queries(count)
        data = np.concatenate(list(vectors(self.count, of=self.count, seed=0)))
        nearest = torch.from_numpy(queries @ data.T).topk(NEAREST).indices
        found = torch.from_numpy(self.variant.search(queries)).long()
        return {"recall": float((found[:, :, None] == nearest[:, None, :]).any(2).float().mean())}

    def _queries(self, count: int) -> np.ndarray:
        return next(vectors(count, of=self.count, seed=1))


def _memory() -> dict[str, float]:
    """MiB of this process."""
    file = Path("/proc/self/status")
    if not file.exists():
        return {}
    fields = dict(line.split(":", 1) for line in file.read_text("utf-8").splitlines())
    return {name: int(fields[key].split()[0]) / 1024 for name, key in (("resident", "VmRSS"), ("anonymous", "RssAnon"))}


class IndexProcess:
    """One variant of an index in its own process, answering lines as above.

    Args:
        variant: whose.
        count: vectors.
        folder: where it is written and read.
        threads: of everything in it.

    Raises:
        ConfigError: the process ends before it answers; the message has the last line it wrote.
    """

    def __init__(self, variant: str, count: int, folder: Path, threads: int) -> None:
        self.variant, self.log = variant, folder / "log"
        arguments = [variant, str(count), str(folder), str(threads)]
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "benchmarks.retrieval_speed_index", *arguments],
                cwd=SOURCE,
                env={**os.environ, "OMP_NUM_THREADS": str(threads)},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )

    def answer(self, line: str) -> dict[str, Any]:
        """What the process answers to a line."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            self.close()
            last = self.log.read_text("utf-8").strip().splitlines()[-1:]
            raise ConfigError("index", last[0] if last else None, f"{self.variant}, and memory and disk for it")
        return json.loads(answer)

    def close(self) -> None:
        """Ends the process, which stops where its input does."""
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()
        self.process.wait()


class BuiltIndex:
    """A variant that is built when somebody first asks for it, and then stays open.

    Args:
        variant: whose.
        count: vectors.
        stack: ends the process and removes the folder.
        threads: that build it; one searches.
    """

    def __init__(self, variant: str, count: int, stack: ExitStack, *, threads: int) -> None:
        self.variant, self.count, self.stack, self.threads = variant, count, stack, threads
        self.seconds = cache(self._seconds)
        self.opened = cache(self._opened)

    def _seconds(self) -> float:
        self.folder = Path(self.stack.enter_context(tempfile.TemporaryDirectory()))
        process = IndexProcess(self.variant, self.count, self.folder, self.threads)
        try:
            return float(process.answer("build")["seconds"])
        finally:
            process.close()

    def _opened(self) -> IndexProcess:
        self.seconds()
        process = IndexProcess(self.variant, self.count, self.folder, 1)
        self.stack.callback(process.close)
        process.answer("open")
        return process


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("variant", choices=VARIANTS)
    parser.add_argument("count", type=int)
    parser.add_argument("folder", type=Path)
    parser.add_argument("threads", type=int, help="those of numpy and FAISS are set by OMP_NUM_THREADS")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    jobs = Jobs(options.variant, options.count, options.folder)
    for line in sys.stdin:
        sys.stdout.write(json.dumps(jobs.answer(line)) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
