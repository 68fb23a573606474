"""What the language model thinks of given answers, and what it writes by itself."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from jepakit.errors import DataError
from jepakit.kgqa.answerer.model import Answerer, AnswererBatch


@torch.no_grad()
def log_likelihoods(
    answerer: Answerer, batch: AnswererBatch, candidates: Sequence[Sequence[str]], *, chunk: int = 64
) -> list[Tensor]:
    """The mean log-probability of the tokens of each candidate as the answer, its end included.

    The mean makes names of different lengths comparable. A prompt is read once for all of its candidates.

    Args:
        answerer: in eval mode.
        batch: B questions, without answers.
        candidates: for each question its C_b candidates.
        chunk: candidates that are read side by side.

    Returns:
        For each question ``[C_b]`` on the CPU.

    Raises:
        DataError: there is no list of candidates for each question.
    """
    if len(candidates) != len(batch.tokens.ids):
        expected = f"{len(batch.tokens.ids)} lists"
        raise DataError("not one list for each question", field="candidates", value=len(candidates), expected=expected)
    embedded = answerer.inputs(batch)
    results: list[Tensor] = []
    for row, texts in enumerate(candidates):
        if not texts:
            results.append(torch.zeros(0))
            continue
        cache, first = _read(answerer, embedded[row], batch, row)
        ids = [[*answerer.language_model.token_ids(text), answerer.language_model.end] for text in texts]
        # Candidates of similar length side by side need little padding.
        order = sorted(range(len(ids)), key=lambda place: len(ids[place]))
        values = torch.zeros(len(ids))
        for start in range(0, len(order), chunk):
            places = order[start : start + chunk]
            values[places] = _continued(answerer, cache, first, [ids[place] for place in places])
        results.append(values)
    return results


def _read(answerer: Answerer, embedded: Tensor, batch: AnswererBatch, row: int) -> tuple[Any, Tensor]:
    """The cache after the prompt of one question, without its padding, and the log-probabilities of the next token."""
    inputs = embedded[batch.tokens.mask[row]][None]
    past = None if batch.prefix is None else batch.prefix.cache(row)
    output = answerer.llm(inputs_embeds=inputs, past_key_values=past, use_cache=True, logits_to_keep=1)
    return output.past_key_values, output.logits[0, -1].float().log_softmax(-1)


def _continued(answerer: Answerer, cache: Any, first: Tensor, ids: list[list[int]]) -> Tensor:
    """The mean log-probability of each continuation, ``[C]``."""
    counts = torch.tensor([len(tokens) for tokens in ids])
    longest = int(counts.max())
    block = torch.tensor([tokens + tokens[-1:] * (longest - len(tokens)) for tokens in ids], device=first.device)
    values = first[block[:, :1]]
    if longest > 1:
        shared = copy.deepcopy(cache)
        shared.batch_repeat_interleave(len(ids))
        # Padding stands on the right, where no token that counts can see it.
        output = answerer.llm(input_ids=block[:, :-1], past_key_values=shared, use_cache=True)
        rest = output.logits.float().log_softmax(-1).gather(2, block[:, 1:, None])[..., 0]
        values = torch.cat([values, rest], 1)
    counted = torch.arange(longest) < counts[:, None]
    return values.cpu().masked_fill(~counted, 0.0).sum(1) / counts


@torch.no_grad()
def generate(answerer: Answerer, batch: AnswererBatch, *, max_tokens: int = 32) -> list[str]:
    """Free answers, the most probable token at each step: texts that need not be the name of anything.

    Args:
        answerer: in eval mode.
        batch: B questions, without answers and without a prefix.
        max_tokens: longest answer.
    """
    tokenizer = answerer.language_model.tokenizer
    model: Any = answerer.llm
    written = model.generate(
        inputs_embeds=answerer.inputs(batch),
        attention_mask=batch.tokens.mask.long(),
        max_new_tokens=max_tokens,
        do_sample=False,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=answerer.language_model.end,
    )
    return [text.strip() for text in tokenizer.batch_decode(written, skip_special_tokens=True)]
