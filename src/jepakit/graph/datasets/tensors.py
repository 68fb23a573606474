"""A `GraphDataset` as named tensors, for `jepakit.datasets.cache`."""

from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from jepakit.datasets.cache import Stored
from jepakit.graph.data import GraphDataset, Graphs
from jepakit.graph.vocabulary import Vocabulary


def dataset_to_tensors(dataset: GraphDataset) -> Stored:
    """Tensors and a header for `dataset_from_tensors`.

    Float tensors of small whole numbers (one-hot features) become bytes, a quarter of the size; the header names them.
    """
    graphs = {f"graphs.{name}": values for name, values in dataset.graphs.tensors().items()}
    tensors: dict[str, Tensor] = {**graphs, **{f"splits.{name}": ids for name, ids in dataset.splits.items()}}
    vocabulary = dataset.graphs.vocabulary
    as_bytes = {name: value.to(torch.uint8) for name, value in tensors.items() if value.dtype == torch.float32}
    compact = {name: value for name, value in as_bytes.items() if torch.equal(value.float(), tensors[name])}
    header = {
        "name": dataset.name,
        "task": dataset.task,
        "label_names": list(dataset.label_names),
        "source": dataset.source,
        "splits": list(dataset.splits),
        "compact": sorted(compact),
        "vocabulary": None if vocabulary is None else asdict(vocabulary),
    }
    return {**tensors, **compact}, header


def dataset_from_tensors(tensors: dict[str, Tensor], header: dict[str, Any]) -> GraphDataset:
    """The dataset of `dataset_to_tensors`; tensors under other names are ignored."""
    full = {name: value.float() if name in header["compact"] else value for name, value in tensors.items()}
    graphs = {name.removeprefix("graphs."): value for name, value in full.items() if name.startswith("graphs.")}
    names = header["vocabulary"]
    return GraphDataset(
        name=header["name"],
        graphs=Graphs(**graphs, vocabulary=None if names is None else Vocabulary.from_json(names)),  # pyright: ignore[reportArgumentType]
        task=header["task"],
        label_names=tuple(header["label_names"]),
        splits={name: full[f"splits.{name}"] for name in header["splits"]},
        source=header["source"],
    )
