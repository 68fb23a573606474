"""The map of a set of embeddings: PCA is exact, t-SNE keeps groups apart, samples repeat."""

import numpy as np
import pytest
import torch

from jepakit.training.report.embeddings import project_to_plane, sample_rows, singular_values


def test_pca_keeps_the_distances_of_points_in_a_plane() -> None:
    generator = torch.Generator().manual_seed(0)
    basis = torch.linalg.qr(torch.randn(10, 2, dtype=torch.double, generator=generator)).Q
    plane = torch.randn(30, 2, dtype=torch.double, generator=generator)
    points, method = project_to_plane(plane @ basis.T + 5.0)
    assert method == "PCA, 100% of the variance"
    assert torch.allclose(torch.pdist(torch.from_numpy(points)), torch.pdist(plane), atol=1e-9)
    line, _ = project_to_plane(torch.arange(5.0)[:, None])
    assert abs(line[0, 0] - line[4, 0]) == pytest.approx(4.0)


def test_a_sample_is_drawn_without_replacement_and_again_the_same() -> None:
    ids = sample_rows(10_000, 3000)
    assert ids.unique().numel() == 3000
    assert torch.equal(ids, sample_rows(10_000, 3000))
    assert not torch.equal(ids, torch.arange(3000))
    assert sample_rows(7, 3000).tolist() == list(range(7))


def test_singular_values_are_those_of_the_covariance() -> None:
    rows = torch.randn(50, 6, dtype=torch.double, generator=torch.Generator().manual_seed(0)) + 3.0
    variances = torch.linalg.eigvalsh(torch.cov(rows.T)).flip(0)
    assert torch.allclose(torch.from_numpy(singular_values(rows)).square() / 49, variances)
    assert len(singular_values(rows[:4])) == 3


def test_tsne_keeps_far_groups_apart_and_is_named() -> None:
    label = torch.arange(120) % 3
    centres = 20 * torch.eye(3, 16)
    embedding = centres[label] + torch.randn(120, 16, generator=torch.Generator().manual_seed(0))
    points, method = project_to_plane(embedding)
    assert method == "t-SNE"
    distance = torch.cdist(torch.from_numpy(points), torch.from_numpy(points))
    same = label[:, None] == label
    assert distance[same].max() < distance[~same].min()


@pytest.mark.parametrize("scale", [1e-30, 1e-8, 1.0, 1e8])
@pytest.mark.parametrize("distinct", [2, 3, 60])
def test_collapsed_embeddings_are_placed_without_a_warning(distinct: int, scale: float) -> None:
    values = scale * torch.randn(distinct, 4, generator=torch.Generator().manual_seed(0))
    points, _ = project_to_plane(values[torch.arange(60) % distinct])
    assert points.shape == (60, 2)
    assert np.isfinite(points).all()
