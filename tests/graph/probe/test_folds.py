"""Folds and labelled subsets: balanced, repeatable, the same for everybody."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from jepakit.graph.probe.folds import stratified_folds, stratified_subset


@given(st.lists(st.integers(4, 30), min_size=2, max_size=4), st.integers(2, 4), st.integers(0, 99))
def test_folds_are_balanced_in_size_and_classes(counts: list[int], folds: int, seed: int) -> None:
    y = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(counts)), counts))
    fold = stratified_folds(y, folds, seed)
    assert np.ptp(np.bincount(fold, minlength=folds)) <= 1
    for label in range(len(counts)):
        assert np.ptp(np.bincount(fold[y == label], minlength=folds)) <= 1
    np.testing.assert_array_equal(fold, stratified_folds(torch.from_numpy(y), folds, seed))


def test_folds_depend_on_the_seed_alone() -> None:
    y = np.arange(60) % 3
    assert not np.array_equal(stratified_folds(y, 10, 0), stratified_folds(y, 10, 1))
    assert not np.array_equal(stratified_folds(y, 10, 0), stratified_folds(y, 10, (0, 1)))
    np.testing.assert_array_equal(stratified_folds(y, 10, 0), stratified_folds(y + 5, 10, 0))


@given(st.integers(5, 40), st.integers(5, 40), st.sampled_from([0.01, 0.1, 0.5]), st.integers(0, 99))
def test_labelled_subsets_are_stratified(first: int, second: int, fraction: float, seed: int) -> None:
    y = np.random.default_rng(seed).permutation(np.repeat([0, 1], [first, second]))
    rows = stratified_subset(y, fraction, seed)
    assert len(set(rows.tolist())) == len(rows)
    for label, count in enumerate((first, second)):
        assert (y[rows] == label).sum() == max(2, round(fraction * count))
