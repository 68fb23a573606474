"""Sets of graphs, packed end to end in flat tensors, so that a batch is one gather and needs no loop."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, Literal

import torch
from numpy.typing import NDArray
from torch import Tensor

from jepakit.core.packed import offsets, offsets_of_kept, owners, select_groups
from jepakit.errors import DataError
from jepakit.graph.vocabulary import Vocabulary

if TYPE_CHECKING:
    from torch_geometric.data import Data

    from jepakit.graph.datasets.objects import NetworkXGraph

Task = Literal["graph classification", "graph multilabel", "graph regression", "node classification", "none"]

PER_NODE = ("x", "node_y", "position", "patch", "hidden_nodes", "node_type", "degree", "roots")
PER_EDGE = ("edge_attr", "edge_type")
"""Fields of `Graphs` with a row for each node, and for each edge."""
_OPTIONAL = (
    "edge_attr",
    "edge_type",
    "descriptors",
    "y",
    "node_y",
    "position",
    "patch",
    "node_type",
    "degree",
    "roots",
)
"""What `concatenate` joins, if all parts have it."""
Rows = Tensor | NDArray[Any]


@dataclass(frozen=True, eq=False)
class Graphs:
    """A set of graphs, packed: graph ``g`` owns nodes ``node_ptr[g]:node_ptr[g + 1]``.

    Edges are directed pairs of packed node ids, sorted by graph, then target, then source; an undirected edge is listed
    twice. With G graphs, N nodes and E edges in all:

    Args:
        x: node features, ``[N, F]`` float.
        edge_index: ``[2, E]`` int64, row 0 the source and row 1 the target.
        node_ptr: ``[G + 1]`` int64.
        edge_ptr: ``[G + 1]`` int64; graph ``g`` owns edges ``edge_ptr[g]:edge_ptr[g + 1]``.
        edge_attr: edge features, ``[E, F_e]`` float, or None.
        descriptors: properties of whole graphs to predict, ``[G, D]`` float, NaN where missing, or None.
        y: graph labels: ``[G]`` int64 classes, -1 where unlabelled; or ``[G, T]`` float for T tasks, NaN where
            unlabelled; or None.
        node_y: node classes ``[N]`` int64, -1 where unlabelled, or None.
        position: structural encodings ``[N, P]`` float, or None; see `jepakit.graph.networks.encoding`.
        patch: METIS patch of each node within its graph, ``[N]`` int64, or None; see `jepakit.graph.masking`.
        hidden_nodes: nodes whose features an encoder must not see, ``[N]`` bool, or None.
        node_type: kind of each node, ``[N]`` int64, or None.
        edge_type: kind of each edge, such as a relation, ``[E]`` int64, or None.
        degree: number of edges that end in each node in the graph of which this is a part, ``[N]``; None: all are here.
        roots: the nodes whose embeddings are wanted, ``[N]`` bool; None: all. The others are there for their messages.
        vocabulary: what the columns of ``x`` and ``edge_attr`` are; None where only their position says so.
    """

    x: Tensor
    edge_index: Tensor
    node_ptr: Tensor
    edge_ptr: Tensor
    edge_attr: Tensor | None = None
    descriptors: Tensor | None = None
    y: Tensor | None = None
    node_y: Tensor | None = None
    position: Tensor | None = None
    patch: Tensor | None = None
    hidden_nodes: Tensor | None = None
    node_type: Tensor | None = None
    edge_type: Tensor | None = None
    degree: Tensor | None = None
    roots: Tensor | None = None
    vocabulary: Vocabulary | None = None

    def __len__(self) -> int:
        return self.node_ptr.numel() - 1

    @property
    def num_nodes(self) -> int:
        """N."""
        return self.x.shape[0]

    @property
    def num_edges(self) -> int:
        """E."""
        return self.edge_index.shape[1]

    @property
    def nodes_per_graph(self) -> Tensor:
        """Number of nodes of each graph, ``[G]`` int64."""
        return self.node_ptr.diff()

    @property
    def edges_per_graph(self) -> Tensor:
        """Number of directed edges of each graph, ``[G]`` int64."""
        return self.edge_ptr.diff()

    @property
    def graph_of_node(self) -> Tensor:
        """The graph of each node, ``[N]`` int64."""
        return owners(self.nodes_per_graph, self.num_nodes)

    @property
    def in_degree(self) -> Tensor:
        """Number of edges that end in each node, ``[N]`` int64."""
        return torch.bincount(self.edge_index[1], minlength=self.num_nodes)

    @property
    def incoming_ptr(self) -> Tensor:
        """The first of the edges that end in each node, then E: ``[N + 1]`` int64."""
        known = self.degree
        # Without a node that lacks edges, they need not be counted.
        if known is not None and not known.is_floating_point() and int(known.sum()) == self.num_edges:
            return offsets(known)
        return offsets(self.in_degree)

    @property
    def device(self) -> torch.device:
        """The device of all tensors."""
        return self.x.device

    def __getitem__(self, index: Tensor | Sequence[int] | slice | int) -> Graphs:
        """The graphs at ``index`` (ids, a boolean mask, a slice), in that order, as a new packed set."""
        ids = self._graph_ids(index)
        nodes, node_ptr = select_groups(self.node_ptr, ids)
        edges, edge_ptr = select_groups(self.edge_ptr, ids)
        shift = (node_ptr[:-1] - self.node_ptr[ids])[owners(edge_ptr.diff(), len(edges))]
        edge_index = self.edge_index[:, edges] + shift
        kept = self._take(nodes, *PER_NODE) | self._take(edges, *PER_EDGE) | self._take(ids, "descriptors", "y")
        return replace(self, **kept, edge_index=edge_index, node_ptr=node_ptr, edge_ptr=edge_ptr)

    def induced(self, keep: Tensor) -> Graphs:
        """The subgraphs induced by the nodes where ``keep`` (``[N]`` bool) is true; graphs stay, even when emptied."""
        rest = self.with_edges(keep[self.edge_index].all(0))
        edge_index, node_ptr = (keep.cumsum(0) - 1)[rest.edge_index], offsets_of_kept(self.node_ptr, keep)
        return replace(rest, **rest._take(keep, *PER_NODE), edge_index=edge_index, node_ptr=node_ptr)

    def with_edges(self, keep: Tensor) -> Graphs:
        """The same nodes with the edges where ``keep`` (``[E]`` bool) is true.

        Of a part of a graph, ``degree`` becomes what is expected where the whole loses edges as the part does.
        """
        edge_index, edge_ptr = self.edge_index[:, keep], offsets_of_kept(self.edge_ptr, keep)
        kept = self._take(keep, *PER_EDGE)
        if self.degree is not None:
            before, after = self.in_degree, torch.bincount(edge_index[1], minlength=self.num_nodes)
            # Of a node whose edges are elsewhere, the share that is lost is that of all edges here.
            share = keep.double().mean() if keep.numel() else 1.0
            kept["degree"] = torch.where(before > 0, self.degree * after / before.clamp(min=1), self.degree * share)
        return replace(self, edge_index=edge_index, edge_ptr=edge_ptr, **kept)

    def to(self, device: torch.device | str) -> Graphs:
        """The same graphs with all tensors on ``device``."""
        return replace(self, **{name: value.to(device) for name, value in self.tensors().items()})

    def tensors(self) -> dict[str, Tensor]:
        """Those that are not None, by name."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return {name: value for name, value in values.items() if isinstance(value, Tensor)}

    def _graph_ids(self, index: Tensor | Sequence[int] | slice | int) -> Tensor:
        if isinstance(index, slice):
            return torch.arange(len(self), device=self.device)[index]
        ids = torch.as_tensor(index, device=self.device)
        if ids.dtype == torch.bool:
            return ids.nonzero().squeeze(1)
        ids = ids.long().reshape(-1)
        outside = (ids < -len(self)) | (ids >= len(self))
        if outside.any():
            expected = f"from {-len(self)} to {len(self) - 1}" if len(self) else "nothing: the set is empty"
            raise DataError("no such graph", field="index", value=int(ids[outside][0]), expected=expected)
        return ids % max(len(self), 1)

    def _take(self, rows: Tensor, *names: str) -> dict[str, Any]:
        values = {name: getattr(self, name) for name in names}
        return {name: None if value is None else value[rows] for name, value in values.items()}

    @classmethod
    def from_networkx(
        cls,
        graphs: NetworkXGraph | Sequence[NetworkXGraph],
        *,
        fill_missing: bool = False,
        vocabulary: Vocabulary | None = None,
    ) -> Graphs:
        """Graphs of networkx, by the rules of `jepakit.graph.datasets.files.load_graph_files`.

        Attributes of nodes and edges are features, ``label`` or ``y`` of a graph its label.

        Args:
            graphs: one or several, all directed or all undirected.
            fill_missing: accept missing attributes.
            vocabulary: that of the encoder which is to read them.

        Raises:
            DataError: an attribute is missing or unsupported, or a graph has no nodes.
        """
        from jepakit.graph.datasets.objects import from_networkx

        return from_networkx(graphs, fill_missing=fill_missing, vocabulary=vocabulary)

    @classmethod
    def from_pyg(cls, data: Data | Iterable[Data]) -> Graphs:
        """Graphs of PyTorch Geometric: a ``Data``, a ``Batch``, or several ``Data``.

        ``x`` and ``edge_attr`` become float, without ``x`` there is a column of ones. ``y`` is a class for each graph
        (whole numbers), a class for each node, or targets (floats). An undirected edge is in ``edge_index`` twice, as
        it is there. Other attributes are left out. Columns have no names: an encoder takes them by their position.

        Raises:
            DataError: a tensor is missing in some graphs, or shapes differ.
        """
        from jepakit.graph.datasets.objects import from_pyg

        return from_pyg(data)

    @classmethod
    def from_smiles(cls, smiles: Sequence[str]) -> Graphs:
        """Molecules with the features of `jepakit.graph.datasets.molecules.features`, as `load_molecules` has them.

        Raises:
            DataError: RDKit rejects a SMILES, which is named by its place.
            MissingExtraError: RDKit is not installed.
        """
        from jepakit.graph.datasets.molecules.load import graphs_from_smiles

        return graphs_from_smiles(smiles)

    @classmethod
    def pack(
        cls,
        x: Rows,
        edge_index: Rows,
        nodes_per_graph: Rows,
        *,
        edge_attr: Rows | None = None,
        edge_type: Rows | None = None,
        y: Rows | None = None,
        node_y: Rows | None = None,
        node_type: Rows | None = None,
        vocabulary: Vocabulary | None = None,
        field_name: str = "graphs",
    ) -> Graphs:
        """Builds a packed set from node rows grouped by graph and edges in any order, and checks it.

        Args:
            x: ``[N, F]``, nodes sorted by graph; like the others a tensor or a numpy array.
            edge_index: ``[2, E]`` packed node ids in any order; an undirected edge is given in both directions.
            nodes_per_graph: ``[G]``.
            edge_attr: ``[E, F_e]`` in the order of ``edge_index``.
            edge_type: ``[E]`` in the order of ``edge_index``.
            y: see `Graphs`, as for ``node_y``.
            node_y: node classes.
            node_type: kinds of the nodes.
            vocabulary: names of the columns of ``x`` and ``edge_attr``.
            field_name: the name of the data in error messages.

        Raises:
            DataError: an edge joins two graphs or names a missing node, the counts do not add up to N, a feature is not
                finite.
        """
        x, edge_index, nodes_per_graph = map(torch.as_tensor, (x, edge_index, nodes_per_graph))
        edge_attr, edge_type, y, node_y, node_type = (
            None if rows is None else torch.as_tensor(rows) for rows in (edge_attr, edge_type, y, node_y, node_type)
        )
        num_nodes = len(x)
        if (total := int(nodes_per_graph.sum())) != num_nodes:
            problem = "the nodes per graph do not add up to the rows of x"
            raise DataError(problem, field=field_name, value=total, expected=str(num_nodes))
        _check_finite(x, f"{field_name}.x")
        if edge_attr is not None:
            _check_finite(edge_attr, f"{field_name}.edge_attr")

        def refuse_edges(bad: Tensor, problem: str, expected: str) -> None:
            if bad.any():
                edge = int(bad.nonzero()[0])
                field, ends = f"{field_name}.edge_index[:, {edge}]", edge_index[:, edge].tolist()
                raise DataError(problem, field=field, value=ends, expected=expected)

        missing = ((edge_index < 0) | (edge_index >= num_nodes)).any(0)
        refuse_edges(missing, "an edge names a node that does not exist", f"node ids from 0 to {num_nodes - 1}")
        owner = owners(nodes_per_graph, num_nodes)
        source, target = edge_index
        refuse_edges(owner[source] != owner[target], "an edge joins two graphs", "both ends in one graph")
        order = torch.argsort(target * max(num_nodes, 1) + source, stable=True)
        return cls(
            x=x,
            edge_index=edge_index[:, order],
            node_ptr=offsets(nodes_per_graph),
            edge_ptr=offsets(torch.bincount(owner[target], minlength=len(nodes_per_graph))),
            edge_attr=None if edge_attr is None else edge_attr[order],
            edge_type=None if edge_type is None else edge_type[order],
            y=y,
            node_y=node_y,
            node_type=node_type,
            vocabulary=vocabulary,
        )


@dataclass(frozen=True, eq=False)
class Origins:
    """Where graphs come from: a row for each place that the files have for a graph, R in all.

    Args:
        columns: name -> a text or whole number for each row, such as ``file``, ``row`` (from 1), ``smiles`` and ``id``.
        graph: the graph of each row, ``[R]`` int64, -1 where it could not be read.
        problem: what is wrong with each row, empty where nothing is.
    """

    columns: Mapping[str, Sequence[str | int]]
    graph: Tensor
    problem: Sequence[str]

    @classmethod
    def of_all(cls, **columns: Sequence[str | int]) -> Origins:
        """Of files whose graphs could all be read."""
        count = len(next(iter(columns.values())))
        return cls(columns, torch.arange(count), [""] * count)


@dataclass(frozen=True, eq=False)
class GraphDataset:
    """A set of graphs with its name, task and splits.

    Args:
        name: as the user named it.
        graphs: the data.
        task: the kind of the labels.
        label_names: names of the classes (classification) or of the columns of ``y`` (multilabel, regression).
        splits: row numbers of ``train``, ``val`` and ``test``: graphs, or nodes for node classification.
        source: where the data come from, for reports.
        origins: where each graph comes from; None where its number says so.
        node_ids: the id that each node has in the file, ``[N]``; None where its number says so.
        label_candidates: columns that look like labels, where several do and none was chosen.
    """

    name: str
    graphs: Graphs
    task: Task = "none"
    label_names: tuple[str, ...] = ()
    splits: dict[str, Tensor] = field(default_factory=dict)
    source: str = ""
    origins: Origins | None = None
    node_ids: Sequence[str] | None = None
    label_candidates: tuple[str, ...] = ()


def concatenate(parts: Sequence[Graphs]) -> Graphs:
    """Joins sets with the same features into one; optional tensors that some of them lack are left out.

    Raises:
        DataError: their columns have other names.
    """
    vocabulary = parts[0].vocabulary
    if any(part.vocabulary != vocabulary for part in parts):
        expected = "the same attributes and categories; an encoder of one of them reads the others by name"
        raise DataError("the columns of the parts differ", field="vocabulary", expected=expected)
    node_shift = offsets(torch.tensor([part.num_nodes for part in parts]))

    def joined(name: str) -> Tensor | None:
        values = [getattr(part, name) for part in parts]
        return None if any(value is None for value in values) else torch.cat(values)

    return Graphs(
        x=torch.cat([part.x for part in parts]),
        edge_index=torch.cat([part.edge_index + at for part, at in zip(parts, node_shift[:-1], strict=True)], dim=1),
        node_ptr=offsets(torch.cat([part.nodes_per_graph for part in parts])),
        edge_ptr=offsets(torch.cat([part.edges_per_graph for part in parts])),
        **{name: joined(name) for name in _OPTIONAL},
        vocabulary=vocabulary,
    )


def _check_finite(values: Tensor, name: str) -> None:
    if torch.isfinite(values).all():
        return
    row, column = (~torch.isfinite(values)).nonzero()[0].tolist()
    place, expected = f"{name}[{row}, {column}]", "finite values; impute or drop them first"
    raise DataError(
        "a feature is not a finite number", field=place, value=float(values[row, column]), expected=expected
    )
