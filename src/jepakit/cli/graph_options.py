"""Options of ``jepakit graph``: what to read, for a new run or with an encoder."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from jepakit.cli.graph_source import Source
from jepakit.cli.places import saved_with_copies
from jepakit.errors import ConfigError, DataError
from jepakit.files.copies import fetched
from jepakit.graph.data import GraphDataset
from jepakit.graph.datasets import load_dataset
from jepakit.graph.encoder import GraphEncoder
from jepakit.training import RunFolder

_LOG = logging.getLogger(__name__)


@dataclass
class DataOptions:
    """What to read.

    Args:
        dataset: ``python`` (built in), a name such as PROTEINS, Cora or tox21, or a path; see the documentation.
        data_dir: folder in which names are looked up first; by default the one JEPAKIT_DATA names.
        smiles_column: the one with the SMILES in a table of molecules; by default ``smiles``, in upper or lower case.
        label_columns: the labels in a table of molecules, in upper or lower case; by default the only column that looks
            like labels.
        fill_missing: in node-link JSON, GraphML and Parquet, a missing attribute is 0, and a column says where.
    """

    dataset: str = "python"
    data_dir: Path | None = None
    smiles_column: str | None = None
    label_columns: list[str] | None = None
    fill_missing: bool = False

    def load(self, *, descriptors: bool = False, encoder: GraphEncoder | None = None) -> GraphDataset:
        """The data set that the options name.

        Args:
            descriptors: with the descriptors of molecules.
            encoder: the encoder that is to read it.
        """
        options = {name: getattr(self, name) for name in ("data_dir", "smiles_column", "label_columns", "fill_missing")}
        vocabulary = None if encoder is None else encoder.vocabulary
        return load_dataset(fetched(self.dataset), descriptors=descriptors, vocabulary=vocabulary, **options)


@dataclass
class RunDataOptions:
    """The encoder, and what it is to read.

    Args:
        run: a finished run, or an encoder alone: its folder, the name of one that comes with the package
            (``molecules``), or its id on a hub, ``USER/NAME``.
        dataset: other data of the same kind; by default the run's own.
        smiles_column: the one with the SMILES in a table of molecules; by default as in the run.
        label_columns: the labels in a table of molecules; by default as in the run for its own data, for others the
            only column that looks like labels.
        fill_missing: accept missing attributes, see ``graph pretrain``; always where the run did.
    """

    run: str | None = None
    dataset: str | None = None
    smiles_column: str | None = None
    label_columns: list[str] | None = None
    fill_missing: bool = False


def data_of(
    source: Source, options: RunDataOptions, encoder: GraphEncoder, *, label_columns: Sequence[str] | None = None
) -> GraphDataset:
    """The data that the options name, read as the run of the encoder, if it is of one, read its own.

    Args:
        source: of the encoder.
        options: of the command.
        encoder: the encoder.
        label_columns: instead of those of the options; empty: no labels of molecules.

    Raises:
        ConfigError: no data are named, and the encoder is of no run.
    """
    chosen = {} if source.run is None else _options_of(source.run)
    if options.dataset:
        chosen |= {"dataset": options.dataset, "label_columns": None}
        if encoder.vocabulary is None:
            problem = "%s is of a version that kept no names of columns: those of %s go by position"
            _LOG.warning(problem, source.given, options.dataset)
    elif source.run is None:
        raise ConfigError("dataset", None, f"a name or a path: {source.place} has no data of its own")
    for name in ("smiles_column", "label_columns"):
        if getattr(options, name) is not None:
            chosen[name] = getattr(options, name)
    chosen["fill_missing"] = options.fill_missing or chosen.get("fill_missing", False)
    if label_columns is not None:
        chosen["label_columns"] = list(label_columns)
    return DataOptions(**chosen).load(encoder=encoder)


def _options_of(run: RunFolder) -> dict[str, Any]:
    saved = run.read_config()
    if not isinstance(saved.get("dataset"), str):
        raise DataError("no data set is named", file=run.config, field="dataset", value=saved.get("dataset"))
    return saved_with_copies({field.name: saved[field.name] for field in fields(DataOptions) if field.name in saved})
