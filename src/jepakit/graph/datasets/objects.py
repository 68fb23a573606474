"""Graphs from objects of other libraries: networkx, PyTorch Geometric."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor

from jepakit.errors import DataError
from jepakit.graph.data import Graphs
from jepakit.graph.datasets.assemble import to_dataset
from jepakit.graph.datasets.files import NodeLink, to_tables
from jepakit.graph.vocabulary import Vocabulary

if TYPE_CHECKING:
    from torch_geometric.data import Data

_SOURCE = Path("networkx")
"""Stands for a file in messages."""


class NetworkXGraph(Protocol):
    """What is read of a ``networkx.Graph`` of any kind."""

    graph: dict[str, Any]

    @property
    def nodes(self) -> Any:
        """A view of the nodes, called with ``data=True``."""
        ...

    @property
    def edges(self) -> Any:
        """A view of the edges, called with ``data=True``."""
        ...

    def is_directed(self) -> bool:
        """Whether edges have a direction."""
        ...


def from_networkx(
    graphs: NetworkXGraph | Sequence[NetworkXGraph], *, fill_missing: bool, vocabulary: Vocabulary | None
) -> Graphs:
    """See `jepakit.graph.Graphs.from_networkx`."""
    listed = graphs if isinstance(graphs, Sequence) else [graphs]
    records = [_record(index, graph) for index, graph in enumerate(listed)]
    tables = to_tables(_SOURCE, records)
    return to_dataset(tables, name="networkx", fill_missing=fill_missing, vocabulary=vocabulary).graphs


def _record(index: int, graph: NetworkXGraph) -> NodeLink:
    return NodeLink(
        file=_SOURCE,
        place=f"graphs[{index}].",
        directed=graph.is_directed(),
        attributes=graph.graph,
        nodes=[{**attributes, "id": node} for node, attributes in graph.nodes(data=True)],
        edges=[
            {**attributes, "source": source, "target": target} for source, target, attributes in graph.edges(data=True)
        ],
    )


def from_pyg(data: Data | Iterable[Data]) -> Graphs:
    """See `jepakit.graph.Graphs.from_pyg`."""
    from torch_geometric.data import Batch, Data

    listed: list[Data] = []
    edges: list[Tensor] = []
    given: Iterable[object] = [data] if isinstance(data, Data) else data
    for index, one in enumerate(data.to_data_list() if isinstance(data, Batch) else given):
        if not isinstance(one, Data):
            expected = "torch_geometric.data.Data; of several kinds of nodes, `to_homogeneous()` makes one"
            raise DataError("not a graph", field=f"data[{index}]", value=type(one).__name__, expected=expected)
        if one.edge_index is None:
            raise DataError("the graph has no edges", field=f"data[{index}].edge_index", expected="[2, E], E may be 0")
        listed.append(one)
        edges.append(one.edge_index)
    if not listed:
        raise DataError("no graphs", field="data", expected="at least one")
    sizes = torch.tensor([one.num_nodes for one in listed])
    start = sizes.cumsum(0) - sizes
    edge_index = torch.cat([ends + first for ends, first in zip(edges, start, strict=True)], dim=1)
    x, edge_attr = _rows("x", [one.x for one in listed]), _rows("edge_attr", [one.edge_attr for one in listed])
    y, node_y = _labels([None if one.y is None else torch.as_tensor(one.y) for one in listed], sizes)
    return Graphs.pack(
        torch.ones(int(sizes.sum()), 1) if x is None else x,
        edge_index,
        sizes,
        edge_attr=edge_attr,
        y=y,
        node_y=node_y,
        field_name="data",
    )


def _joined(name: str, values: Sequence[Tensor | None]) -> list[Tensor] | None:
    """The values, or None where no graph has one."""
    there = [value for value in values if value is not None]
    if not there:
        return None
    if len(there) < len(values):
        index = next(index for index, value in enumerate(values) if value is None)
        raise DataError("is missing", field=f"data[{index}].{name}", expected="a tensor for all graphs, or for none")
    return there


def _rows(name: str, values: Sequence[Tensor | None]) -> Tensor | None:
    """``[rows, columns]`` float of all graphs, or None; a tensor of one dimension is a column."""
    there = _joined(name, values)
    if there is None:
        return None
    tables = [value.reshape(len(value), -1).float() for value in there]
    for index, table in enumerate(tables):
        if table.shape[1] != tables[0].shape[1]:
            problem, expected = "features differ in their number", f"{tables[0].shape[1]} columns"
            raise DataError(problem, field=f"data[{index}].{name}", value=table.shape[1], expected=expected)
    return torch.cat(tables)


def _labels(values: Sequence[Tensor | None], sizes: Tensor) -> tuple[Tensor | None, Tensor | None]:
    """Labels of graphs and of nodes, one of which is None."""
    there = _joined("y", values)
    if there is None:
        return None, None
    counts = [value.numel() for value in there]
    whole = all(not value.is_floating_point() for value in there)
    if whole and counts == sizes.tolist() and max(counts) > 1:
        return None, torch.cat([value.reshape(-1).long() for value in there])
    if len(set(counts)) > 1:
        index = next(index for index, count in enumerate(counts) if count != counts[0])
        expected = f"{counts[0]} labels as in data[0], or a class for each node"
        raise DataError(
            "labels differ in their number", field=f"data[{index}].y", value=counts[index], expected=expected
        )
    table = torch.stack([value.reshape(-1) for value in there])
    return (table[:, 0].long() if whole and table.shape[1] == 1 else table.float()), None
