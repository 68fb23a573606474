"""Graphs to vectors, as a scikit-learn transformer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, cast

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted

from jepakit.errors import ConfigError, DataError, ModelError
from jepakit.graph.data import GraphDataset, Graphs, concatenate
from jepakit.graph.encoder import GraphEncoder
from jepakit.graph.presets import preset
from jepakit.graph.pretrain import PretrainConfig, pretrain
from jepakit.graph.run import GraphRun
from jepakit.graph.vocabulary import Vocabulary
from jepakit.loading import load
from jepakit.sklearn.rows import listed
from jepakit.training.presets import with_options

if TYPE_CHECKING:
    from jepakit.graph.datasets.objects import NetworkXGraph

GraphLike = Graphs | GraphDataset | Sequence[Any]


class GraphEmbedder(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Pre-trains an encoder on graphs without labels, and embeds graphs.

    Graphs are SMILES, networkx graphs, PyTorch Geometric's ``Data``, or `jepakit.graph.Graphs`: a list, an array or a
    series of one of these. The encoder reads other graphs by the names of their attributes, where they have names. It
    never sees a label: ``y`` is ignored.

    Args:
        preset: the defaults of all options, a name in `jepakit.graph.PRESETS`.
        epochs: passes over the graphs; None: as in the preset, as for those below.
        batch_size: graphs in a step.
        learning_rate: of AdamW.
        conv: the layers: ``gin``, ``gcn``, ``gat`` or ``gps``.
        hidden: width of a layer.
        layers: how many.
        mask_ratio: share of the nodes that is masked.
        options: other options of `jepakit.graph.PretrainConfig`: dotted name -> value, such as
            ``{"encoder.pooling": "mean"}``.
        encoder: an encoder that is trained already: the name of one of the package (``"molecules"``), a run, an encoder
            folder, a hub id, or the encoder itself. `fit` then trains nothing, and the options above are not used.
        random_state: seed of training.

    Attributes:
        encoder_: the `jepakit.graph.GraphEncoder`.
        diagnosis_: whether its embeddings have collapsed, see `jepakit.core.diagnose`; None where nothing was trained.
    """

    encoder_: GraphEncoder
    _n_features_out: int

    def __init__(
        self,
        *,
        preset: str = "best",
        epochs: int | None = None,
        batch_size: int | None = None,
        learning_rate: float | None = None,
        conv: str | None = None,
        hidden: int | None = None,
        layers: int | None = None,
        mask_ratio: float | None = None,
        options: Mapping[str, Any] | None = None,
        encoder: str | Path | GraphEncoder | None = None,
        random_state: int = 0,
    ) -> None:
        self.preset, self.epochs, self.batch_size, self.learning_rate = preset, epochs, batch_size, learning_rate
        self.conv, self.hidden, self.layers, self.mask_ratio = conv, hidden, layers, mask_ratio
        self.options, self.encoder, self.random_state = options, encoder, random_state

    def fit(self, X: GraphLike, y: object = None) -> Self:
        """Pre-trains on the graphs, or opens the given encoder.

        Raises:
            ConfigError: an option has a value it cannot have.
            DataError: the graphs cannot be read, or are none.
            ModelError: the given encoder cannot be opened, or is none of graphs.
        """
        if self.encoder is None:
            config = self._config()
            graphs = _as_graphs(X, None, descriptors="descriptor" in config.objective.predict)
            pretrained = pretrain(GraphDataset("graphs", graphs), config)
            self.encoder_, self.diagnosis_ = pretrained.encoder, pretrained.diagnosis
        else:
            self.encoder_, self.diagnosis_ = _opened(self.encoder), None
            graphs = _as_graphs(X, self.encoder_.vocabulary)
        self._n_features_out = self.encoder_.embed(graphs[:1]).shape[1]
        return self

    def transform(self, X: GraphLike) -> NDArray[np.float32]:
        """The embeddings of graphs, ``[G, D]``.

        Raises:
            NotFittedError: `fit` was not called.
            DataError: the graphs cannot be read, or have other attributes than those of `fit`.
        """
        check_is_fitted(self)
        return self.encoder_.embed(_as_graphs(X, self.encoder_.vocabulary)).numpy()

    def __sklearn_tags__(self) -> Tags:
        tags = cast(Tags, super().__sklearn_tags__())
        tags.input_tags.two_d_array, tags.input_tags.string, tags.no_validation = False, True, True
        return tags

    def _config(self) -> PretrainConfig:
        given = {
            "epochs": self.epochs,
            "batch_size": self.batch_size,
            "learning_rate": self.learning_rate,
            "encoder.conv": self.conv,
            "encoder.hidden": self.hidden,
            "encoder.layers": self.layers,
            "masking.ratio": self.mask_ratio,
        }
        options = {name: value for name, value in given.items() if value is not None} | dict(self.options or {})
        return with_options(preset(self.preset, progress=False, seed=self.random_state), options)


def _opened(encoder: str | Path | GraphEncoder) -> GraphEncoder:
    found = encoder if isinstance(encoder, GraphEncoder) else load(encoder)
    if isinstance(found, GraphRun):
        return found.encoder
    if isinstance(found, GraphEncoder):
        return found
    raise ModelError(f"{encoder}: holds a {type(found).__name__}, no encoder of graphs")


def _as_graphs(X: GraphLike, vocabulary: Vocabulary | None, *, descriptors: bool = False) -> Graphs:
    """The graphs in one packed set; with descriptors, those of molecules."""
    if isinstance(X, Graphs | GraphDataset):
        return X if isinstance(X, Graphs) else X.graphs
    rows = listed("X", X, "graphs: SMILES, networkx graphs, PyTorch Geometric's Data, or jepakit.graph.Graphs")
    kinds = {_kind(row) for row in rows}
    kind = kinds.pop()
    if kinds or kind is None:
        names = sorted({type(row).__name__ for row in rows})
        expected = "SMILES, networkx graphs, PyTorch Geometric's Data, or jepakit.graph.Graphs, all of one kind"
        raise DataError("not graphs that can be read", field="X", value=names, expected=expected)
    if kind == "smiles":
        return _molecules(rows, descriptors=descriptors)
    if descriptors:
        raise ConfigError("options.objective.predict", "descriptor", "node or graph where X are not SMILES")
    if kind == "graphs":
        return concatenate(rows)
    return Graphs.from_pyg(rows) if kind == "pyg" else Graphs.from_networkx(rows, vocabulary=vocabulary)


def _molecules(smiles: Sequence[str], *, descriptors: bool) -> Graphs:
    graphs = Graphs.from_smiles(smiles)
    if not descriptors:
        return graphs
    from jepakit.graph.datasets.molecules.descriptors import molecular_descriptors

    return replace(graphs, descriptors=torch.from_numpy(molecular_descriptors(smiles)).float())


def _kind(row: NetworkXGraph | object) -> str | None:
    from torch_geometric.data import Data

    if isinstance(row, str):
        return "smiles"
    if isinstance(row, Graphs):
        return "graphs"
    if isinstance(row, Data):
        return "pyg"
    # networkx need not be installed where no graph is one of it.
    is_networkx = any(base.__module__.partition(".")[0] == "networkx" for base in type(row).__mro__)
    return "networkx" if is_networkx else None
