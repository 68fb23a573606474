"""Familiarity: 1 near what is remembered, 0 far from it, and a group's own members do not vouch for each other."""

from __future__ import annotations

from itertools import combinations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from jepakit.retrieval.adapter.familiarity import Familiarity, clusters, mean_similarity


def cloud(centre: Tensor, count: int, seed: int, spread: float = 0.1) -> Tensor:
    noise = torch.randn(count, len(centre), generator=torch.Generator().manual_seed(seed))
    return F.normalize(centre + spread * noise, dim=-1)


HOME, AWAY = torch.eye(16)[0], torch.eye(16)[1]


def memory(quantiles: tuple[float, float] = (0.05, 0.5)) -> Familiarity:
    known = Familiarity(16)
    known.fit(cloud(HOME, 300, 0), torch.arange(300), quantiles=quantiles)
    return known


def test_new_vectors_of_the_same_kind_are_familiar_and_others_are_not() -> None:
    known = memory()
    assert float(known(cloud(HOME, 200, 1)).mean()) > 0.6
    assert float(known(cloud(AWAY, 200, 2)).max()) == 0.0
    values = known(cloud(HOME + AWAY, 200, 3, spread=0.3))
    assert bool(((values >= 0) & (values <= 1)).all())


def test_the_quantiles_hold_on_what_is_remembered_without_itself() -> None:
    vectors = cloud(HOME, 400, 0)
    known = Familiarity(16)
    known.fit(vectors, torch.arange(400), quantiles=(0.1, 0.6))
    nearness = mean_similarity(vectors, vectors, torch.arange(400))
    assert abs(float((nearness <= known.far).float().mean()) - 0.1) < 0.01
    assert abs(float((nearness <= known.near).float().mean()) - 0.6) < 0.01


def test_members_of_a_group_do_not_vouch_for_each_other() -> None:
    # Ten paraphrases each of thirty questions: to a new question none of its own paraphrases is known.
    centres = F.normalize(torch.randn(30, 16, generator=torch.Generator().manual_seed(4)), dim=-1)
    vectors = torch.cat([cloud(centre, 10, number, spread=0.02) for number, centre in enumerate(centres)])
    group = torch.arange(30).repeat_interleave(10)
    apart, together = Familiarity(16), Familiarity(16)
    apart.fit(vectors, group, quantiles=(0.05, 0.5))
    together.fit(vectors, torch.arange(300), quantiles=(0.05, 0.5))
    assert float(apart.near) < 0.8 < 0.95 < float(together.far)


def test_mean_similarity_by_hand() -> None:
    reference = F.normalize(torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]]), dim=-1)
    query = torch.tensor([[1.0, 0.0]])
    torch.testing.assert_close(mean_similarity(query, reference), torch.tensor([(1 + 0.6 + 0) / 3]))
    alone = mean_similarity(reference, reference, torch.tensor([0, 0, 1]))
    # A member of the group counts as opposite, so that the mean of few neighbours stays low.
    torch.testing.assert_close(alone[2], torch.tensor((0.0 + 0.8 - 1.0) / 3))


def test_without_a_memory_everything_is_familiar() -> None:
    assert Familiarity(16)(cloud(AWAY, 3, 0)).tolist() == [1.0, 1.0, 1.0]


def test_a_large_memory_is_thinned_out_the_same_way_for_the_same_seed() -> None:
    def of(seed: int) -> Tensor:
        known = Familiarity(16)
        generator = torch.Generator().manual_seed(seed)
        known.fit(cloud(HOME, 300, 0), torch.arange(300), quantiles=(0.1, 0.5), limit=50, generator=generator)
        return known.reference

    assert len(of(0)) == 50
    assert torch.equal(of(0), of(0))
    assert not torch.equal(of(0), of(1))


def galaxies(count: int, size: int, seed: int) -> Tensor:
    """Clusters of vectors in one half of the space; other seeds give near neighbours: other clusters there."""
    draw = torch.Generator().manual_seed(seed)
    centres = F.normalize(HOME + 0.35 * torch.randn(count, 16, generator=draw), dim=-1)
    return torch.cat([cloud(centre, size, 100 * seed + number, spread=0.05) for number, centre in enumerate(centres)])


def test_near_neighbours_are_familiar_and_not_at_home() -> None:
    vectors, near, far = galaxies(12, 40, 1), galaxies(12, 40, 2), cloud(AWAY, 200, 3)
    at_home = []
    for seed in range(20):
        known = Familiarity(16, home=True)
        draw = torch.Generator().manual_seed(seed)
        known.fit(vectors, torch.arange(len(vectors)), quantiles=(0.02, 0.2), limit=300, generator=draw)
        at_home.append(known.at_home(near).mean())
    # It depends on the sample that is remembered.
    assert torch.stack(at_home).mean() < 0.1
    assert known.both(vectors).mean(0).tolist() == [pytest.approx(1, abs=0.1), pytest.approx(1, abs=0.15)]
    # What is remembered is at home, however far it is from all else.
    assert bool((known.at_home(known.reference) == 1).all())
    assert known.both(far).max() == 0


def test_held_out_clusters_set_the_scale_of_home() -> None:
    vectors = galaxies(8, 50, 1)
    known = Familiarity(16, home=True)
    known.fit(vectors, torch.arange(400), quantiles=(0.02, 0.2), generator=torch.Generator().manual_seed(0))
    assert known.home is not None
    # The nearest of another cluster is farther than the nearest of all.
    assert known.home[0] < known.far < known.home[1]


def test_without_a_scale_of_its_own_home_is_familiarity() -> None:
    known = memory()
    assert torch.equal(known.at_home(cloud(HOME, 50, 1)), known(cloud(HOME, 50, 1)))


def test_clusters_are_those_that_are_there() -> None:
    vectors = torch.cat([cloud(torch.eye(16)[axis], 30, axis, spread=0.02) for axis in range(5)])
    found = clusters(vectors, generator=torch.Generator().manual_seed(0)).view(5, 30)
    # Eight clusters may divide a cloud, and never join two that hold a centre.
    assert all(not set(row.tolist()) & set(other.tolist()) for row, other in combinations(found, 2))
