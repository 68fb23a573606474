"""Molecules to RDKit's descriptors, as a scikit-learn transformer: what encoders are compared with."""

from __future__ import annotations

from typing import Self, cast

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils import Tags

from jepakit.graph.datasets.molecules.descriptors import descriptor_names, molecular_descriptors
from jepakit.sklearn.rows import texts_of


class MoleculeDescriptors(TransformerMixin, BaseEstimator):
    """The two-dimensional descriptors of RDKit, a column each. Nothing is learned.

    A random forest on them is a row of the tables of `jepakit.graph.evaluate`. Beside embeddings::

        features = make_union(MoleculeDescriptors(), GraphEmbedder(encoder="molecules"))
        model = make_pipeline(features, RandomForestRegressor()).fit(smiles, values)

    Args:
        jobs: processes; -1: one on every core.
    """

    def __init__(self, *, jobs: int = -1) -> None:
        self.jobs = jobs

    def fit(self, X: object, y: object = None) -> Self:
        """Looks at nothing.

        Raises:
            DataError: ``X`` are no texts.
        """
        texts_of("X", X)
        return self

    def transform(self, X: object) -> NDArray[np.float64]:
        """``[G, D]``; NaN where RDKit gives no finite number.

        Raises:
            DataError: a SMILES cannot be read.
        """
        return molecular_descriptors(texts_of("X", X), jobs=self.jobs)

    def get_feature_names_out(self, input_features: object = None) -> NDArray[np.object_]:
        """RDKit's names of the columns."""
        return np.array(descriptor_names(), dtype=object)

    def __sklearn_tags__(self) -> Tags:
        tags = cast(Tags, super().__sklearn_tags__())
        tags.input_tags.two_d_array, tags.input_tags.string, tags.no_validation = False, True, True
        tags.requires_fit = False
        return tags
