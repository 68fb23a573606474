"""How long training takes, what an adapter adds to a search, the index beside plain FAISS, texts encoded per second.

    python -m benchmarks.retrieval_speed            # most of an hour on two idle cores, 4 GB of temporary files
    python -m benchmarks.retrieval_speed --quick    # minutes: 50,000 and 20,000 vectors, 60 documents, one turn

Training is `jepakit.retrieval.pretrain` with all its choices, on vectors that are in the cache. The index is measured
without documents and words, `jepakit.search.vectors.VectorIndex` alone, because that is what FAISS has: each variant
is built in a process of its own and opened in another, see `benchmarks.retrieval_speed_index`. Vectors lie in clusters,
as those of texts do; the graphs have 200,000 of them, because building one takes minutes. What is compared takes turns,
so that what else the machine does meets all. On one thread processor time is counted, which is wall-clock time on an
idle machine; on two threads it is wall-clock time, which means something on an idle machine only.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.graph_speed_rival import clock_for
from benchmarks.harness import Options, Steps, data_dir, main, mean_row
from benchmarks.retrieval_homes import HOMES, Collection, against, base_encoder, home_dataset, load_collection
from benchmarks.retrieval_speed_index import BuiltIndex
from jepakit.retrieval import (
    Adapter,
    Hits,
    Index,
    PretrainConfig,
    Searcher,
    SearchSettings,
    encode_sentences,
    load_dataset,
    pretrain,
)
from jepakit.retrieval.adapter.familiarity import Familiarity
from jepakit.retrieval.measuring.metrics import top_documents
from jepakit.retrieval.ranking import CANDIDATES, familiar, ranked
from jepakit.text import CachedEncoder, EmbeddingCache, Kind, TextConfig, TextEncoder, load_text_encoder
from jepakit.training.result_rows import ResultRow

CORES = 2
SCIFACT = ("SciFact, disjoint", "SciFact, official")
AIM_TRAINING, AIM_OVERHEAD = 10.0, 1.0
FEEDBACK = 0.2
BASE, OURS, WITH_FEEDBACK, ALONE = "base model", "jepakit: adapter", "jepakit: adapter with feedback", "alone"
#: The familiarity of a document is found out when it is first met, and then remembered.
FIRST_TIME, AGAIN = "documents first met", "documents met before"
PLAIN = "plain FAISS"


def rows(options: Options, steps: Steps) -> list[ResultRow]:
    """All rows; `steps` keeps what is already measured."""
    encoder = base_encoder()
    collection = cache(partial(load_collection, "scifact", encoder))
    return [
        *_training(collection, encoder, options, steps),
        *_overhead(collection, encoder, options, steps),
        *_index("exact", 50_000 if options.quick else 1_000_000, options, steps),
        *_index("hnsw", 20_000 if options.quick else 200_000, options, steps),
        *_encoding(options, steps),
    ]


def _turns(options: Options) -> range:
    return range(1 if options.quick else 3)


#: The values are turns, not seeds.
_row = partial(mean_row, seeds=None)


def _training(
    collection: Callable[[], Collection], encoder: TextEncoder, options: Options, steps: Steps
) -> list[ResultRow]:
    """Seconds from pairs and cached vectors to a chosen adapter."""

    def measure(home: str, threads: int) -> float:
        torch.set_num_threads(threads)
        dataset, clock = home_dataset(collection().dataset, HOMES[home][1]), clock_for(threads)
        encode_sentences(dataset.documents, encoder)
        start = clock()
        pretrain(dataset, encoder, PretrainConfig(progress=False))
        return clock() - start

    table: list[ResultRow] = []
    note = "vectors in the cache, start-up left out"
    for threads in (CORES, 1):
        for home in SCIFACT[:1] if options.quick else SCIFACT:
            seconds = [
                steps.value(("training", home, threads, turn, options.quick), partial(measure, home, threads))
                for turn in _turns(options)
            ]
            metric = f"training with all choices, time in seconds, {_on(threads)}"
            aim = AIM_TRAINING if threads == CORES else None
            table.append(_row(home, "jepakit", metric, seconds, aim=aim, note=note, ours=True, lower_is_better=True))
    return table


def _on(threads: int) -> str:
    return "1 thread" if threads == 1 else f"{threads} threads"


@dataclass(frozen=True)
class KnownTexts:
    """A `TextEncoder` that takes no time: what is measured is the rest of a search."""

    name: str
    dim: int
    fingerprint: str
    vectors: dict[str, Tensor]

    def encode(self, texts: Sequence[str], kind: Kind) -> Tensor:
        return torch.stack([self.vectors[text] for text in texts])


@dataclass(frozen=True)
class FoundBeforehand:
    """A `jepakit.retrieval.ranking.Source` that takes no time.

    Args:
        hits: of one query, ``[1, K]``.
        vectors: theirs, ``[K, D]``.
    """

    hits: Hits
    vectors: Tensor

    def nearest(self, queries: Tensor, k: int) -> Hits:
        return self.hits.first(k)

    def vectors_of(self, hits: Hits) -> Tensor:
        return self.vectors[None, : hits.rows.shape[1]]

    def familiarity_of(self, hits: Hits, memory: Familiarity) -> Tensor:
        return memory(self.vectors_of(hits)[0])[None]

    @property
    def sentences(self) -> None:
        return None


@dataclass(frozen=True)
class Searches:
    """An adapter and the index of SciFact it is for."""

    collection: Collection
    adapter: Adapter
    index: Index
    known: KnownTexts

    def milliseconds(self, method: str) -> dict[str, float]:
        """The medians over test questions, asked one by one, all once and then all again."""
        torch.set_num_threads(1)
        texts = [self.collection.dataset.queries.texts[row] for row in self.collection.test.relevant.queries.tolist()]
        ask = self._alone(texts) if method == ALONE else self._search(method)
        clock, medians = clock_for(1), dict[str, float]()
        for time in (FIRST_TIME, AGAIN):
            spent: list[float] = []
            for text in (texts[0], *texts):
                start = clock()
                ask(text)
                spent.append(1e3 * (clock() - start))
            medians[time] = float(np.median(spent[1:]))
        return medians

    def _search(self, method: str) -> Callable[[str], object]:
        adapter = None if method == BASE else self.adapter
        settings = SearchSettings(feedback=FEEDBACK if method == WITH_FEEDBACK else 0.0)
        searcher = Searcher(self.index, self.known, adapter, settings)
        return lambda text: searcher.hits([text], 10, mode="dense")

    def _alone(self, texts: Sequence[str]) -> Callable[[str], object]:
        """What the adapter computes, with all that the index finds for it found beforehand."""
        scores, rows = top_documents(self.known.encode(texts, "query"), self.collection.documents, CANDIDATES)
        sources = {
            text: FoundBeforehand(Hits(rows[at : at + 1], scores[at : at + 1]), self.collection.documents[rows[at]])
            for at, text in enumerate(texts)
        }
        settings = SearchSettings(feedback=FEEDBACK)

        def ask(text: str) -> Hits:
            query, source = self.known.encode([text], "query"), sources[text]
            return ranked(query, self.adapter, source, CANDIDATES, settings, familiar(query, self.adapter, source))

        return ask


def _overhead(
    collection: Callable[[], Collection], encoder: TextEncoder, options: Options, steps: Steps
) -> list[ResultRow]:
    """Milliseconds that an adapter adds to a search."""
    spent: dict[str, list[dict[str, float]]] = {method: [] for method in (BASE, OURS, WITH_FEEDBACK, ALONE)}
    with tempfile.TemporaryDirectory() as folder:
        searches = cache(lambda: _searches(collection(), encoder, Path(folder)))
        for turn in _turns(options):
            for method, values in spent.items():
                key = ("search", method, turn, options.quick)
                values.append(steps.value(key, lambda method=method: searches().milliseconds(method)))
    where = "SciFact, 5,183 documents"
    search, added = (f"time of {what}, ms, median, 1 thread" for what in ("a search", "the adapter in a search"))
    table: list[ResultRow] = []
    for method in (BASE, OURS, WITH_FEEDBACK):
        note = "an exact index, the question's vector known, its documents met before"
        values = [turn[AGAIN] for turn in spent[method]]
        table.append(_row(where, method, search, values, note=note, ours=method != BASE, lower_is_better=True))
    ours = partial(_row, where, ours=True, lower_is_better=True, aim=AIM_OVERHEAD)
    alone = "familiarity, prediction and feedback alone"
    values = [turn[FIRST_TIME] for turn in spent[ALONE]]
    table.append(ours(f"jepakit: {alone}", added, values, note=FIRST_TIME))
    for method in (OURS, WITH_FEEDBACK):
        for time in (FIRST_TIME, AGAIN):
            more = [turn[time] - base[time] for turn, base in zip(spent[method], spent[BASE], strict=True)]
            searched = "the base's five documents" + (", and three to move towards" if method == WITH_FEEDBACK else "")
            note = f"with the search for {searched}"
            table.append(ours(f"{method}, {time}", added, more, note=note))
    return table


def _searches(collection: Collection, encoder: TextEncoder, folder: Path) -> Searches:
    torch.set_num_threads(CORES)
    dataset = home_dataset(collection.dataset, HOMES[SCIFACT[0]][1])
    adapter = pretrain(dataset, encoder, PretrainConfig(progress=False)).encoder
    name, fingerprint = encoder.name, encoder.fingerprint
    index = Index.build(folder, collection.dataset.documents, collection.documents, base=name, fingerprint=fingerprint)
    vectors = dict(zip(collection.dataset.queries.texts, collection.queries, strict=True))
    return Searches(collection, adapter, index, KnownTexts(name, encoder.dim, fingerprint, vectors))


def _index(kind: str, count: int, options: Options, steps: Steps) -> list[ResultRow]:
    """Both libraries, turn by turn."""
    queries = 50 if options.quick else 200
    methods = {"jepakit": f"jepakit {kind}", PLAIN: f"FAISS {kind}"}
    measured: dict[str, dict[str, Any]] = {method: {"ask": []} for method in methods}
    with ExitStack() as stack:
        built = {method: BuiltIndex(variant, count, stack, threads=CORES) for method, variant in methods.items()}

        def known(method: str, what: str, measure: Callable[[], Any], turn: int = 0) -> Any:
            return steps.value(("index", methods[method], count, what, turn, options.quick), measure)

        for method in methods:
            measured[method]["build"] = known(method, "build", built[method].seconds)
        for turn in _turns(options):
            for method in methods:

                def ask(method: str = method, turn: int = turn) -> Any:
                    return built[method].opened().answer(f"ask {turn * queries} {queries}")["milliseconds"]

                measured[method]["ask"].append(known(method, "ask", ask, turn))
        for method, index in built.items():
            jobs = {"memory": [f"ask 0 {queries}", "memory"], "recall": [f"recall {queries}"]}
            for what, lines in jobs.items() if kind == "hnsw" else [("memory", jobs["memory"])]:

                def answered(index: BuiltIndex = index, lines: Sequence[str] = lines) -> Any:
                    # Of a file that is mapped there is in memory what has been looked at.
                    return [index.opened().answer(line) for line in lines][-1]

                measured[method][what] = known(method, what, answered)
    return _index_rows(kind, count, measured)


def _index_rows(kind: str, count: int, measured: dict[str, dict[str, Any]]) -> list[ResultRow]:
    where = f"{'exact' if kind == 'exact' else 'HNSW'}, {count:,} vectors"
    notes = {
        "jepakit": "the vectors' part of an index, mapped from disk",
        PLAIN: "IndexFlatIP" if kind == "exact" else "IndexHNSWFlat with the settings of ours",
    }
    build, ask = f"index: build and write, {_on(CORES)}", "index: a query, 1 thread"
    table: list[ResultRow] = []
    for method, found in measured.items():
        row = partial(_row, where, method, note=notes[method], ours=method != PLAIN, lower_is_better=True)
        table.append(row(f"{build}, time in seconds", [found["build"]]))
        table.append(row(f"{ask}, time in ms, median", [float(np.median(turn)) for turn in found["ask"]]))
        table.append(row(f"{ask}, time in ms, 99 %", [float(np.quantile(np.concatenate(found["ask"]), 0.99))]))
        memory = found["memory"]
        for name, what in (("resident", ""), ("anonymous", " that is not pages of its file")):
            metric = f"index: memory after the queries, MiB{what}"
            table.append(row(metric, [memory[name]] if name in memory else []))
        if kind == "hnsw":
            table.append(
                row("index: recall@10 of the exact answer", [found["recall"]["recall"]], lower_is_better=False)
            )
    ours, plain = measured["jepakit"], measured[PLAIN]
    asked = [float(np.median(b) / np.median(a)) for a, b in zip(ours["ask"], plain["ask"], strict=True)]
    over, row = f"over {PLAIN}", partial(_row, where, "jepakit", ours=True)
    table.append(row(f"{build}, times as fast", [plain["build"] / ours["build"]], note=over))
    table.append(row(f"{ask}, times as fast", asked, note=f"{over}, turn by turn"))
    return table


ENCODERS = {
    "torch float32": TextConfig(),
    "torch bfloat16": TextConfig(precision="bfloat16"),
    "OpenVINO float32": TextConfig(backend="openvino"),
    "OpenVINO bfloat16": TextConfig(backend="openvino", precision="bfloat16"),
}
FIRST, LAST = next(iter(ENCODERS)), list(ENCODERS)[-1]


def _encoding(options: Options, steps: Steps) -> list[ResultRow]:
    """Documents a second of each backend, and what the fastest costs."""
    torch.set_num_threads(CORES)
    count, where = 60 if options.quick else 300, "SciFact"
    passages = cache(lambda: load_dataset("scifact", data_dir=data_dir()).documents.passages)
    loaded = {name: cache(partial(load_text_encoder, config)) for name, config in ENCODERS.items()}
    speeds: dict[str, list[float]] = {name: [] for name in ENCODERS}
    for turn in _turns(options):
        for name, values in speeds.items():

            def measure(name: str = name) -> float:
                texts, encoder, clock = passages(), loaded[name](), clock_for(CORES)
                some = [texts[row] for row in np.linspace(0, len(texts) - 1, count).astype(int)]
                encoder.encode(some[:8], "document")
                start = clock()
                encoder.encode(some, "document")
                return count / (clock() - start)

            values.append(steps.value(("encoding", name, turn, options.quick), measure))
    metric = f"encoding, documents/s, {_on(CORES)}"
    table = [_row(where, f"jepakit: {name}", metric, values, ours=True) for name, values in speeds.items()]
    for name, values in speeds.items():
        ratios = [a / b for a, b in zip(values, speeds[FIRST], strict=True)]
        if name != FIRST:
            note = f"over {FIRST}, turn by turn"
            metric = f"encoding, times as fast, {_on(CORES)}"
            table.append(_row(where, f"jepakit: {name}", metric, ratios, note=note, ours=True))
    return table + _worth(loaded, where, options, steps)


def _worth(
    loaded: Mapping[str, Callable[[], TextEncoder]], where: str, options: Options, steps: Steps
) -> list[ResultRow]:
    """NDCG@10 of the base model by the fastest backend beside the reference."""
    metric = "encoding: NDCG@10 of the base model"
    if options.quick:
        note = "not measured with --quick"
        return [ResultRow(where, f"jepakit: {name}", metric, None, note=note, ours=True) for name in (FIRST, LAST)]

    def measure(name: str) -> list[float]:
        there = load_collection("scifact", CachedEncoder(loaded[name](), EmbeddingCache()))
        return there.values(there.by_base(there.test.relevant.queries))

    values = {name: steps.value(("NDCG@10", name), partial(measure, name)) for name in (FIRST, LAST)}
    note = against(np.array(values[LAST]) - np.array(values[FIRST])).replace("the base model", FIRST)
    return [
        _row(where, f"jepakit: {name}", metric, [float(np.mean(found))], note=note if name == LAST else "", ours=True)
        for name, found in values.items()
    ]


if __name__ == "__main__":
    main("retrieval_speed", rows)
