"""How long a question takes that names an entity of a large graph, or none; and what a beam leaves of the answers.

A question that names an entity is linked, relation paths of two or three steps are ranked by an untrained matcher, and
the triples of the best path collected; one that names none is answered by words.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

from benchmarks.kgqa_scale_home import ASKED, COMPARED, LIMIT, MEMORY, SEED, WordVectors, opened, peak_memory
from jepakit.kgqa.data import KnowledgeGraph, Questions
from jepakit.kgqa.linking import EntityLinker
from jepakit.kgqa.paths.matcher import PathMatcher
from jepakit.kgqa.paths.reach import BEAM
from jepakit.kgqa.retriever import PathRetriever
from jepakit.training.result_rows import ResultRow

HOPS, ASK = (2, 3), "jepakit: ask"
HUBS = 10


def measure_ask(folder: Path, quick: bool) -> dict[str, float]:
    """Times of questions that name an entity: random ones, then the largest hubs; and of questions that name none."""
    start = time.perf_counter()
    graph, _, _ = opened(folder, 1)
    linker, draw = EntityLinker(graph), np.random.default_rng(SEED)
    retrievers = {hops: retriever_of(graph, hops, BEAM) for hops in HOPS}
    numbers = {"open s": time.perf_counter() - start}
    longest = retrievers[max(HOPS)]
    entities = {"": draw.integers(graph.num_entities, size=ASKED[quick]), " hubs": np.argsort(-graph.degree)[:HUBS]}
    relations = [relation.name for relation in graph.relations]
    for place, chosen in entities.items():
        asked = [f"What is the {draw.choice(relations)} of {name}?" for name in graph.column("name", chosen)]
        for hops, retriever in retrievers.items():

            def answer(text: str, retriever: PathRetriever = retriever) -> None:
                topics = tuple(match.entity for match in linker.link([text])[0][:1])
                (ranked,) = retriever.rank(Questions((text,), (topics,), ((),)), LIMIT)
                if ranked.paths:
                    retriever.explain(ranked)

            times = seconds(answer, asked)
            numbers |= {f"{hops} p50{place}": float(np.median(times)), f"{hops} most{place}": max(times)}
        numbers[f"same{place}"] = overlap(longest, chosen[: COMPARED[quick]].tolist(), asked)
    texts = graph.column("text", draw.integers(graph.num_entities, size=ASKED[quick]))
    times = seconds(
        lambda text: longest.explain(longest.rank(Questions((text,), ((),), ((),)), LIMIT)[0]),
        [" ".join(text.split()[:4]) for text in texts],
    )
    numbers |= {"index s": times[0], "text p50": float(np.median(times[1:])), "text most": max(times[1:])}
    return numbers | {"memory": peak_memory()}


def retriever_of(graph: KnowledgeGraph, hops: int, beam: int | None) -> PathRetriever:
    """An untrained retriever."""
    torch.manual_seed(SEED)
    matcher = PathMatcher(WordVectors.dim, graph.num_steps, hops)
    return PathRetriever(graph, WordVectors(), matcher, through_topic=False, wordings=1, beam=beam)


def seconds(answer: Callable[[str], object], texts: Sequence[str]) -> list[float]:
    """The time that each question takes."""
    times: list[float] = []
    for text in texts:
        start = time.perf_counter()
        answer(text)
        times.append(time.perf_counter() - start)
    return times


def overlap(retriever: PathRetriever, topics: Sequence[int], texts: Sequence[str]) -> float:
    """Mean Jaccard index of the first entities with the retriever's beam and with all paths."""
    questions = Questions(tuple(texts[: len(topics)]), tuple((row,) for row in topics), ((),) * len(topics))
    whole = retriever_of(retriever.graph, retriever.matcher.hops, None)
    pairs = [
        ({*ours.entities.tolist()}, {*theirs.entities.tolist()})
        for ours, theirs in zip(retriever.rank(questions, LIMIT), whole.rank(questions, LIMIT), strict=True)
    ]
    return float(np.mean([len(ours & theirs) / max(len(ours | theirs), 1) for ours, theirs in pairs]))


def ask_rows(data: str, numbers: dict[str, float]) -> list[ResultRow]:
    """The rows of `measure_ask`."""
    names = {
        f"{hops} {share}{place}": (f"{ASK}, paths of {hops} relations", f"{metric}{about}, s")
        for hops in HOPS
        for place, about in {"": "", " hubs": " about the largest hubs"}.items()
        for share, metric in {"p50": "answer p50", "most": "slowest answer"}.items()
    }
    names |= {"text p50": (f"{ASK}, by text", "answer p50, s"), "text most": (f"{ASK}, by text", "slowest answer, s")}
    aimed = [
        ResultRow(
            data, method, metric, numbers[name], aim=1.0, note="no language model", ours=True, lower_is_better=True
        )
        for name, (method, metric) in names.items()
    ]
    once = [
        ResultRow(data, ASK, metric, numbers[name], note="once", ours=True, lower_is_better=True)
        for name, metric in {"open s": "opening, s", "index s": "the first answer by text, s"}.items()
    ]
    alike = [
        ResultRow(
            data,
            f"{ASK}, paths of {max(HOPS)} relations",
            f"Jaccard of the first {LIMIT} entities to those of all paths{about}",
            numbers[f"same{place}"],
            note=f"a beam of {BEAM:,} triples; an untrained matcher",
            ours=True,
        )
        for place, about in {"": "", " hubs": ", the largest hubs"}.items()
    ]
    memory = ResultRow(data, ASK, MEMORY, numbers["memory"], aim=6.0, ours=True, lower_is_better=True)
    return [*aimed, *once, *alike, memory]
