"""Queries without a transformer: a static encoder that predicts the base's vectors, beside the base and static rivals.

    python -m benchmarks.retrieval_static            # most of an hour on one core
    python -m benchmarks.retrieval_static --quick    # minutes: one seed, the two small collections, one epoch

Documents have the base's vectors for every method but the rivals, which encode both sides. A static encoder is trained
on a collection's sentences, titles and documents, on excerpts where sentences are few, and on the texts of its training
questions, never on a question of the test or on any answer. Seeds differ in what is held out and in the order. "Through
the gate" is what a search does: the base encodes the queries that are unfamiliar to the static encoder. Fused means
BM25 at weight .2, the default where nothing chooses it. Times are processor time, which is wall-clock time on an
idle machine: of one query, one thread, after a warm-up; of a cold start, a whole process that reads the encoder and
encodes a query. The rivals are measured
where `model2vec` and `wordllama` are installed.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.harness import Options, Steps, main, mean_row
from benchmarks.retrieval_homes import BASE, BM25, against, base_encoder, home_dataset, load_collection
from benchmarks.retrieval_static_rivals import RIVALS, embedder
from jepakit.retrieval.ranking import DEPTH, nearest
from jepakit.retrieval.static.config import StaticConfig
from jepakit.retrieval.static.network import StaticNetwork
from jepakit.retrieval.static.stage import start_for
from jepakit.retrieval.static.texts import TrainingTexts, training_questions, training_texts
from jepakit.retrieval.static.training import fit_static, tokenizer_rules
from jepakit.search import weighted
from jepakit.search.static.encoder import StaticEncoder
from jepakit.search.static.shipped import general_encoder
from jepakit.text import TextConfig, TextEncoder, load_text_encoder
from jepakit.training import save_encoder
from jepakit.training.result_rows import ResultRow

NAMES = {"scifact": "SciFact", "stackfaq": "StackFAQ", "medquad": "MedQuAD", "cranfield": "Cranfield"}
OURS, TOKENS, UNTRAINED = "jepakit: static queries", "jepakit: static queries, tokens alone", "static, not trained"
GATED = "jepakit: static queries through the gate"
HOME, FOREIGN, WORDS = 0.99, 0.97, 0.2
AIMS = {"stackfaq": 0.97}
SCORE, SHARE, NEEDED = "NDCG@10", "share of the base's NDCG@10", "share of the queries that need the base"
ABLATED = "cranfield"
GENERAL = "jepakit: the shipped static encoder"
FROM_BASE, EXPORTED = "jepakit: static queries, not from the shipped encoder", "jepakit: static queries, exportable"
VARIANTS: dict[str, dict[str, Any]] = {
    UNTRAINED: {"epochs": 0, "start": "base"},
    FROM_BASE: {"start": "base"},
    TOKENS: {"pairs": False},
    EXPORTED: {"pairs": False, "hidden": 0.0},
}
ABLATIONS: dict[str, dict[str, Any]] = {
    "InfoNCE alone": {"predictive": 0.0, "contrastive": 1.0},
    "regression and InfoNCE": {"contrastive": 0.3},
    "trained at 10 MB": {"megabytes": 10.0},
    "vectors of 128 numbers": {"width": 128},
}
SIZES = (16, 10, 8, 6)
"""MB that the rarest rows of a trained encoder are left out for."""
CURVE = (500, 2_000)


def rows(options: Options, steps: Steps) -> list[ResultRow]:
    """All rows; `steps` keeps what is already measured."""
    encoder = base_encoder()
    names = ("stackfaq", "cranfield") if options.quick else tuple(NAMES)
    places = {name: _Place(name, encoder, options, steps) for name in names}
    table = [row for place in places.values() for row in place.rows()]
    table += [row for place in places.values() for row in _foreign(place, places)]
    table += _ablations(places[ABLATED])
    return [*table, *_speed(places[names[0]])]


class _Place:
    """A collection: its texts, the encoders trained on it, and what is measured there."""

    def __init__(self, name: str, encoder: TextEncoder, options: Options, steps: Steps) -> None:
        self.name, self.title, self.encoder, self.options, self.steps = name, NAMES[name], encoder, options, steps
        self.seeds = [0] if options.quick else [0, 1, 2]
        self.collection = cache(partial(load_collection, name, encoder))
        self.texts = cache(self._texts)
        self.trained = cache(self._trained)

    def _texts(self, sentences: int | None = None, *, questions: bool = True) -> TrainingTexts:
        config = self.config()
        config = config if sentences is None else replace(config, sentences=sentences, texts=0)
        dataset = self.collection().dataset
        asked = training_questions(home_dataset(dataset, disjoint=True)) if questions and len(dataset.training) else []
        return training_texts(dataset.documents, self.encoder, config, questions=asked)

    def config(self, **changes: Any) -> StaticConfig:
        given: dict[str, Any] = {"epochs": 1, "texts": 5000} if self.options.quick else {}
        return StaticConfig(**{**given, **changes})

    def _trained(self, seed: int, sentences: int | None = None, **changes: Any) -> StaticEncoder:
        config = self.config(seed=seed, **changes)
        texts = self.texts(sentences, questions=config.questions)
        rules = tokenizer_rules(self.encoder)
        start = start_for(self.encoder, rules) if config.start == "general" else None
        return fit_static(texts, self.encoder, config, rules=rules, documents="", start=start).network.numpy()

    def known(self, key: tuple[Any, ...], measure: Callable[[], Any]) -> Any:
        return self.steps.value((self.name, *key, self.options.quick), measure)

    @property
    def questions(self) -> list[str]:
        there = self.collection()
        return [there.dataset.queries.texts[row] for row in there.test.relevant.queries.tolist()]

    def scores(self, queries: Tensor, documents: Tensor | None = None, *, fused: bool = False) -> list[float]:
        """NDCG@10 of each test question by its vector."""
        there = self.collection()
        hits = nearest(queries, there.documents if documents is None else documents, DEPTH)
        return there.values(weighted(hits, there.by_words(there.test.relevant.queries), WORDS) if fused else hits)

    def base(self, *, fused: bool = False) -> list[float]:
        """NDCG@10 of each test question by the base on both sides."""

        def measure() -> list[float]:
            there = self.collection()
            return self.scores(there.queries[there.test.relevant.queries], fused=fused)

        return self.known((BASE, fused), measure)

    def by(self, home: _Place, seed: int, *, gated: bool) -> dict[str, Any]:
        """What the static encoder of ``home`` finds here, fused too, and the share of questions that need the base."""

        def measure() -> dict[str, Any]:
            there, static = self.collection(), home.trained(seed)
            bags = static.features(self.questions)
            vectors = torch.from_numpy(static.encode_bags(bags))
            known = torch.from_numpy(static.familiar(bags))
            if gated:
                vectors = torch.where(known[:, None], vectors, there.queries[there.test.relevant.queries])
            values = {"plain": self.scores(vectors), "fused": self.scores(vectors, fused=True)}
            return {**values, "to the base": float(1 - known.float().mean())}

        return self.known(("by", home.name, seed, gated), measure)

    def variant(self, name: str, seed: int, sentences: int | None = None, **changes: Any) -> dict[str, Any]:
        """NDCG@10 of each test question, and the size in MB, of an encoder with other options."""

        def measure() -> dict[str, Any]:
            static = self.trained(seed, sentences, **changes)
            return {"plain": self.scores(torch.from_numpy(static.encode(self.questions))), "MB": static.megabytes}

        return self.known(("variant", name, seed), measure)

    def general(self) -> list[float]:
        """NDCG@10 of each test question by the shipped encoder, which knows no text of the collection."""
        return self.known((GENERAL,), lambda: self.scores(torch.from_numpy(general_encoder().encode(self.questions))))

    def smaller(self, megabytes: float) -> dict[str, Any]:
        """As `variant`, by an encoder of seed 0 whose rarest rows were left out after training."""

        def measure() -> dict[str, Any]:
            static = self.trained(0).within(megabytes)
            return {"plain": self.scores(torch.from_numpy(static.encode(self.questions))), "MB": static.megabytes}

        return self.known(("smaller", megabytes), measure)

    def rows(self) -> list[ResultRow]:
        """At home."""
        base = np.array(self.base())
        aim = AIMS.get(self.name, HOME)
        there = self.collection
        by_words = self.known((BM25,), lambda: there().values(there().by_words(there().test.relevant.queries)))
        methods: dict[str, list[np.ndarray]] = {
            BASE: [base],
            BM25: [np.array(by_words)],
            f"{BASE} + BM25": [np.array(self.base(fused=True))],
        }
        for rival in RIVALS:
            values = self.known((rival,), partial(self._by_rival, rival))
            methods |= {rival: [np.array(values)]} if values else {}
        found = [self.by(self, seed, gated=False) for seed in self.seeds]
        gated = [self.by(self, seed, gated=True) for seed in self.seeds]
        ours = {
            **{name: [np.array(self.variant(name, 0, **changes)["plain"])] for name, changes in VARIANTS.items()},
            GENERAL: [np.array(self.general())],
            OURS: [np.array(values["plain"]) for values in found],
            f"{OURS} + BM25": [np.array(values["fused"]) for values in found],
            GATED: [np.array(values["plain"]) for values in gated],
        }
        table: list[ResultRow] = []
        for method, values in {**methods, **ours}.items():
            learned = method in ours and method != UNTRAINED
            note = against(np.mean(values, axis=0) - base) if method != BASE else ""
            more: dict[str, Any] = {"ours": learned, "note": note}
            table.append(mean_row(self.title, method, SCORE, [float(value.mean()) for value in values], **more))
        for method in (UNTRAINED, GENERAL, FROM_BASE, TOKENS, EXPORTED, OURS, GATED):
            shares = [float(value.mean() / base.mean()) for value in ours[method]]
            more = {"ours": method != UNTRAINED, "aim": aim if method in (OURS, GATED) else None}
            table.append(mean_row(self.title, method, SHARE, shares, **more))
        needed = [values["to the base"] for values in gated]
        return [*table, mean_row(self.title, GATED, NEEDED, needed, ours=True, lower_is_better=True)]

    def _by_rival(self, rival: str) -> list[float] | None:
        encode = embedder(rival)
        if encode is None:
            return None
        documents, queries = (
            F.normalize(torch.from_numpy(encode(list(texts))).float(), dim=1)
            for texts in (self.collection().dataset.documents.passages, self.questions)
        )
        return self.scores(queries, documents)


def _foreign(home: _Place, places: Mapping[str, _Place]) -> list[ResultRow]:
    """The encoder of one collection on the questions of the others."""
    table: list[ResultRow] = []
    for place in places.values():
        if place is home:
            continue
        title, base = f"{place.title}, trained on {home.title}", float(np.mean(place.base()))
        for method, gated in ((GATED, True), (OURS, False)):
            found = [place.by(home, seed, gated=gated) for seed in home.seeds]
            shares = [float(np.mean(values["plain"]) / base) for values in found]
            aim = FOREIGN if gated else None
            table.append(mean_row(title, method, f"{SHARE}, elsewhere", shares, ours=True, aim=aim))
            if gated:
                needed = [values["to the base"] for values in found]
                table.append(
                    mean_row(title, method, "share of the queries that need the base, elsewhere", needed, ours=True)
                )
    return table


def _ablations(place: _Place) -> list[ResultRow]:
    """Other options, and fewer sentences, one seed each."""
    base, table = float(np.mean(place.base())), []
    for name, changes in ABLATIONS.items():
        values = place.variant(name, 0, **changes)
        note = f"{values['MB']:.1f} MB"
        score = [float(np.mean(values["plain"])) / base]
        table.append(mean_row(f"{place.title}, options", f"{OURS}, {name}", SHARE, score, ours=True, note=note))
    for megabytes in SIZES:
        values = place.smaller(megabytes)
        method, note = f"{OURS}, cut to {megabytes} MB", f"{values['MB']:.1f} MB"
        score = [float(np.mean(values["plain"])) / base]
        table.append(mean_row(f"{place.title}, options", method, SHARE, score, ours=True, note=note))
    found = place.by(place, 0, gated=False)
    score = [float(np.mean(found["plain"])) / base]
    table.append(mean_row(f"{place.title}, options", OURS, SHARE, score, ours=True))
    for count in CURVE:
        values = place.variant(f"{count} sentences", 0, count)
        score = [float(np.mean(values["plain"])) / base]
        method = f"{OURS}, {count} sentences"
        table.append(mean_row(f"{place.title}, learning curve", method, SHARE, score, ours=True))
    return table


def _speed(place: _Place) -> list[ResultRow]:
    """Times of one query, sizes and cold starts; the values are of one machine at one time, and ratios compare."""

    def measure() -> dict[str, float]:
        torch.set_num_threads(1)
        os.environ["TOKENIZERS_PARALLELISM"] = "false"
        texts = place.questions[:200]
        # What training changes are numbers, not how many there are.
        config, rules = place.config(epochs=0), tokenizer_rules(place.encoder)
        start = start_for(place.encoder, rules)
        network = fit_static(place.texts(), place.encoder, config, rules=rules, documents="", start=start).network
        static = network.numpy()
        methods: dict[str, Callable[[str], object]] = {OURS: lambda text: static.encode([text])}
        for name, config in (("torch", TextConfig()), ("OpenVINO", TextConfig(backend="openvino"))):
            base = load_text_encoder(config)
            methods[name] = lambda text, base=base: base.encode([text], "query")
        found: dict[str, float] = {"MB": static.megabytes}
        for name, encode in methods.items():
            for text in texts[:20]:
                encode(text)
            spent: list[float] = []
            for text in texts * (5 if name == OURS else 1):
                start = time.process_time()
                encode(text)
                spent.append(1000 * (time.process_time() - start))
            found |= {f"{name} p50": float(np.median(spent)), f"{name} p99": float(np.quantile(spent, 0.99))}
        start = time.process_time()
        static.encode(texts * 20)
        found["a second"] = 20 * len(texts) / (time.process_time() - start)
        return {**found, **_cold_start(network, texts[0])}

    found: dict[str, float] = place.known(("processor time",), measure)
    where = f"one query of {place.title}, one thread"

    def row(method: str, metric: str, value: float, **more: Any) -> ResultRow:
        return mean_row(where, method, metric, [value], seeds=None, **{"ours": method == OURS, **more})

    table = [
        row(name, f"encoding, {part} in milliseconds", found[f"{name} {part}"], lower_is_better=True)
        for part in ("p50", "p99")
        for name in (OURS, "torch", "OpenVINO")
    ]
    for name, aim in (("torch", 100.0), ("OpenVINO", 30.0)):
        table.append(row(OURS, f"times faster than {name}", found[f"{name} p50"] / found[f"{OURS} p50"], aim=aim))
    return [
        *table,
        row(OURS, "queries a second", found["a second"]),
        row(OURS, "size in MB", found["MB"], aim=30.0, lower_is_better=True),
        row(OURS, "cold start of a process, in seconds", found["cold"], aim=0.3, lower_is_better=True),
        row(OURS, "memory of that process in MB", found["memory"], lower_is_better=True),
    ]


_COLD = """
import resource, sys
from jepakit.search.static.encoder import StaticEncoder
from jepakit.search.static.shipped import general_encoder
StaticEncoder.load(sys.argv[1]).encode([sys.argv[2]])
assert "torch" not in sys.modules
used = resource.getrusage(resource.RUSAGE_SELF)
# The peak that `used` has may be that of the process it was forked from.
peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(used.ru_utime + used.ru_stime, int(peak.split()[1]) / 1024)
"""


def _cold_start(network: StaticNetwork, text: str) -> dict[str, float]:
    """Seconds (the median of nine) and memory of a process that encodes one query."""
    spent: list[float] = []
    memory = 0.0
    with tempfile.TemporaryDirectory() as folder:
        encoder = save_encoder(network, Path(folder) / "encoder", config=network.arguments)
        for _ in range(9):
            command = [sys.executable, "-c", _COLD, str(encoder), text]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            seconds, memory = map(float, done.stdout.split())
            spent.append(seconds)
    return {"cold": float(np.median(spent)), "memory": memory}


if __name__ == "__main__":
    main("retrieval_static", rows, depends_on="*/static/*.py")
