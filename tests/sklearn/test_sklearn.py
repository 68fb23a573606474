"""Estimators: scikit-learn's own checks where they apply, pipelines, searches, and what is refused."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable
from typing import Any

import networkx as nx
import numpy as np
import pytest
import torch
from sklearn.base import BaseEstimator, clone
from sklearn.ensemble import RandomForestRegressor
from sklearn.exceptions import NotFittedError, SkipTestWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline, make_union
from sklearn.preprocessing import StandardScaler
from sklearn.utils import estimator_checks
from torch_geometric.data import Data
from toy_collection import WordEncoder, collection

from jepakit.errors import ConfigError, DataError, ModelError
from jepakit.graph import EncoderConfig, Graphs, Masking, PretrainConfig, pretrain
from jepakit.graph.data import GraphDataset
from jepakit.sklearn import GraphEmbedder, MoleculeDescriptors, TextAdapter

#: Rings and stars of 5 to 10 nodes, and which is which.
SIZES = range(5, 11)
NETWORKS = [make(size) for size in SIZES for make in (nx.cycle_graph, lambda size: nx.star_graph(size - 1))]
SHAPES = [shape for _ in SIZES for shape in ("ring", "star")]
SMILES = ["CCO", "c1ccccc1", "CC(=O)O", "CCN", "CCCC", "C1CCCCC1"]
SMALL = {"epochs": 1, "hidden": 4, "layers": 1, "batch_size": 8}
#: Queries in another language than their documents: the dictionary can be learned.
PAIRS = collection(120)
QUERIES, DOCUMENTS = list(PAIRS.queries.texts), list(PAIRS.documents.texts)
FAST = {"base": WordEncoder(), "epochs": 4, "learning_rate": 0.01, "options": {"selection.folds": 2}}

#: Checks of scikit-learn that hand over no samples. All others fit estimators on arrays of numbers, which are neither
#: graphs nor texts: the tags say so, and scikit-learn skips them. The tests below do the same with graphs and texts.
WITHOUT_SAMPLES = (
    "check_do_not_raise_errors_in_init_or_set_params",
    "check_estimator_cloneable",
    "check_estimator_repr",
    "check_estimator_tags_renamed",
    "check_get_params_invariance",
    "check_mixin_order",
    "check_no_attributes_set_in_init",
    "check_parameters_default_constructible",
    "check_set_params",
    "check_valid_tag_types",
)


@pytest.mark.parametrize("name", WITHOUT_SAMPLES)
@pytest.mark.parametrize("kind", [GraphEmbedder, MoleculeDescriptors, TextAdapter])
def test_checks_of_scikit_learn_that_need_no_samples(kind: type[BaseEstimator], name: str) -> None:
    check: Callable[..., None] = getattr(estimator_checks, name)
    known = inspect.signature(check).parameters
    check(kind.__name__, kind(), **({"X": None, "y": None} if "X" in known else {}))


@pytest.mark.parametrize("kind", [GraphEmbedder, MoleculeDescriptors, TextAdapter])
def test_scikit_learn_skips_the_checks_on_numbers(kind: type[BaseEstimator]) -> None:
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        names = [check.func.__name__ for _, check in estimator_checks.estimator_checks_generator(kind())]
    assert names == ["check_estimator_cloneable"]
    assert [one.category for one in said] == [SkipTestWarning]


@pytest.mark.parametrize(
    ("estimator", "X", "y"),
    [
        (GraphEmbedder(**SMALL), NETWORKS, None),
        (TextAdapter(**FAST), QUERIES[:40], DOCUMENTS[:40]),
    ],
    ids=["graphs", "texts"],
)
def test_an_estimator_does_what_scikit_learn_expects(estimator: Any, X: list[Any], y: list[str] | None) -> None:
    with pytest.raises(NotFittedError):
        estimator.transform(X)
    parameters = estimator.get_params()
    assert estimator.fit(X, y) is estimator
    assert estimator.get_params() == parameters
    whole = estimator.transform(X)
    assert whole.shape == (len(X), len(estimator.get_feature_names_out()))
    assert whole.dtype == np.float32
    # A sample's vector depends on no other sample, and a fit on nothing before it.
    np.testing.assert_allclose(estimator.transform(X[:3]), whole[:3], atol=1e-5)
    np.testing.assert_allclose(clone(estimator).fit(X, y).transform(X), whole, atol=1e-6)
    frame = estimator.set_output(transform="pandas").transform(X[:2])
    assert list(frame.columns) == list(estimator.get_feature_names_out())


def test_a_search_over_parameters_of_a_pipeline() -> None:
    pooled = {"encoder.prototypes": 0, "encoder.pooling": "mean"}
    pipeline = make_pipeline(GraphEmbedder(**SMALL, options=pooled), StandardScaler(), LogisticRegression())
    search = GridSearchCV(pipeline, {"graphembedder__layers": [1, 2]}, cv=2, error_score="raise")
    search.fit(NETWORKS, SHAPES)
    assert search.best_params_["graphembedder__layers"] in (1, 2)
    # Whether a graph is a ring or a star is in the degrees, which a layer sees.
    assert search.best_score_ > 0.8
    assert search.predict(NETWORKS[:2]).tolist() == ["ring", "star"]


def test_texts_are_adapted_and_scored() -> None:
    adapter = TextAdapter(**FAST).set_params(epochs=15).fit(QUERIES[:80], DOCUMENTS[:80])
    asked, answers = QUERIES[80:], DOCUMENTS[80:]
    queries, documents = adapter.transform(asked), adapter.transform_documents(answers)
    np.testing.assert_allclose(np.linalg.norm(queries, axis=1), 1, atol=1e-5)
    rank = (queries @ documents.T >= np.diag(queries @ documents.T)[:, None]).sum(1)
    assert adapter.score(asked, answers) == pytest.approx((1 / rank).mean())
    base = WordEncoder()
    similar = base.encode(asked, "query") @ base.encode(answers, "document").T
    untrained = (1 / (similar >= similar.diag()[:, None]).sum(1)).mean()
    assert adapter.score(asked, answers) > float(untrained) + 0.2
    assert cross_val_score(TextAdapter(**FAST), QUERIES[:20], DOCUMENTS[:20], cv=2, error_score="raise").shape == (2,)


def test_all_kinds_of_graphs_are_read() -> None:
    edges = torch.tensor([[0, 1], [1, 0]])
    packed = Graphs.from_smiles(SMILES)
    pyg = [Data(x=torch.randn(2, 3), edge_index=edges) for _ in range(4)]
    for rows in (SMILES, np.array(SMILES, object), packed, [packed[[0, 1]], packed[[2, 3]]], GraphDataset("g", packed)):
        embedded = GraphEmbedder(**SMALL).fit(rows).transform(rows)
        assert len(embedded) == (4 if isinstance(rows, list) and isinstance(rows[0], Graphs) else len(SMILES))
    assert len(GraphEmbedder(**SMALL).fit_transform(pyg)) == 4


def test_it_is_the_encoder_that_pretrain_gives() -> None:
    graphs = Graphs.from_networkx(NETWORKS)
    embedder = GraphEmbedder(**SMALL, mask_ratio=0.4, options={"encoder.pooling": "mean"}, random_state=3).fit(NETWORKS)
    encoder = EncoderConfig(hidden=4, layers=1, pooling="mean")
    options = {"batch_size": 8, "progress": False, "seed": 3}
    config = PretrainConfig(epochs=1, encoder=encoder, masking=Masking(ratio=0.4), **options)
    expected = pretrain(GraphDataset("same", graphs), config).encoder.embed(graphs)
    np.testing.assert_array_equal(embedder.transform(NETWORKS), expected.numpy())


def test_an_encoder_of_the_package_needs_no_training() -> None:
    embedder = GraphEmbedder(encoder="molecules").fit(SMILES)
    assert embedder.diagnosis_ is None
    assert embedder.transform(["CCO"]).shape == (1, 640)
    again = GraphEmbedder(encoder=embedder.encoder_).fit(SMILES)
    np.testing.assert_array_equal(again.transform(SMILES), embedder.transform(SMILES))


def test_descriptors_are_those_of_rdkit_and_stand_beside_embeddings() -> None:
    descriptors = MoleculeDescriptors(jobs=1)
    frame = clone(descriptors).set_output(transform="pandas").fit_transform(SMILES)
    # Ethanol and benzene, by hand.
    assert frame["MolWt"][:2].tolist() == pytest.approx([46.069, 78.114])
    assert frame["NumAromaticRings"].tolist() == [0, 1, 0, 0, 0, 0]
    both = make_union(descriptors, GraphEmbedder(encoder="molecules"))
    model = make_pipeline(both, RandomForestRegressor(20, random_state=0)).fit(SMILES, [46, 78, 60, 45, 58, 84])
    assert both.transform(SMILES[:2]).shape == (2, frame.shape[1] + 640)
    assert 40 < model.predict(["CCO"])[0] < 60
    with pytest.raises(DataError, match="CC"):
        descriptors.fit(SMILES).transform(["CC("])


def test_a_preset_that_predicts_descriptors_of_molecules() -> None:
    assert GraphEmbedder(preset="molecules", **SMALL).fit(SMILES).transform(SMILES).shape == (len(SMILES), 8)
    with pytest.raises(ConfigError, match="node or graph where X are not SMILES"):
        GraphEmbedder(preset="molecules", **SMALL).fit(NETWORKS)


@pytest.mark.parametrize(
    ("X", "options", "said"),
    [
        ([], {}, "X: no samples"),
        ("CCO", {}, "X: not several samples"),
        ([1.0, 2.0], {}, r"X: not graphs that can be read \(found \['float'\]\)"),
        ([*NETWORKS, "CCO"], {}, "all of one kind"),
        (NETWORKS, {"layers": -1}, r"encoder\.layers = -1: expected at least 0"),
        (NETWORKS, {"options": {"encoder.hiden": 3}}, r"encoder\.hiden = 3: .*did you mean 'hidden'"),
        (NETWORKS, {"options": {"epochs.x": 3}}, r"epochs\.x = 3: expected an option"),
        (SMILES, {"encoder": "no-such-folder"}, "no-such-folder: there is no such folder or encoder"),
    ],
)
def test_what_cannot_be_is_refused(X: Any, options: dict[str, Any], said: str) -> None:
    with pytest.raises((ConfigError, DataError, ModelError), match=said):
        GraphEmbedder(**{**SMALL, **options}).fit(X)


def test_pairs_that_are_none_are_refused() -> None:
    adapter = TextAdapter(base=WordEncoder())
    with pytest.raises(DataError, match=r"y: not a document each \(found 1\); expected 2, as many as X"):
        adapter.fit(["a", "b"], ["c"])
    with pytest.raises(DataError, match=r"X\[1\]: not a text"):
        adapter.fit(["a", 2], ["c", "d"])
