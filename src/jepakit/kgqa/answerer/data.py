"""Questions with their subgraphs, and the batches that an answerer reads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from jepakit.errors import DataError
from jepakit.graph.data import Graphs
from jepakit.kgqa.answerer.language_model import LanguageModel
from jepakit.kgqa.answerer.model import AnswererBatch
from jepakit.kgqa.answerer.prompt import PromptConfig, PromptWriter, facts_of
from jepakit.kgqa.answerer.tokens import pack_tokens
from jepakit.kgqa.data import KnowledgeGraph, Subgraph

Pack = Callable[[Sequence[Subgraph]], Any]
"""Subgraphs -> what the encoder takes, with the nodes in the order of the subgraphs and of their ``entities``."""


@dataclass(frozen=True)
class Example:
    """A question with what was retrieved for it.

    Args:
        question: the question.
        subgraph: the part of the graph that was retrieved.
        candidates: possible answers, the best first; texts, usually names of entities.
        scores: of the candidates, by the retriever, ``[C]``: logarithms of probabilities, or other numbers of which
            higher is better.
        answers: the right answers; empty where they are not known.
        relevance: of each triple of the subgraph, ``[m]``; None: the first are the most relevant.
    """

    question: str
    subgraph: Subgraph
    candidates: tuple[str, ...] = ()
    scores: NDArray[np.float64] | None = None
    answers: tuple[str, ...] = ()
    relevance: NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        for name, values, count in (
            ("scores", self.scores, len(self.candidates)),
            ("relevance", self.relevance, len(self.subgraph.triples)),
        ):
            if values is not None and len(values) != count:
                raise DataError("not one number each", field=name, value=len(values), expected=str(count))


class BatchMaker:
    """Examples -> `AnswererBatch`.

    Args:
        graph: the graph that the subgraphs are of.
        language_model: for its tokens.
        config: of the prompts.
        soft_tokens: K.
        pack: subgraphs for the encoder; None for an answerer without one.
        max_answer: tokens of an answer, its end included.
    """

    def __init__(
        self,
        graph: KnowledgeGraph,
        language_model: LanguageModel,
        config: PromptConfig,
        *,
        soft_tokens: int,
        pack: Pack | None = None,
        max_answer: int = 32,
    ) -> None:
        self.graph, self.language_model, self.pack = graph, language_model, pack
        self.soft_tokens, self.max_answer = soft_tokens, max_answer
        self.writer = PromptWriter(language_model, config, reserved=soft_tokens + max_answer)

    def __call__(self, examples: Sequence[Example], answers: Sequence[str] | None = None) -> AnswererBatch:
        """The batch of some examples; with ``answers``, one each, for training."""
        prompts = [
            self.writer.write(
                example.question, facts_of(self.graph, example.subgraph), example.candidates, example.relevance
            )
            for example in examples
        ]
        tokens = pack_tokens(
            self.language_model, prompts, answers, soft_tokens=self.soft_tokens, max_answer=self.max_answer
        )
        subgraphs = [example.subgraph for example in examples]
        question, mask = self._questions(examples)
        graphs = None if self.pack is None else self.pack(subgraphs)
        sizes = torch.tensor([len(subgraph.entities) for subgraph in subgraphs])
        return AnswererBatch(tokens, question, mask, graphs, sizes)

    def _questions(self, examples: Sequence[Example]) -> tuple[Tensor, Tensor]:
        ids = [self.language_model.token_ids(example.question) or [self.language_model.end] for example in examples]
        lengths = torch.tensor(list(map(len, ids)))
        longest = int(lengths.max())
        block = torch.tensor([[*row, *[self.language_model.end] * (longest - len(row))] for row in ids])
        return block, torch.arange(longest) < lengths[:, None]


class TextFeatures:
    """Packs subgraphs for a `jepakit.graph.GraphEncoder`: vectors of entities and of relations, each triple an edge in
    both directions.

    Args:
        entities: ``[N, F]`` float32, a row for each entity of the graph.
        relations: ``[R, F_e]`` float32; against the direction of a triple the vector is negated.
    """

    def __init__(self, entities: Tensor, relations: Tensor) -> None:
        self.entities, self.relations = entities, relations

    def __call__(self, subgraphs: Sequence[Subgraph]) -> Graphs:
        """The packed subgraphs, with the features of their own entities and triples alone."""
        sizes = torch.tensor([len(subgraph.entities) for subgraph in subgraphs])
        triples = torch.tensor([len(subgraph.triples) for subgraph in subgraphs])
        rows = torch.from_numpy(np.concatenate([subgraph.entities for subgraph in subgraphs]))
        head, kind, tail = torch.from_numpy(np.concatenate([subgraph.triples for subgraph in subgraphs])).T
        shift = torch.repeat_interleave(sizes.cumsum(0) - sizes, triples)
        forward = torch.stack([head + shift, tail + shift])
        vectors = self.relations[kind]
        return Graphs.pack(
            self.entities[rows],
            torch.cat([forward, forward.flip(0)], 1),
            sizes,
            edge_attr=torch.cat([vectors, -vectors]),
            field_name="subgraphs",
        )
