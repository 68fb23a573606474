"""Attention within packed examples: that of each example alone, without the padding of the longest."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from jepakit.core.attention import GroupAttention, pad_groups

HEADS, DIM = 2, 8


def alone(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """The attention of one query to keys ``[K, D]``, written out."""
    heads = query.view(HEADS, -1), key.view(len(key), HEADS, -1), value.view(len(key), HEADS, -1)
    scores = torch.einsum("hd,khd->hk", heads[0], heads[1]) / (DIM / HEADS) ** 0.5
    return torch.einsum("hk,khd->hd", scores.softmax(1), heads[2]).reshape(-1)


@pytest.mark.parametrize("seed", range(30))
def test_each_query_attends_to_the_keys_of_its_own_example(seed: int) -> None:
    draw = torch.Generator().manual_seed(seed)
    groups, queries, keys = (
        int(torch.randint(low, high, (), generator=draw)) for low, high in ((1, 9), (0, 40), (0, 40))
    )
    query_group, key_group = (torch.randint(groups, (rows,), generator=draw) for rows in (queries, keys))
    inputs = [torch.randn(rows, DIM, generator=draw).requires_grad_() for rows in (queries, keys, keys)]
    attention = GroupAttention.of(query_group, key_group)
    weight = torch.randn(queries, DIM, generator=draw)
    found = attention(*inputs, HEADS)
    expected = [
        alone(inputs[0][row], inputs[1][key_group == group], inputs[2][key_group == group])
        if bool((key_group == group).any())
        else torch.zeros(DIM)
        for row, group in enumerate(query_group)
    ]
    expected = torch.stack(expected) if queries else torch.zeros(0, DIM)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)
    assert attention.has_keys.tolist() == [bool((key_group == group).any()) for group in query_group]
    gradients = torch.autograd.grad((found * weight).sum(), inputs)
    if expected.requires_grad:
        wanted = torch.autograd.grad((expected * weight).sum(), inputs, materialize_grads=True)
        for gradient, want in zip(gradients, wanted, strict=True):
            torch.testing.assert_close(gradient, want, atol=1e-5, rtol=1e-4)
    else:
        assert not any(gradient.any() for gradient in gradients)


def test_a_long_example_does_not_lengthen_the_others() -> None:
    sizes = torch.tensor([1, 2, 3, 5, 620, *[20] * 60])
    group = torch.repeat_interleave(torch.arange(len(sizes)), sizes)
    attention = GroupAttention.of(group, group)
    assert sum(mask.numel() for _, (_, mask) in attention.blocks) < 2 * len(group)
    assert len(attention.blocks) <= 10


def test_pad_groups_puts_rows_back() -> None:
    x, group = torch.randn(6, 2), torch.tensor([2, 0, 2, 2, 0, 5])
    padded, mask, place = pad_groups(x, group, 7)
    assert padded.shape == (7, 3, 2)
    assert mask.sum(1).tolist() == [2, 0, 3, 0, 0, 1, 0]
    torch.testing.assert_close(padded[place], x)
    torch.testing.assert_close(padded[mask], x[[1, 4, 0, 2, 3, 5]])
    assert padded[~mask].abs().sum() == 0
