"""Questions with their subgraphs, and the batches that an answerer reads."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from jepakit.errors import DataError
from jepakit.graph.data import Graphs
from jepakit.kgqa.answerer.language_model import LanguageModel
from jepakit.kgqa.answerer.model import AnswererBatch
from jepakit.kgqa.answerer.prefix import PrefixStates
from jepakit.kgqa.answerer.prompt import PromptConfig, PromptWriter, facts_of
from jepakit.kgqa.answerer.tokens import pack_tokens
from jepakit.kgqa.data import KnowledgeGraph, Subgraph
from jepakit.kgqa.encoder import KnowledgeEncoder
from jepakit.kgqa.features import EntityFeatures, as_graphs
from jepakit.kgqa.sampling import packed

_LOG = logging.getLogger(__name__)

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
        states: of a frozen language model, for prompts with the soft tokens after the text; None reads each text anew.
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
        states: PrefixStates | None = None,
    ) -> None:
        self.graph, self.language_model, self.pack = graph, language_model, pack
        self.soft_tokens, self.max_answer, self.states = soft_tokens, max_answer, states
        self.writer = PromptWriter(language_model, config, reserved=soft_tokens + max_answer)

    def __call__(
        self, examples: Sequence[Example], answers: Sequence[str] | None = None, *, whole: bool = False
    ) -> AnswererBatch:
        """The batch of some examples; with ``answers``, one each, for training; ``whole``: without a prefix."""
        prompts = [
            self.writer.write(
                example.question, facts_of(self.graph, example.subgraph), example.candidates, example.relevance
            )
            for example in examples
        ]
        if dropped := sum(prompt.dropped for prompt in prompts):
            _LOG.info("%d triples did not fit into %d prompts of %d tokens", dropped, len(prompts), self.writer.limit)
        prefix = None
        if self.states is not None and not whole:
            prefix = self.states([prompt.before for prompt in prompts])
            prompts = [replace(prompt, before="") for prompt in prompts]
        tokens = pack_tokens(
            self.language_model, prompts, answers, soft_tokens=self.soft_tokens, max_answer=self.max_answer
        )
        subgraphs = [example.subgraph for example in examples]
        question, mask = self._questions(examples)
        graphs = None if self.pack is None else self.pack(subgraphs)
        sizes = torch.tensor([len(subgraph.entities) for subgraph in subgraphs])
        return AnswererBatch(tokens, question, mask, graphs, sizes, prefix)

    def _questions(self, examples: Sequence[Example]) -> tuple[Tensor, Tensor]:
        ids = [self.language_model.token_ids(example.question) or [self.language_model.end] for example in examples]
        lengths = torch.tensor(list(map(len, ids)))
        longest = int(lengths.max())
        block = torch.tensor([[*row, *[self.language_model.end] * (longest - len(row))] for row in ids])
        return block, torch.arange(longest) < lengths[:, None]


class SubgraphPacker:
    """Packs subgraphs for a `KnowledgeEncoder`.

    Args:
        graph: the graph that the subgraphs are of.
        features: of all its entities.
        encoder: reads the packed subgraphs.

    Raises:
        DataError: the graph has other relations than the encoder, or the features are of another sentence encoder.
    """

    def __init__(self, graph: KnowledgeGraph, features: EntityFeatures, encoder: KnowledgeEncoder) -> None:
        self.features, self.encoder, self.relations = encoder.fit_to(graph, features), encoder, len(graph.relations)

    def __call__(self, subgraphs: Sequence[Subgraph]) -> Graphs:
        """The subgraphs as one batch, with the structural encoding that the encoder reads."""
        return self.encoder.prepare(as_graphs(packed(subgraphs), self.features, self.relations))
