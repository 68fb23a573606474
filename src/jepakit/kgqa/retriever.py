"""Learned retrieval: the relation path that a question means leads from its topic to the answers.

A path s is chosen with the probability ``P(s|q)`` of a `PathMatcher`; an entity a has the score
``Σ_s P(s|q) · [a ∈ R_s] / |R_s|``, where R_s is the set of entities that path s reaches from the topic. A question
without a topic has no paths: its entities are found by their texts.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, partial
from typing import Literal, get_args

import numpy as np
import torch
from scipy.sparse import csr_array
from torch import Tensor

from jepakit.core.packed import segment_softmax
from jepakit.errors import DataError, ModelError, require_choice
from jepakit.files import read_json, reading
from jepakit.kgqa.data import Ids, KnowledgeGraph, Questions, Subgraph
from jepakit.kgqa.linking.matches import mask_topics
from jepakit.kgqa.paths.matcher import PathMatcher
from jepakit.kgqa.paths.preference import LEAST_PROBABILITY, MatcherPreference
from jepakit.kgqa.paths.reach import BEAM, PathTable, Walker
from jepakit.kgqa.paths.trace import trace
from jepakit.kgqa.paths.vectors import PathVectors
from jepakit.kgqa.paths.walked import WalkedPaths
from jepakit.kgqa.retrievers.base import Query
from jepakit.kgqa.retrievers.named import ClassicName, classic_retrievers
from jepakit.kgqa.retrievers.neighbourhood import sampled_around
from jepakit.text import TextEncoder
from jepakit.training import RunFolder, load_encoder_as

_QUESTIONS_AT_ONCE = 64
SETTINGS = "retriever.json"
"""The file in a run with what a `PathRetriever` needs beside its matcher."""


@dataclass(frozen=True)
class RankedPath:
    """A path and what speaks for it.

    Args:
        topic: row of the entity that it starts from.
        steps: its steps.
        probability: P(s|q).
        size: number of entities that it reaches.
    """

    topic: int
    steps: tuple[int, ...]
    probability: float
    size: int


@dataclass(frozen=True)
class Ranked:
    """The answers to a question, best first.

    Args:
        entities: rows of the graph, ``[K]``; equal scores in the order of their rows.
        scores: of each, ``[K]``. Those by paths sum to at most 1; those by text are those of the text retriever, and no
            probabilities.
        paths: the most probable of the paths that were followed; none where the entities are found by text.
        confidence: P(s|q) of the first path s, times its cosine to the question (0 where that is negative): low where
            several paths compete, and where none of them says what the question says. 0 without paths: how likely an
            entity found by text is right is not known.
        abstained: the answer is "not in this graph": there is none, or the confidence is below the threshold of the
            retriever. The entities are then what is nearest. What is found by text is an answer only where the
            threshold is 0, which answers every question.
        found_by: ``text`` for a question without a topic, else ``paths``.
    """

    entities: Ids
    scores: np.ndarray
    paths: tuple[RankedPath, ...]
    confidence: float = 0.0
    abstained: bool = True
    found_by: Literal["paths", "text"] = "paths"

    @property
    def logits(self) -> np.ndarray:
        """Logarithms of the scores by paths, ``[K]``; scores by text as they are."""
        return np.log(self.scores) if self.found_by == "paths" else self.scores

    @property
    def explainable(self) -> bool:
        """Whether something leads to the entities that `PathRetriever.explain` can show."""
        return bool(self.paths) or (self.found_by == "text" and len(self.entities) > 0)


class PathRetriever:
    """Ranks entities for questions.

    Args:
        graph: the graph of the matcher.
        encoder: the frozen text encoder that the matcher was trained with.
        matcher: the learned part.
        through_topic: whether paths may return to the topic.
        wordings: wordings of each path.
        threshold: the least confidence of an answer, see `jepakit.kgqa.abstention`; 0: every question is answered.
        vectors: of paths that are encoded already, of the same graph, encoder and wordings; None: there are none yet.
        beam: triples that are followed from a topic for the paths of each length, see `Walker`; None: all. Where the
            paths need more, those that the matcher finds most probable are followed; the others keep their probability
            and lead to no answers, and those that extend them are not considered. A beam that has room for all paths
            gives the same answers as none.
        by_text: finds the entities of questions without a topic, see `jepakit.kgqa.retrievers.named`. It is made at the
            first such question: ``bm25`` indexes the texts of all entities, the others encode them.
    """

    def __init__(
        self,
        graph: KnowledgeGraph,
        encoder: TextEncoder,
        matcher: PathMatcher,
        *,
        through_topic: bool,
        wordings: int,
        threshold: float = 0.0,
        vectors: PathVectors | None = None,
        beam: int | None = BEAM,
        by_text: ClassicName = "bm25",
    ) -> None:
        require_choice("by_text", by_text, get_args(ClassicName))
        if matcher.dim != encoder.dim:
            raise ModelError(f"the retriever was trained with vectors of width {matcher.dim}, not {encoder.dim}")
        if matcher.num_steps != graph.num_steps:
            raise ModelError(
                f"the retriever was trained on a graph of {matcher.num_steps // 2} relations; {graph.name} has "
                f"{len(graph.relations)}"
            )
        self.graph, self.encoder, self.matcher = graph, encoder, matcher.eval()
        self.threshold = threshold
        self.through_topic, self.walker = through_topic, Walker(graph, through_topic=through_topic, beam=beam)
        self.vectors = vectors or PathVectors(graph, encoder, PathTable(graph.num_steps), matcher.hops, wordings)
        self.table = self.vectors.table
        self._text = cache(lambda: classic_retrievers([by_text], graph, encoder)[by_text])

    def with_matcher(self, matcher: PathMatcher) -> PathRetriever:
        """The same retriever with another matcher of the same sizes; both go on with the same vectors of paths."""
        other = copy.copy(self)
        other.matcher = matcher.eval()
        return other

    def with_threshold(self, threshold: float) -> PathRetriever:
        """The same retriever with another threshold."""
        other = copy.copy(self)
        other.threshold = threshold
        return other

    def rank(
        self, questions: Questions, limit: int = 20, *, paths: int = 5, vectors: Tensor | None = None
    ) -> list[Ranked]:
        """The best ``limit`` entities and ``paths`` paths of each question.

        The entities of a question without a topic are found by text; there are none where no text has a word of it.
        ``vectors`` of the questions, ``[Q, D]``, are those of `embed` unless they are given.
        """
        ranked: list[Ranked] = []
        for walked in self.walk(questions, vectors):
            given = None if vectors is None else vectors[len(ranked) : len(ranked) + len(walked.questions)]
            ranked += self.rank_walked(walked, limit, paths=paths, vectors=given)
        return ranked

    def walk(self, questions: Questions, vectors: Tensor | None = None) -> Iterator[WalkedPaths]:
        """The paths of the questions, some questions at a time; ``vectors`` as for `rank`."""
        at_once = self.walker.at_once(_QUESTIONS_AT_ONCE)
        for start in range(0, len(questions), at_once):
            block = questions[range(start, min(start + at_once, len(questions)))]
            given = None if vectors is None else vectors[start : start + at_once]
            prefer = MatcherPreference(self.matcher, self.vectors, partial(self.embed, block, given))
            yield WalkedPaths.of(self.walker, self.table, block, self.matcher.hops, prefer)

    def explain(self, ranked: Ranked, limit: int = 64) -> Subgraph:
        """The triples along the most probable path to the best answers; at most ``limit`` entities.

        Where these are found by text: a few triples of each, and those between them.

        Raises:
            DataError: there is no path from the topic.
        """
        if ranked.found_by == "text":
            return sampled_around(self.graph, ranked.entities[:limit], limit)
        if not ranked.paths:
            raise DataError("no path leads to an answer", field="paths", expected="a question with a topic")
        best = ranked.paths[0]
        return trace(
            self.graph, best.topic, best.steps, ranked.entities, limit, through_topic=self.walker.through_topic
        )

    @torch.no_grad()
    def rank_walked(
        self, walked: WalkedPaths, limit: int = 20, *, paths: int = 5, vectors: Tensor | None = None
    ) -> list[Ranked]:
        """`rank` for the questions of paths that this retriever has walked."""
        ranked = self._by_paths(walked, limit, paths, vectors)
        without = [row for row, topics in enumerate(walked.questions.topics) if not topics]
        for row, one in zip(without, self._by_text(walked.questions[without], limit), strict=True):
            ranked[row] = one
        return ranked

    def rank_shared(self, walked: WalkedPaths, limit: int) -> list[Ranked]:
        """`rank` for the questions of paths that a retriever `with_matcher` of another has walked.

        They are walked again where its beam left some out, for this matcher may prefer others.
        """
        return self.rank_walked(walked, limit) if walked.complete else self.rank(walked.questions, limit)

    def _by_text(self, questions: Questions, limit: int) -> list[Ranked]:
        if not len(questions):
            return []
        return [
            Ranked(
                one.entities,
                one.scores.astype(np.float64),
                (),
                abstained=not len(one.entities) or self.threshold > 0,
                found_by="text",
            )
            for one in self._text().retrieve(list(map(Query, questions.texts)), limit)
        ]

    def _by_paths(self, walked: WalkedPaths, limit: int, paths: int, vectors: Tensor | None) -> list[Ranked]:
        questions, ptr, size = walked.questions, walked.ptr, walked.size
        if not len(walked.path):
            return [Ranked(np.empty(0, np.int64), np.empty(0), ()) for _ in range(len(questions))]
        different, column = np.unique(walked.path, return_inverse=True)
        path_vectors, steps = self.vectors(different)
        embedded = self.embed(questions, vectors)
        cosines = self.matcher.cosines(embedded, path_vectors, steps)
        logits = self.matcher.logits(cosines, embedded, steps)
        candidates = logits[torch.from_numpy(walked.question), torch.from_numpy(column)]
        probability = segment_softmax(candidates[:, None].double(), torch.from_numpy(ptr))[:, 0].numpy()
        confidence = probability * cosines.numpy()[walked.question, column].clip(min=0)
        likely = np.flatnonzero((probability >= LEAST_PROBABILITY) & (size > 0))
        weight = csr_array(
            (probability[likely] / size[likely], (walked.question[likely], likely)), shape=(len(questions), len(size))
        )
        scores = csr_array(weight @ walked.sets.astype(np.float64))
        ranked: list[Ranked] = []
        for row in range(len(questions)):
            own = ptr[row] + np.flatnonzero(size[ptr[row] : ptr[row + 1]])
            own = own[np.argsort(-probability[own], kind="stable")]
            sure = float(confidence[own[0]]) if len(own) else 0.0
            reached = slice(*scores.indptr[row : row + 2])
            entities, score = scores.indices[reached].astype(np.int64), np.asarray(scores.data[reached], np.float64)
            best = np.lexsort((entities, -score))[:limit]
            abstained = not len(best) or sure < self.threshold
            shown = tuple(self._path(walked, probability, path) for path in own[:paths])
            ranked.append(Ranked(entities[best], score[best], shown, sure, abstained))
        return ranked

    def _path(self, walked: WalkedPaths, probability: np.ndarray, row: int) -> RankedPath:
        steps = self.table.steps(int(walked.path[row]))
        return RankedPath(int(walked.topic[row]), steps, float(probability[row]), int(walked.size[row]))

    def embed(self, questions: Questions, vectors: Tensor | None = None) -> Tensor:
        """Frozen vectors of the questions with their topics masked, ``[Q, D]``; ``vectors`` where they are given."""
        return self.encoder.encode(mask_topics(self.graph, questions), "query") if vectors is None else vectors


def open_retriever(
    run: RunFolder,
    graph: KnowledgeGraph,
    encoder: TextEncoder,
    *,
    beam: int | None = BEAM,
    by_text: ClassicName = "bm25",
) -> PathRetriever:
    """The retriever of a run; ``beam`` and ``by_text`` as for `PathRetriever`.

    Raises:
        ModelError: the folder has none, or it was trained on another graph or with another text encoder.
    """
    settings = read_json(run.path / SETTINGS, ModelError)
    with reading(run.path / SETTINGS, ModelError):
        wanted = {"graph": graph.fingerprint, "text_encoder": encoder.fingerprint}
        through, wordings = bool(settings["through_topic"]), int(settings["wordings"])
        # Runs from before abstention have none.
        threshold = float(settings.get("threshold", 0.0))
        for name, value in wanted.items():
            if settings[name] != value:
                raise DataError(f"trained with another {name}", field=name, value=value, expected=str(settings[name]))
    matcher = load_encoder_as(PathMatcher, run.encoder)
    return PathRetriever(
        graph,
        encoder,
        matcher,
        through_topic=through,
        wordings=wordings,
        threshold=threshold,
        beam=beam,
        by_text=by_text,
    )
