"""Relation prediction: it finds what embeddings tell, chooses on validation triples, and reads no other test label."""

from dataclasses import replace

import numpy as np
import pytest

from jepakit.kgqa.probe.relations import labelled, probe_relations
from jepakit.kgqa.probe.split import TripleSplit, split_triples
from kg_samples import two_groups


def sample(seed: int = 0) -> tuple[TripleSplit, np.ndarray, np.ndarray]:
    """The relation is whether the kinds of both entities differ; embeddings that tell the kind, and noise."""
    graph, features = two_groups(seed=seed)
    return (
        split_triples(graph, held_out=0.6, seed=seed),
        features.text.numpy(),
        np.random.default_rng(seed).normal(size=(120, 6)),
    )


def test_kinds_tell_the_relation_and_noise_does_not() -> None:
    split, kinds, noise = sample()
    assert probe_relations([kinds], split).accuracy > 90
    assert probe_relations([noise], split).accuracy < 75
    assert probe_relations([noise, kinds], split).accuracy > 85
    assert probe_relations([kinds], split, fraction=0.02).accuracy <= probe_relations([kinds], split).accuracy


def test_settings_are_chosen_without_the_labels_of_the_test() -> None:
    split, kinds, _ = sample()
    flipped = split.test.copy()
    flipped[:, 1] = 1 - flipped[:, 1]
    first, second = (probe_relations([kinds], replace(split, test=test)) for test in (split.test, flipped))
    assert first.chosen == second.chosen
    assert first.accuracy == pytest.approx(100 - second.accuracy)


def test_scores_are_those_of_a_hand_made_case() -> None:
    """Two kinds of pairs, each with a relation of its own in training; the last test triple has the other."""
    one_hot = np.eye(4)
    train = np.array([[0, 0, 0], [1, 1, 1]] * 10)
    test = np.array([[0, 0, 0], [0, 0, 0], [1, 1, 1], [1, 0, 1]])
    split = TripleSplit(two_groups()[0], train, train, test)
    scores = probe_relations([one_hot], split)
    assert scores.accuracy == 75
    # Relation 0: precision 1, recall 2/3; relation 1: precision 1/2, recall 1.
    assert scores.macro_f1 == pytest.approx(100 * (0.8 + 2 / 3) / 2)


def test_few_labels_have_each_relation() -> None:
    triples = np.array([[0, 0, 1]] * 97 + [[0, 1, 1], [0, 2, 1], [0, 2, 2]])
    few = labelled(triples, 0.01, draw=3)
    assert sorted(few[:, 1].tolist()) == [0, 1, 2]
    tenth = labelled(triples, 0.1, draw=3)
    assert len(tenth) == 10
    assert np.array_equal(tenth, labelled(triples, 0.1, draw=3))
    assert len(labelled(triples, 1.0, draw=0)) == 100
