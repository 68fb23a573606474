"""Search by words: our BM25 beside Tantivy and bm25s, in quality, speed, memory, changes and under kills.

Tantivy is measured where it is installed (``pip install tantivy==0.27.0``). It is no dependency of jepakit;
docs/design.md says why. Each engine is built in a process of its own, so that its memory is its alone.
"""

from __future__ import annotations

import importlib
import importlib.util
import multiprocessing
import re
import resource
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.harness import Options, Steps, data_dir, main
from jepakit.retrieval import load_dataset
from jepakit.retrieval.measuring.metrics import ndcg
from jepakit.search.words import LexicalIndex, tokenize
from jepakit.training.result_rows import ResultRow

COLLECTIONS = ("scifact", "stackfaq", "medquad")
K, ASKED, CHANGED, KILLS, SEED = 10, 200, 1000, 10, 0
DOCUMENTS = {False: 1_000_000, True: 30_000}
FILTERED = "query p50 of half of the documents, ms"
METRICS = ("build, s", "open, ms", "query p50, ms", FILTERED, "memory, MiB", "add 1,000, s", "delete 1,000, s")


class Engine(ABC):
    """Texts that are searched by word."""

    ours = False

    @abstractmethod
    def build(self, texts: Sequence[str], folder: Path) -> None:
        """Indexes texts and writes the index to a folder."""

    @abstractmethod
    def open(self, folder: Path) -> None:
        """Opens what `build` wrote."""

    @abstractmethod
    def search(self, query: str, k: int) -> list[int]:
        """The numbers of the best texts."""

    def allow(self, numbers: Sequence[int], count: int) -> None:
        """From now on only these of ``count`` texts may be hits."""
        raise NotImplementedError

    def add(self, first: int, texts: Sequence[str]) -> None:
        """Adds texts, numbered from ``first``, and puts the change on disk."""
        raise NotImplementedError

    def delete(self, numbers: Sequence[int]) -> None:
        """Deletes texts and puts the change on disk."""
        raise NotImplementedError

    def count(self) -> int:
        """How many texts there are."""
        raise NotImplementedError


class Ours(Engine):
    """`jepakit.search.words.LexicalIndex`."""

    ours = True
    allowed: np.ndarray | None = None

    def build(self, texts: Sequence[str], folder: Path) -> None:
        LexicalIndex.build(texts).save(folder)

    def open(self, folder: Path) -> None:
        self.folder, self.index = folder, LexicalIndex.load(folder)

    def search(self, query: str, k: int) -> list[int]:
        rows = self.index.search([query], k, self.allowed).rows[0]
        return rows[rows >= 0].tolist()

    def allow(self, numbers: Sequence[int], count: int) -> None:
        self.allowed = np.isin(np.arange(count), numbers)

    def add(self, first: int, texts: Sequence[str]) -> None:
        self.index.add(texts)
        self._save()

    def delete(self, numbers: Sequence[int]) -> None:
        self.index.delete(numbers)
        self._save()

    def count(self) -> int:
        return len(self.index)

    def _save(self) -> None:
        with tempfile.TemporaryDirectory(dir=self.folder.parent) as folder:
            self.index.save(Path(folder))


class Bm25s(Engine):
    """bm25s with its own tokeniser and Snowball's stemmer; it has no changes."""

    def __init__(self) -> None:
        self.package = importlib.import_module("bm25s")
        self.stemmer = importlib.import_module("snowballstemmer").stemmer("english").stemWords

    def build(self, texts: Sequence[str], folder: Path) -> None:
        words = self.package.tokenize(list(texts), stemmer=self.stemmer, show_progress=False)
        index = self.package.BM25(k1=1.2, b=0.75)
        index.index(words, show_progress=False)
        index.save(folder)

    def open(self, folder: Path) -> None:
        self.index = self.package.BM25.load(folder, mmap=True)

    def search(self, query: str, k: int) -> list[int]:
        words = self.package.tokenize([query], stemmer=self.stemmer, show_progress=False, return_ids=False)
        rows, scores = self.index.retrieve(words, k=k, show_progress=False)
        return rows[0][scores[0] > 0].tolist()


class Tantivy(Engine):
    """Tantivy with its own English tokeniser and stemmer."""

    tokenizer = "en_stem"
    allowed: Any = None

    def __init__(self) -> None:
        self.package = importlib.import_module("tantivy")

    def build(self, texts: Sequence[str], folder: Path) -> None:
        schema = self.package.SchemaBuilder()
        schema.add_unsigned_field("number", stored=True, indexed=True, fast=True)
        schema.add_text_field("text", stored=False, tokenizer_name=self.tokenizer)
        self.index = self.package.Index(schema.build(), path=str(folder))
        self._write(lambda writer: self._put(writer, 0, texts))

    def open(self, folder: Path) -> None:
        self.index = self.package.Index.open(str(folder))
        self.index.reload()

    def search(self, query: str, k: int) -> list[int]:
        asked = self._query(query)
        if asked is None:
            return []
        if self.allowed is not None:
            must = self.package.Occur.Must
            asked = self.package.Query.boolean_query([(must, asked), (must, self.allowed)])
        searcher = self.index.searcher()
        return [searcher.doc(place)["number"][0] for _, place in searcher.search(asked, k, count=False).hits]

    def allow(self, numbers: Sequence[int], count: int) -> None:
        chosen = self.package.Query.term_set_query(self.index.schema, "number", list(numbers))
        self.allowed = self.package.Query.const_score_query(chosen, 0.0)

    def add(self, first: int, texts: Sequence[str]) -> None:
        self._write(lambda writer: self._put(writer, first, texts))

    def delete(self, numbers: Sequence[int]) -> None:
        def change(writer: Any) -> None:
            for number in numbers:
                query = self.package.Query.term_query(self.index.schema, "number", number)
                writer.delete_documents_by_query(query)

        self._write(change)

    def count(self) -> int:
        return int(self.index.searcher().num_docs)

    def text_of(self, text: str) -> str:
        """What is indexed."""
        return text

    def _query(self, query: str) -> Any:
        words = " ".join(re.findall(r"\w+", query.lower()))
        return self.index.parse_query(words, ["text"]) if words else None

    def _write(self, change: Callable[[Any], None]) -> None:
        writer = self.index.writer(heap_size=256_000_000, num_threads=1)
        change(writer)
        writer.commit()
        writer.wait_merging_threads()
        self.index.reload()

    def _put(self, writer: Any, first: int, texts: Sequence[str]) -> None:
        for number, text in enumerate(texts, start=first):
            document = self.package.Document()
            document.add_unsigned("number", number)
            document.add_text("text", self.text_of(text))
            writer.add_document(document)


class TantivyOurWords(Tantivy):
    """Tantivy's index and search over the words that our tokeniser makes."""

    tokenizer = "whitespace"

    def text_of(self, text: str) -> str:
        return " ".join(tokenize(text, "english"))

    def _query(self, query: str) -> Any:
        kinds, schema = self.package.Query, self.index.schema
        words = [kinds.term_query(schema, "text", word) for word in tokenize(query, "english")]
        return kinds.boolean_query([(self.package.Occur.Should, word) for word in words]) if words else None


ENGINES: dict[str, type[Engine]] = {
    "jepakit: BM25": Ours,
    "bm25s": Bm25s,
    "tantivy": Tantivy,
    "tantivy over our words": TantivyOurWords,
}


def rows(options: Options, steps: Steps) -> list[ResultRow]:
    """The table."""
    table: list[ResultRow] = []
    for method, engine in ENGINES.items():
        missing = method.startswith("tantivy") and importlib.util.find_spec("tantivy") is None
        note = "not installed" if missing else ""
        for name in COLLECTIONS:
            value = None
            if not missing:
                value = steps.value((name, "NDCG@10", method), lambda e=engine, n=name: quality(e, n))
            table.append(ResultRow(name, method, "NDCG@10", value, note=note, ours=engine.ours))
        count = DOCUMENTS[options.quick]
        measured: dict[str, float] = {}
        if not missing:
            measured = steps.value((count, method), lambda e=engine, c=count: in_own_process(speed, e, c))
        dataset = f"{count:,} short documents"
        for metric in METRICS:
            value, why = measured.get(metric), note or ("" if metric in measured else "it has no such function")
            table.append(ResultRow(dataset, method, metric, value, note=why, ours=engine.ours, lower_is_better=True))
    if importlib.util.find_spec("tantivy") is not None:
        value = steps.value(("kills", "tantivy"), lambda: whole_after_kills(Tantivy))
        table.append(ResultRow("300 documents", "tantivy", f"whole after {KILLS} kills", value))
    return table


def quality(engine: type[Engine], name: str) -> float:
    """Mean NDCG@10 of the test queries."""
    dataset = load_dataset(name, data_dir=data_dir())
    pairs = dataset.splits["test"]
    queries = pairs.relevant.queries
    index = engine()
    with tempfile.TemporaryDirectory() as folder:
        index.build(dataset.documents.passages, Path(folder))
        index.open(Path(folder))
        places = torch.full((len(queries), K), -1)
        for place, row in enumerate(queries.tolist()):
            hits = index.search(dataset.queries.texts[row], K)
            places[place, : len(hits)] = torch.tensor(hits, dtype=torch.long)
    return float(ndcg(places, queries, pairs).mean())


def short_documents(count: int) -> tuple[list[str], list[str]]:
    """Sentences of the collections, mixed until there are enough, and questions of theirs."""
    draw = np.random.default_rng(SEED)
    datasets = [load_dataset(name, data_dir=data_dir()) for name in COLLECTIONS]
    passages = " ".join(text for dataset in datasets for text in dataset.documents.passages)
    sentences = [some for some in re.split(r"(?<=[.!?])\s+", passages) if 20 < len(some) < 400]
    picked = draw.integers(0, len(sentences), (count, 2))
    texts = [f"{sentences[one][:120]} {sentences[other][-60:]}" for one, other in picked.tolist()]
    asked = [text for dataset in datasets for text in dataset.queries.texts]
    return texts, [asked[place] for place in draw.integers(0, len(asked), ASKED).tolist()]


def speed(engine: type[Engine], count: int) -> dict[str, float]:
    """Seconds to build, milliseconds to open and to search, memory while searching, seconds of changes."""
    texts, queries = short_documents(count)
    measured: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as root:
        folder = Path(root) / "index"
        folder.mkdir()
        measured["build, s"] = seconds(lambda: engine().build(texts, folder))
        measured |= in_own_process(asking, engine, folder, queries, count)
        if engine.add is not Engine.add:
            index = engine()
            index.open(folder)
            more = texts[:CHANGED]
            measured["add 1,000, s"] = seconds(lambda: index.add(count, more))
            measured["delete 1,000, s"] = seconds(lambda: index.delete(range(CHANGED)))
            if index.count() != count:
                raise AssertionError(f"{engine.__name__}: {index.count()} documents, not {count}")
    return measured


def asking(engine: type[Engine], folder: Path, queries: Sequence[str], count: int) -> dict[str, float]:
    """How long a query takes, with and without a filter, and the memory that is not a mapped file."""
    index = engine()
    before = anonymous_memory()
    opened = seconds(lambda: index.open(folder))
    for query in queries[:20]:
        index.search(query, K)
    measured = {"open, ms": 1000 * opened, "query p50, ms": median_ms(index, queries)}
    measured["memory, MiB"] = anonymous_memory() - before
    if engine.allow is not Engine.allow:
        index.allow(np.flatnonzero(np.random.default_rng(SEED).random(count) < 0.5).tolist(), count)
        measured[FILTERED] = median_ms(index, queries)
    return measured


def median_ms(index: Engine, queries: Sequence[str]) -> float:
    """The median time of a query."""
    return 1000 * float(np.median([seconds(lambda q=query: index.search(q, K)) for query in queries]))


def change_for_ever(engine: type[Engine], folder: Path) -> None:
    """Adds and deletes the same documents until it is killed."""
    index = engine()
    index.open(folder)
    while True:
        index.add(300, [f"new {number}" for number in range(30)])
        index.delete(range(300, 330))


def whole_after_kills(engine: type[Engine]) -> float:
    """Of ten writers that are killed at some moment: how many leave the state before or after a change."""
    draw, whole = np.random.default_rng(SEED), 0
    with tempfile.TemporaryDirectory() as root:
        folder = Path(root)
        engine().build([f"document {number}" for number in range(300)], folder)
        for _ in range(KILLS):
            process = multiprocessing.get_context("spawn").Process(target=change_for_ever, args=(engine, folder))
            process.start()
            time.sleep(8 + float(draw.uniform(0, 1)))
            process.kill()
            process.join()
            index = engine()
            index.open(folder)
            there = index.count()
            whole += there in (300, 330) and len(index.search("document", 1000)) == 300
            index.delete(range(300, 330))
    return float(whole)


def anonymous_memory() -> float:
    """MiB of this process that are not pages of a file."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon"):
            return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def seconds(act: Callable[[], object]) -> float:
    """How long something takes."""
    start = time.perf_counter()
    act()
    return time.perf_counter() - start


def in_own_process(function: Callable[..., dict[str, float]], *arguments: Any) -> dict[str, float]:
    """Calls a function in a fresh process."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


if __name__ == "__main__":
    main("search_words", rows)
