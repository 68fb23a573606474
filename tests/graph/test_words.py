"""Bags of words: what looks like one, and weights by hand."""

import math

import torch

from jepakit.graph.words import best_power, is_bag_of_words, word_weights


def test_words_are_wide_sparse_and_not_negative() -> None:
    words = torch.zeros(50, 200)
    words[torch.arange(50), torch.arange(50)] = 2.0
    assert is_bag_of_words(words)
    assert not is_bag_of_words(words[:, :60])
    assert not is_bag_of_words(-words)
    assert not is_bag_of_words(words + 1)


def test_weights_of_words_by_hand() -> None:
    """Of four nodes all have the first word, one the second, none the last, which counts as if one had it."""
    x = torch.tensor([[3.0, 1, 0], [1, 0, 0], [1, 0, 0], [1, 0, 0]])
    torch.testing.assert_close(word_weights(x), torch.tensor([0.0, math.log(4), math.log(4)]))
    torch.testing.assert_close(word_weights(x, 0.5), torch.tensor([0.0, math.log(4) ** 0.5, math.log(4) ** 0.5]))


def test_the_power_is_the_one_that_tells_neighbours_from_others() -> None:
    """Neighbours share a rare word in one graph, a frequent one in the other, and other words at random."""
    generator = torch.Generator().manual_seed(0)
    nodes = torch.arange(400)
    edges = torch.stack([nodes, nodes ^ 1])  # pairs 0-1, 2-3, ...
    rare = torch.zeros(400, 200).index_put((nodes, nodes // 2), torch.tensor(1.0))
    frequent = torch.zeros(400, 200).index_put((nodes, nodes // 2 % 2), torch.tensor(1.0))
    noise_of_frequent = (torch.rand(400, 30, generator=generator) < 0.4).float()
    noise_of_rare = torch.zeros(400, 200).index_put(
        (nodes, torch.randperm(400, generator=generator) // 2), torch.tensor(1.0)
    )
    assert best_power(torch.cat([rare, noise_of_frequent], 1), edges) == 1.0
    assert best_power(torch.cat([frequent, noise_of_rare], 1), edges) == 0.0
    assert best_power(rare, torch.empty(2, 0, dtype=torch.long)) == 1.0
