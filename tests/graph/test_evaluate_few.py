"""What is reported of a table with few labels: every method on the same repeated folds, their sizes, plain floors."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from jepakit.graph import EncoderConfig, EvaluateConfig, GraphDataset, GraphEncoder, evaluate
from jepakit.graph.datasets.molecules.load import load_molecules
from jepakit.graph.floors import COUNTS
from jepakit.training.results import Evaluation

pytest.importorskip("rdkit")
FRAGMENTS = ("O", "N", "CO", "c1ccccc1", "C(=O)O")


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """60 chains with an end group: their length is a measurement, the group a class."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    rows = [(length, group) for length in range(1, 13) for group in FRAGMENTS]
    lines = [f"{'C' * length}{group},{length / 2},{'acid' if group[-1] == 'O' else 'other'}" for length, group in rows]
    (tmp_path / "few.csv").write_text("\n".join(["SMILES,LogS,Kind", *lines]))
    return tmp_path / "few.csv"


def probed(dataset: GraphDataset, **options: object) -> Evaluation:
    encoder = GraphEncoder.for_data(dataset.graphs, EncoderConfig(hidden=8, layers=2, prototypes=0))
    config = EvaluateConfig(**{"floors": ["no network"], "seeds": [0, 1], **options})  # type: ignore[arg-type]
    return evaluate(dataset, encoder.eval(), None, config)


def test_measurements_are_cross_validated_beside_plain_floors(table: Path) -> None:
    evaluation = probed(load_molecules(table, label_columns=["LogS"]).dataset)
    assert (
        "60 labelled graphs are few: 5-fold cross-validation at random, 2 shuffles, with 36 graphs to train, 12"
        in (evaluation.summary[0])
    )
    assert "new scaffolds" in evaluation.summary[1] or "without their labels" in evaluation.summary[1]
    value = {row.method: row.value for row in evaluation.rows}
    floors = [COUNTS, "the mean of the labels", "Morgan fingerprints", "a random forest on RDKit's descriptors"]
    assert list(value) == ["jepakit: pre-trained encoder", *floors]
    # Lengths of 1 to 12 carbon atoms, half of each: the mean errs by their standard deviation.
    assert value["the mean of the labels"] == pytest.approx(1.73, abs=0.1)
    forest = value["a random forest on RDKit's descriptors"]
    assert forest is not None
    assert forest < 0.5
    assert all(row.seeds == 2 and row.std is not None for row in evaluation.rows)
    assert evaluation.recommendation is not None


def test_words_are_classes_beside_plain_floors(table: Path) -> None:
    evaluation = probed(load_molecules(table, label_columns=["kind"]).dataset, folds=3, classifier="logistic")
    value = {row.method: row.value for row in evaluation.rows}
    assert value["the most frequent class"] == pytest.approx(60)
    assert value["a random forest on RDKit's descriptors"] == pytest.approx(100, abs=5)
    assert "Morgan fingerprints" in value


def test_folds_are_no_more_than_the_smallest_class_has_graphs(table: Path) -> None:
    dataset = load_molecules(table, label_columns=["Kind"]).dataset
    y = (torch.arange(60) < 6).long()
    rare = replace(dataset, graphs=replace(dataset.graphs, y=y), origins=None)
    evaluation = probed(rare, classifier="logistic", seeds=[0])
    assert evaluation.summary[0].startswith("Stratified 6-fold cross-validation (6 graphs are of the smallest class)")


def test_a_given_split_says_its_sizes(table: Path) -> None:
    dataset = load_molecules(table, label_columns=["LogS"]).dataset
    assert dataset.graphs.y is not None
    many = replace(dataset, graphs=dataset.graphs[list(range(60)) * 9], origins=None, splits={})
    assert "Sizes: train 432, val 54, test 54." in probed(many, seeds=[0]).summary[0]
