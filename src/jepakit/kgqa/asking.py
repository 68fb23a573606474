"""One question at a time: its topics, the answers, and what led to them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from torch import Tensor

from jepakit.errors import DataError, ModelError
from jepakit.kgqa.answerer.answering import QuestionAnswerer
from jepakit.kgqa.answerer.data import Example
from jepakit.kgqa.answerer.finetune import FOLDER as ANSWERER
from jepakit.kgqa.data import KnowledgeGraph, Questions, Subgraph
from jepakit.kgqa.features import load_features
from jepakit.kgqa.finetune import open_answerer
from jepakit.kgqa.linking import EntityLinker
from jepakit.kgqa.linking.matches import best_entities, mask_matches
from jepakit.kgqa.paths.reach import BEAM
from jepakit.kgqa.pipeline import FINETUNE, RETRIEVER
from jepakit.kgqa.retriever import PathRetriever, Ranked, open_retriever
from jepakit.kgqa.retrievers.learned import LearnedPaths
from jepakit.kgqa.retrievers.named import ClassicName
from jepakit.kgqa.run import SavedOptions
from jepakit.text import load_cached_encoder
from jepakit.text.saved import text_config_of
from jepakit.training import RunFolder


@dataclass(frozen=True)
class Reply:
    """The answer to one question.

    Args:
        topics: rows of the entities that it was asked about; none where it names none.
        ranked: the answers, best first, or what is nearest; and the paths, or that they were found by text.
        part: the triples along the most probable path, or around the answers found by text; None where there are none.
        threshold: the confidence below which there is no answer.
        written: what the language model writes freely, where that was asked for.
    """

    topics: tuple[int, ...]
    ranked: Ranked
    part: Subgraph | None
    threshold: float
    written: str | None = None

    def as_json(self, graph: KnowledgeGraph) -> dict[str, Any]:
        """Names and ids in place of rows; what JSON can hold."""
        entities, ranked = self.ranked.entities, self.ranked
        columns = (graph.column("id", entities), graph.column("name", entities), ranked.scores.tolist())
        return {
            "found_by": ranked.found_by,
            "topics": [
                {"id": key, "name": name}
                for key, name in zip(graph.column("id", self.topics), graph.column("name", self.topics), strict=True)
            ],
            "answers": [{"id": key, "name": name, "score": score} for key, name, score in zip(*columns, strict=True)],
            "paths": [
                {
                    "topic": graph.column("name", [path.topic])[0],
                    "relations": [graph.step_name(step) for step in path.steps],
                    "probability": path.probability,
                    "entities": path.size,
                }
                for path in ranked.paths
            ],
            "triples": triples_of(graph, self.part),
            "confidence": ranked.confidence,
            "abstained": ranked.abstained,
            "written": self.written,
        }


class Asker:
    """Answers questions with a learned retriever and, where there is one, an answerer that orders its candidates.

    A question that names no entity of the graph is answered by text, which `Ranked.found_by` says. It serves one
    question at a time, also to several threads.

    Args:
        retriever: finds the candidates.
        answerer: chooses among them, and has a confidence and threshold of its own, also for what is found by text;
            None: the retriever's order, confidence and threshold.
        candidates: that the answerer chooses from.
    """

    def __init__(
        self, retriever: PathRetriever, answerer: QuestionAnswerer | None = None, *, candidates: int = 20
    ) -> None:
        self.graph, self.retriever, self.answerer, self.candidates = retriever.graph, retriever, answerer, candidates
        self._linker, self._paths, self._lock = EntityLinker(retriever.graph), LearnedPaths(retriever), Lock()

    @classmethod
    def open(
        cls,
        run: str | Path,
        *,
        answerer: str | Path | None = None,
        beam: int | None = BEAM,
        by_text: ClassicName = "bm25",
    ) -> Asker:
        """Retriever and answerer of finished runs.

        Args:
            run: folder of a run of ``kgqa train``, ``fit-retriever`` or ``finetune``.
            answerer: folder of a run of ``finetune`` on the same graph; None: that of ``run``, if it has one.
            beam: see `PathRetriever`.
            by_text: see `PathRetriever`.

        Raises:
            ModelError: a run is not finished, of another graph, or has no learned retriever.
            ConfigError, DataError: the graph of the run cannot be found or read.
        """
        finding, answering = _runs_of(Path(run), None if answerer is None else Path(answerer))
        graph, encoder = SavedOptions.read(finding).load_graph(), load_cached_encoder(text_config_of(finding))
        retriever = open_retriever(finding, graph, encoder, beam=beam, by_text=by_text)
        if answering is None:
            return cls(retriever)
        opened = open_answerer(answering, graph, load_features(graph, text_config_of(answering)))
        return cls(retriever, opened, candidates=SavedOptions.read(answering).candidates)

    def ask(self, question: str, entities: Sequence[str] = (), *, limit: int = 5, free: bool = False) -> Reply:
        """The best ``limit`` answers.

        Args:
            question: what is asked.
            entities: ids of its topics; without any, the entities that it names. Where it names none, entities are
                found by text, and there is no answer where no text has a word of the question.
            limit: answers, at most.
            free: let the language model also write an answer, which need not be in the graph.

        Raises:
            DataError: the question is blank, or there is no such entity.
        """
        if not question.strip():
            raise DataError("nothing is asked", field="question", value=question, expected="a question")
        with self._lock:
            topics, vectors = self._topics(question, entities)
            asked = Questions((question,), (topics,), ((),))
            most = limit if self.answerer is None else max(limit, self.candidates)
            (ranked,) = self.retriever.rank(asked, most, vectors=vectors)
            threshold, written = self.retriever.threshold, None
            if self.answerer is not None:
                ranked, written = self._chosen(self.answerer, question, topics, ranked, free)
                threshold = self.answerer.settings.threshold
            ranked = replace(ranked, entities=ranked.entities[:limit], scores=ranked.scores[:limit])
            part = self.retriever.explain(ranked) if ranked.explainable else None
            return Reply(topics, ranked, part, threshold, written)

    def _topics(self, question: str, entities: Sequence[str]) -> tuple[tuple[int, ...], Tensor | None]:
        """The topics; and the vector of the question without its topics, where it is known how it spells them."""
        (matches,) = self._linker.link([question])
        topics = best_entities(matches)
        if entities:
            topics = tuple(self.graph.rows(list(entities), field="entity").tolist())
            matches = tuple(match for match in matches if match.entity in topics)
        if not matches:
            return topics, None
        return topics, self.retriever.encoder.encode([mask_matches(question, matches)], "query")

    def _chosen(
        self, answerer: QuestionAnswerer, question: str, topics: tuple[int, ...], ranked: Ranked, free: bool
    ) -> tuple[Ranked, str | None]:
        """The answers in the order of the answerer, with its probabilities; and what it writes."""
        read = ranked.entities[: self.candidates]
        example = Example(
            question=question,
            subgraph=self._paths.subgraph(topics, ranked),
            candidates=tuple(self.graph.column("name", read)),
            scores=ranked.logits[: len(read)],
        )
        (answer,) = answerer.answer([example], free=free)
        chosen = replace(
            ranked,
            entities=read[list(answer.order)],
            scores=np.array(answer.probability),
            confidence=answer.confidence,
            abstained=answer.text is None,
        )
        return chosen, answer.written


def _runs_of(run: Path, answerer: Path | None) -> tuple[RunFolder, RunFolder | None]:
    """The finished runs of the retriever and of the answerer, if there is one."""
    if (run / RETRIEVER).is_dir():
        finding, own = run / RETRIEVER, run / FINETUNE
    elif (run / ANSWERER).is_dir():
        named = SavedOptions.read(RunFolder(run)).retriever
        if named is None or not Path(named).is_dir():
            way_out = "pass the run of fit-retriever, and this one as answerer"
            raise ModelError(f"{run}: the retriever of its config.yaml, {named}, is no folder here; {way_out}")
        finding, own = Path(named), run
    else:
        finding, own = run, run / FINETUNE
    chosen = answerer or (own if own.is_dir() else None)
    if chosen is not None and (chosen / FINETUNE).is_dir():
        chosen = chosen / FINETUNE
    runs = RunFolder(finding), None if chosen is None else RunFolder(chosen)
    for one in runs:
        if one is not None:
            one.require_trained()
    return runs


def triples_of(graph: KnowledgeGraph, part: Subgraph | None) -> list[tuple[str, str, str]]:
    """Names of head, relation and tail of each triple."""
    if part is None:
        return []
    names = graph.column("name", part.entities)
    return [
        (names[head], graph.relations[relation].name, names[tail]) for head, relation, tail in part.triples.tolist()
    ]
