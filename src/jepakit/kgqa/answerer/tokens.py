"""Prompts and answers as blocks of token ids."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from jepakit.kgqa.answerer.language_model import LanguageModel
from jepakit.kgqa.answerer.prompt import Prompt

IGNORED = -100
"""The label of a token that is not predicted."""


@dataclass(frozen=True)
class Tokens:
    """B sequences of prompt and answer, padded on the left to L tokens: ends are aligned, and generation goes on there.

    Args:
        ids: ``[B, L]`` int64; at the places of soft tokens and padding any id.
        mask: ``[B, L]`` bool, false for padding.
        soft: ``[B, L]`` bool, true for the K soft tokens of each sequence.
        labels: ``[B, L]`` int64: the ids of the answer, `IGNORED` elsewhere.
        answer: the most tokens of an answer, its end included.
    """

    ids: Tensor
    mask: Tensor
    soft: Tensor
    labels: Tensor
    answer: int

    @property
    def positions(self) -> Tensor:
        """The position of each token in its sequence, ``[B, L]``; 0 for padding."""
        return (self.mask.cumsum(1) - 1).clamp(min=0)


def pack_tokens(
    language_model: LanguageModel,
    prompts: Sequence[Prompt],
    answers: Sequence[str] | None = None,
    *,
    soft_tokens: int,
    max_answer: int = 32,
) -> Tokens:
    """Tokens of prompts with their answers; without ``answers``, of prompts alone.

    Args:
        language_model: for its tokeniser.
        prompts: B prompts.
        answers: B texts; each is cut to ``max_answer`` tokens, of which the last is the end of the text.
        soft_tokens: K.
        max_answer: tokens of an answer, its end included.
    """
    pad, end = int(str(language_model.tokenizer.pad_token_id)), language_model.end
    written = [[*language_model.token_ids(text)[: max_answer - 1], end] for text in answers or ()]
    rows: list[list[int]] = []
    starts: list[int] = []
    for row, prompt in enumerate(prompts):
        before, after = (language_model.token_ids(text) if text else [] for text in (prompt.before, prompt.after))
        starts.append(len(before))
        rows.append([*before, *[pad] * soft_tokens, *after, *(written[row] if written else ())])
    longest = max(map(len, rows))
    ids = torch.tensor([[pad] * (longest - len(row)) + row for row in rows])
    place = torch.arange(longest)
    padding = longest - torch.tensor(list(map(len, rows)))[:, None]
    start = padding + torch.tensor(starts)[:, None]
    answer = torch.tensor([len(tokens) for tokens in written] or [0] * len(rows))[:, None]
    return Tokens(
        ids=ids,
        mask=place >= padding,
        soft=(place >= start) & (place < start + soft_tokens),
        labels=torch.where(place >= longest - answer, ids, IGNORED),
        answer=int(answer.max()),
    )
