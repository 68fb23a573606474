"""What the language model thinks of given answers, and what it writes by itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
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
    counts = [len(texts) for texts in candidates]
    token_ids, end = answerer.language_model.token_ids, answerer.language_model.end
    ids = [[*token_ids(text), end] for texts in candidates for text in texts]
    values = torch.zeros(len(ids))
    if ids:
        owner = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
        read = _read(answerer, batch)
        # Candidates of similar length side by side need little padding.
        order = torch.tensor(sorted(range(len(ids)), key=lambda place: len(ids[place])))
        for places in order.split(chunk):
            values[places] = _continued(answerer, read, owner[places], [ids[place] for place in places.tolist()])
    return list(values.split(counts))


@dataclass(frozen=True)
class _Read:
    """B prompts that a language model has read: its cache, their mask ``[B, L]``, the next token's log-probability."""

    cache: Any
    mask: Tensor
    first: Tensor

    def cache_of(self, rows: Tensor) -> Any:
        """A new cache with some rows, which may repeat."""
        from transformers import DynamicCache

        cache = DynamicCache()
        for number, layer in enumerate(self.cache.layers):
            cache.update(layer.keys[rows], layer.values[rows], number)
        return cache


def _read(answerer: Answerer, batch: AnswererBatch) -> _Read:
    mask, positions = batch.context()
    past = None if batch.prefix is None else batch.prefix.cache()
    output = answerer.llm(
        inputs_embeds=answerer.inputs(batch),
        attention_mask=mask.long(),
        position_ids=positions,
        past_key_values=past,
        use_cache=True,
        logits_to_keep=1,
    )
    return _Read(output.past_key_values, mask, output.logits[:, -1].float().log_softmax(-1))


def _continued(answerer: Answerer, read: _Read, owner: Tensor, ids: list[list[int]]) -> Tensor:
    """The mean log-probability of each continuation of the prompt that owns it, ``[C]``."""
    device = read.first.device
    counts, owner = torch.tensor([len(tokens) for tokens in ids]), owner.to(device)
    longest = int(counts.max())
    block = torch.tensor([tokens + tokens[-1:] * (longest - len(tokens)) for tokens in ids], device=device)
    values = read.first[owner].gather(1, block[:, :1])
    if longest > 1:
        mask = read.mask[owner]
        added = torch.arange(longest - 1, device=device)
        # Padding stands on the right, where no token that counts can see it.
        output = answerer.llm(
            input_ids=block[:, :-1],
            attention_mask=torch.cat([mask, mask.new_ones(len(ids), longest - 1)], 1).long(),
            position_ids=mask.sum(1, keepdim=True) + added,
            past_key_values=read.cache_of(owner),
            use_cache=True,
        )
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
