"""Parts of a single graph, whose tensors may be mapped files: only the rows of the part are read."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from jepakit.errors import DataError
from jepakit.graph.data import PER_EDGE, PER_NODE, Graphs


def with_degree(graphs: Graphs) -> Graphs:
    """The same graphs, all of whose edges are here, with ``degree``: then `part_of` need not count it each time."""
    return graphs if graphs.degree is not None else replace(graphs, degree=graphs.in_degree)


def sources_of(graphs: Graphs, edges: Tensor | slice) -> Tensor:
    """Where some edges come from.

    Raises:
        DataError: from nowhere; what a mapped file holds has not been looked at before.
    """
    source = graphs.edge_index[0, edges]
    if source.numel() and (int(source.min()) < 0 or int(source.max()) >= graphs.num_nodes):
        problem = "an edge comes from a node that does not exist"
        expected = f"node numbers from 0 to {graphs.num_nodes - 1}; of a store, see what jepakit verify says"
        raise DataError(problem, field="graphs.edge_index", expected=expected)
    return source


def part_of(graphs: Graphs, nodes: Tensor, edges: Tensor) -> Graphs:
    """A part of a single graph, with the degree of each node in the whole.

    Args:
        graphs: a single graph.
        nodes: ``[n]`` int64, ascending.
        edges: ``[e]`` int64, ascending; both ends are among the nodes.

    Raises:
        DataError: an edge has an end that is not.
    """
    ends = graphs.edge_index[:, edges]
    local = torch.searchsorted(nodes, ends).clamp(max=max(len(nodes) - 1, 0))
    if not torch.equal(nodes[local], ends):
        expected = "edges between the nodes of the graph, sorted by target"
        raise DataError("an edge leads out of the part", field="graphs.edge_index", expected=expected)
    kept: dict[str, Any] = {name: _rows(graphs, name, nodes) for name in PER_NODE}
    kept |= {name: _rows(graphs, name, edges) for name in PER_EDGE}
    kept["degree"] = (graphs.in_degree if graphs.degree is None else graphs.degree)[nodes]
    node_ptr, edge_ptr = (torch.tensor([0, len(rows)]) for rows in (nodes, edges))
    return replace(graphs, **kept, edge_index=local, node_ptr=node_ptr, edge_ptr=edge_ptr)


def _rows(graphs: Graphs, name: str, rows: Tensor) -> Tensor | None:
    values: Tensor | None = getattr(graphs, name)
    return None if values is None else values[rows]
