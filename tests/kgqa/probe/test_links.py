"""Link prediction: ranks by hand, the filter, and a head that learns."""

import numpy as np
import pytest
import torch

from jepakit.errors import ConfigError
from jepakit.kgqa.probe.links import LinkConfig, both_directions, known_tails, popularity_mrr, probe_links, ranks
from jepakit.kgqa.probe.split import TripleSplit, split_triples
from kg_samples import graph_of, two_groups


def hand_made() -> TripleSplit:
    graph = graph_of([(0, 0, 1), (0, 0, 2), (3, 1, 2)], 5)
    return TripleSplit(graph, np.array([[0, 0, 3]]), np.array([[1, 1, 2]]), np.array([[0, 0, 4]]))


def test_known_answers_do_not_count_and_ties_share_their_rank() -> None:
    split = hand_made()
    scores = torch.tensor([[0.5, 0.9, 0.8, 0.7, 0.5]])
    # Of the five, 1, 2 and 3 answer the same query, and 0 ties with 4: places 1 and 2.
    found = ranks(lambda queries: scores.repeat(len(queries), 1), np.array([[0, 0, 4]]), known_tails(split))
    assert found.tolist() == [1.5]
    # The inverse query, (4, step 2, 0): no other answers; 1, 2 and 3 are before 0, and 4 ties with it.
    found = ranks(lambda queries: scores.repeat(len(queries), 1), np.array([[4, 2, 0]]), known_tails(split))
    assert found.tolist() == [4.5]


def test_both_directions_are_asked() -> None:
    assert both_directions(np.array([[0, 1, 2]]), 2).tolist() == [[0, 1, 2], [2, 3, 0]]


def test_popularity_is_counted_by_step() -> None:
    """For (0, 0, ?): known are 1, 2, 3, and 0 and 4 never are tails: 1.5. For (4, inverse 0, ?): 0 was twice: 1."""
    assert popularity_mrr(hand_made()) == pytest.approx(100 * (1 / 1.5 + 1) / 2)


def test_a_head_finds_links_where_embeddings_tell_them_and_not_in_noise() -> None:
    """Entities on a ring are linked to the next one by ``r0`` and to the opposite one by ``r1``."""
    size = 64
    angle = torch.arange(size) * 2 * torch.pi / size
    told = torch.cat([torch.cat([(k * angle).cos()[:, None], (k * angle).sin()[:, None]], 1) for k in (1, 2, 3)], 1)
    here = np.arange(size)
    triples = np.concatenate(
        [np.stack([here, np.full(size, r), (here + by) % size], 1) for r, by in ((0, 1), (0, 2), (1, size // 2))]
    )
    split = split_triples(graph_of(triples, size), held_out=0.3)
    noise = torch.randn(size, 6, generator=torch.Generator().manual_seed(0))
    config = LinkConfig(dim=16, epochs=15, batch_size=32, negatives=32, learning_rate=0.01)
    good, bad = (probe_links(embeddings, split, config) for embeddings in (told, noise))
    assert good > 2 * bad
    assert probe_links(told, split, config) == good


def test_the_random_state_of_the_caller_stays() -> None:
    graph, features = two_groups(20)
    torch.manual_seed(3)
    state = torch.get_rng_state()
    probe_links(features.text, split_triples(graph), LinkConfig(dim=4, epochs=1))
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("options", [{"dim": 0}, {"epochs": 0}, {"learning_rate": 0.0}])
def test_options_are_checked(options: dict[str, float]) -> None:
    with pytest.raises(ConfigError) as error:
        LinkConfig(**options)
    assert error.value.field == next(iter(options))
