"""What the language model reads: an instruction, the subgraph as text, the candidates and the question."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from jepakit.errors import ConfigError, DataError, require_at_least, require_choice
from jepakit.kgqa.answerer.language_model import LanguageModel
from jepakit.kgqa.data import KnowledgeGraph, Subgraph

#: Stands for the soft tokens while the chat template is applied.
_MARK = "⟦soft tokens⟧"


@dataclass
class PromptConfig:
    """The parts of a prompt.

    Args:
        instruction: the system's message.
        place: soft tokens stand ``before`` the text of the user's message, as in G-Retriever, or ``after`` it.
        graph: write the triples of the subgraph into the prompt.
        candidates: the most candidates that are listed; 0 lists none.
        max_tokens: of a prompt with its answer; where the model reads fewer, that is the limit.
    """

    instruction: str = "Answer the question from the facts. Reply with the answer only."
    place: Literal["before", "after"] = "before"
    graph: bool = True
    candidates: int = 0
    max_tokens: int = 1024

    def __post_init__(self) -> None:
        require_choice("place", self.place, ("before", "after"))
        require_at_least(self, candidates=0, max_tokens=16)
        if _MARK in self.instruction:
            raise ConfigError("instruction", self.instruction, f"a text without {_MARK}")


@dataclass(frozen=True)
class Prompt:
    """A prompt, in the two parts around the soft tokens.

    Args:
        before: the text before the soft tokens, with the marks of the model's chat template.
        after: the text after them.
        dropped: how many triples did not fit.
    """

    before: str
    after: str
    dropped: int = 0


class PromptWriter:
    """Writes prompts that fit into the context of a language model.

    Args:
        language_model: for its chat template, its tokens and its longest input.
        config: what a prompt has.
        reserved: tokens for soft tokens and answer.
    """

    def __init__(self, language_model: LanguageModel, config: PromptConfig, *, reserved: int) -> None:
        self.language_model, self.config = language_model, config
        self.limit = min(config.max_tokens, language_model.context) - reserved

    def write(
        self,
        question: str,
        facts: Sequence[str] = (),
        candidates: Sequence[str] = (),
        relevance: NDArray[np.float64] | None = None,
    ) -> Prompt:
        """The prompt of one question.

        Where it would be too long, the least relevant facts are left out, then the last candidates; what stays keeps
        its order. The question is never cut.

        Args:
            question: the question.
            facts: one line each, see `facts_of`.
            candidates: possible answers, the best first.
            relevance: of each fact; None: the first are the most relevant.

        Raises:
            DataError: the question alone is too long.
        """
        facts = list(facts) if self.config.graph else []
        candidates = list(candidates)[: self.config.candidates]
        self.require_room(question)
        kept = self._fitting(facts, relevance, self.limit - self._length(self._rendered(question, [], candidates)))
        while True:
            prompt = self._rendered(question, [facts[row] for row in sorted(kept)], candidates)
            excess = self._length(prompt) - self.limit
            if excess <= 0:
                return Prompt(prompt.before, prompt.after, len(facts) - len(kept))
            # Lines are a token longer or shorter together than alone, so the sum of their lengths is an estimate.
            if kept:
                kept = kept[: -max(1, excess // 16)]
            else:
                candidates = candidates[:-1]

    def require_room(self, question: str) -> None:
        """Raises DataError where a question alone is too long."""
        bare = self._length(self._rendered(question, [], []))
        if bare > self.limit:
            way_out = "shorten it, raise max_tokens, or take another model"
            expected = f"at most {self.limit} tokens with the instruction, not {bare}: {way_out}"
            raise DataError("the question is too long", field="question", value=question, expected=expected)

    def _fitting(self, facts: list[str], relevance: NDArray[np.float64] | None, room: int) -> list[int]:
        """The rows of the most relevant facts that have room, the most relevant first."""
        if not facts:
            return []
        order = list(range(len(facts))) if relevance is None else np.argsort(-relevance, kind="stable").tolist()
        lines = self.language_model.tokenizer([f"{fact}\n" for fact in facts], add_special_tokens=False)["input_ids"]
        used = accumulate(len(lines[row]) for row in order)
        return [row for row, tokens in zip(order, used, strict=True) if tokens <= room]

    def _rendered(self, question: str, facts: Sequence[str], candidates: Sequence[str]) -> Prompt:
        parts = ["\n".join(facts)] if facts else []
        parts += [f"Candidates: {' | '.join(candidates)}"] if candidates else []
        return self.chat("\n\n".join([*parts, f"Question: {question}"]))

    def chat(self, text: str) -> Prompt:
        """The prompt whose user's message is ``text``, in the form of the model's chat template if it has one."""
        tokenizer, config = self.language_model.tokenizer, self.config
        user = f"{_MARK}{text}" if config.place == "before" else f"{text}\n{_MARK}"
        if tokenizer.chat_template:
            messages = [{"role": "system", "content": config.instruction}, {"role": "user", "content": user}]
            whole = str(tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True))
        else:
            whole = f"{tokenizer.bos_token or ''}{config.instruction}\n\n{user}\nAnswer: "
        # What the user wrote may hold the mark, too, and stands on the other side of ours.
        before, _, after = whole.partition(_MARK) if config.place == "before" else whole.rpartition(_MARK)
        return Prompt(before, after)

    def _length(self, prompt: Prompt) -> int:
        return sum(len(self.language_model.token_ids(text)) for text in (prompt.before, prompt.after) if text)


def facts_of(graph: KnowledgeGraph, subgraph: Subgraph) -> list[str]:
    """The triples of a subgraph as lines ``head | relation | tail``, in their order; ``[m]`` texts.

    Names are written in each line. G-Retriever's two tables, of numbered nodes and of edges between numbers, take more
    tokens on the graphs of questions, where few triples share an entity.
    """
    names = graph.column("name", subgraph.entities)
    relations = [relation.name for relation in graph.relations]
    return [f"{names[head]} | {relations[kind]} | {names[tail]}" for head, kind, tail in subgraph.triples.tolist()]
