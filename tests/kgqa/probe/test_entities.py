"""Classification of entities: it finds what embeddings tell, leaves out entities without a class, labels few."""

import numpy as np

from jepakit.kgqa.probe.entities import probe_entities
from jepakit.kgqa.probe.logistic import few_of_each
from probe_samples import blobs


def test_embeddings_that_tell_the_class_are_better_than_noise() -> None:
    told, classes = blobs(300, 0, classes=3)
    noise = np.random.default_rng(1).standard_normal(told.shape)
    assert probe_entities([told], classes).accuracy > 90
    assert probe_entities([noise], classes).accuracy < 60
    assert probe_entities([noise, told], classes).macro_f1 > 90


def test_an_entity_without_a_class_changes_nothing() -> None:
    told, classes = blobs(200, 0)
    wider = np.concatenate([told, np.full((20, 6), 50.0)])
    assert probe_entities([wider], np.append(classes, [-1] * 20)) == probe_entities([told], classes)


def test_few_labels_have_each_class_and_grow() -> None:
    classes = np.array([0] * 97 + [1, 2, 2])
    few = few_of_each(classes, 0.01, draw=3)
    assert sorted(classes[few].tolist()) == [0, 1, 2]
    tenth = few_of_each(classes, 0.1, draw=3)
    assert len(tenth) == len(set(tenth.tolist())) == 10
    assert set(few.tolist()) <= set(tenth.tolist())
