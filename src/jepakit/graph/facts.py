"""What a report says of graphs and nodes when the reader points at them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from jepakit.graph.data import GraphDataset
from jepakit.graph.molecule_floors import smiles_of
from jepakit.training.results import PointFacts

#: Nodes beyond which they have no titles: the texts would be as large as the embeddings.
_MOST_NODES = 50_000


def graph_facts(dataset: GraphDataset, rows: Tensor) -> PointFacts:
    """Of some graphs: SMILES and drawing, or id or number; nodes and class; the first target, where it is a number."""
    graphs = dataset.graphs
    names = graph_names(dataset, rows)
    sizes = [f"{count} nodes" for count in graphs.nodes_per_graph[rows].tolist()]
    if dataset.task == "graph classification" and graphs.y is not None:
        classes = [dataset.label_names[label] if label >= 0 else "no label" for label in graphs.y[rows].tolist()]
        sizes = [f"{size}\nclass {name}" for size, name in zip(sizes, classes, strict=True)]
    values = None
    if dataset.task == "graph regression" and graphs.y is not None:
        values = graphs.y[rows].float()
        values = values if values.ndim == 1 else values[:, 0]
    return PointFacts(
        titles=tuple(f"{name}\n{size}" for name, size in zip(names, sizes, strict=True)),
        drawings=graph_drawings(dataset, rows),
        values=values,
        value_name=dataset.label_names[0] if values is not None and dataset.label_names else "",
    )


def node_facts(dataset: GraphDataset) -> PointFacts:
    """Of all nodes: their ids or numbers, and their degrees; nothing of a large graph."""
    graphs = dataset.graphs
    if graphs.num_nodes > _MOST_NODES:
        return PointFacts()
    ids: Sequence[object] = range(graphs.num_nodes) if dataset.node_ids is None else dataset.node_ids
    degree = torch.bincount(graphs.edge_index[0], minlength=graphs.num_nodes).tolist()
    titles = (f"node {name}\ndegree {count}" for name, count in zip(ids, degree, strict=True))
    return PointFacts(titles=tuple(titles))


def graph_names(dataset: GraphDataset, rows: Tensor) -> list[str]:
    """The SMILES, the id, or the number of each of some graphs, from 0."""
    names = smiles_of(dataset)
    if names is None and dataset.origins is not None and "id" in dataset.origins.columns:
        pairs = zip(dataset.origins.columns["id"], dataset.origins.graph.tolist(), strict=True)
        names = [str(name) for name, graph in pairs if graph >= 0]
    return [f"graph {row}" if names is None else names[row] for row in rows.tolist()]


def graph_drawings(dataset: GraphDataset, rows: Tensor) -> tuple[str, ...]:
    """The drawing of each of some graphs; none where the graphs are no molecules."""
    smiles = smiles_of(dataset)
    if smiles is None:
        return ()
    from jepakit.graph.datasets.molecules.drawing import molecule_drawings

    return molecule_drawings([smiles[row] for row in rows.tolist()])
