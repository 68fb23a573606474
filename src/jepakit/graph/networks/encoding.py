"""Structural encodings: features of a node's position in its graph, computed from the edges alone.

They do not depend on the order of the nodes, on the signs or basis of eigenvectors, or on other graphs of the set.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Literal, get_args

import numpy as np
import torch
from scipy.sparse import coo_array
from torch import Tensor
from torch.nn import functional as F

from jepakit.core.packed import RowLists, gather_ranges, offsets, positions
from jepakit.errors import ConfigError, DataError, require_choice
from jepakit.graph.data import Graphs

Encoding = Literal["none", "degree", "random_walk", "laplacian", "combined"]

# A block of so many float32 (1 MiB) stays in a core's cache through all steps of a walk.
_WALK_BLOCK_CELLS = 2**18
_WALK_MIN_COLUMNS = 32

# In larger graphs Lanczos iterations find the smallest eigenvalues faster than LAPACK finds all.
_MAX_DENSE_NODES = 256
# Eigenvectors beyond the requested ones, so that the last eigenspace is complete.
_SPARE_EIGENVECTORS = 4
_LANCZOS_RESTARTS = 500
_EIGENVALUE_TOLERANCE = 1e-9
# `_operator` moves the trivial eigenvalue 1 to -3; all others are in [-1, 1].
_TRIVIAL_BELOW = -2.0


def with_position(graphs: Graphs, kind: Encoding, size: int) -> Graphs:
    """The graphs with ``position`` set to an encoding, ``[N, size]`` float, or to None for the kind ``none``.

    ``combined`` is random walk, Laplacian and degree side by side, the last two with ``size // 3`` columns each.

    Raises:
        ConfigError: an unknown kind, or a size too small for it.
        DataError: see `laplacian`.
    """
    require_choice("position", kind, get_args(Encoding))
    if kind == "none":
        return replace(graphs, position=None)
    smallest = 3 if kind == "combined" else 1
    if size < smallest:
        raise ConfigError("position_size", size, f"at least {smallest} for position = {kind!r}")
    if kind == "combined":
        third = size // 3
        parts = [random_walk(graphs, size - 2 * third), laplacian(graphs, third), degree(graphs, third)]
        return replace(graphs, position=torch.cat(parts, dim=1))
    encode = {"degree": degree, "random_walk": random_walk, "laplacian": laplacian}[kind]
    return replace(graphs, position=encode(graphs, size))


def degree(graphs: Graphs, size: int) -> Tensor:
    """``[N, size]``: log(1 + d) of the in-degree d, then d one-hot, the last column for all greater d."""
    d = graphs.in_degree
    logarithm = d.float().log1p().unsqueeze(1)
    if size == 1:
        return logarithm
    return torch.cat([logarithm, F.one_hot(d.clamp(max=size - 2), size - 1)], dim=1)


def random_walk(graphs: Graphs, size: int) -> Tensor:
    """Return probabilities of a random walk after 1, ..., ``size`` steps.

    RWSE of Dwivedi et al. 2022 (arXiv:2110.07875): column k - 1 is the diagonal of ``(D^-1 A)^k``, ``[N, size]`` float.
    A walk goes from the target of an edge to its source. It ends at a node without incoming edges, so isolated nodes
    have zeros.

    A graph of n nodes and e edges takes ``size * n * e`` multiplications. Memory is linear in nodes and edges: column j
    of a block holds the walks to the j-th node of every graph, so no matrix of size n x n is stored.
    """
    out = torch.zeros(graphs.num_nodes, size, device=graphs.device)
    for part, nodes in _parts_of_like_size(graphs, _WALK_BLOCK_CELLS):
        out[nodes] = _return_probabilities(part, size)
    return out


def _return_probabilities(graphs: Graphs, steps: int) -> Tensor:
    source, arrivals = graphs.edge_index[0], graphs.in_degree
    arriving = RowLists(offsets(arrivals), source)
    share = arrivals.clamp(min=1).float().reciprocal().unsqueeze(1)
    column = positions(graphs.nodes_per_graph)
    out = torch.zeros(graphs.num_nodes, steps, device=graphs.device)
    widest = int(graphs.nodes_per_graph.max())
    columns = max(_WALK_BLOCK_CELLS // graphs.num_nodes, _WALK_MIN_COLUMNS)
    for first in range(0, widest, columns):
        width = min(columns, widest - first)
        node = ((column >= first) & (column < first + width)).nonzero().squeeze(1)
        own = column[node] - first
        walk = torch.zeros(graphs.num_nodes, width, device=graphs.device)
        walk[node, own] = 1
        for k in range(steps):
            walk = arriving.sum(walk).mul_(share)
            out[node, k] = walk[node, own]
    return out


def laplacian(graphs: Graphs, size: int) -> Tensor:
    """Magnitudes of the first eigenvectors of the normalised Laplacian: ``[N, size]`` float.

    For each graph, the eigenvectors v of ``I - D^-1/2 A D^-1/2`` with the ``size`` smallest non-zero eigenvalues
    (Dwivedi et al. 2020, arXiv:2003.00982); those of eigenvalue 0 contain only components and degrees. The sign of an
    eigenvector and the basis of an eigenspace are arbitrary, so the columns are ``sqrt(n) |v|``, root mean square over
    the eigenspace of v, with mean square 1 over a graph. Edges are undirected. A graph with fewer eigenvectors has
    zeros in the remaining columns.

    Graphs of up to a few hundred nodes are solved densely, larger graphs by Lanczos iterations in memory linear in
    nodes and edges. If these find only part of an eigenspace, as in a complete graph, its columns are zeros, because
    the part depends on the order of the nodes.

    Raises:
        DataError: the iteration does not converge, because eigenvalues of a large graph are too close to each other.
    """
    cpu = graphs.to("cpu")
    out = torch.zeros(cpu.num_nodes, size)
    dense_nodes = max(_MAX_DENSE_NODES, 4 * (size + _SPARE_EIGENVECTORS))
    # Two graphs of more than dense_nodes exceed this number of cells, so a large graph is a part of its own.
    for part, nodes in _parts_of_like_size(cpu, dense_nodes**2):
        owner = part.graph_of_node
        if int(part.nodes_per_graph.max()) <= dense_nodes:
            values, squares = _dense_spectrum(part)
        else:
            graph_id = int(torch.searchsorted(cpu.node_ptr, nodes[:1], right=True)) - 1
            values, squares = _lanczos_spectrum(part, size + _SPARE_EIGENVECTORS, graph_id)
        squares = _mean_within_eigenspaces(values, squares, owner)
        scale = part.nodes_per_graph.unsqueeze(1) * (values > _TRIVIAL_BELOW)
        kept = min(size, values.shape[1])
        out[nodes, :kept] = (squares * scale[owner])[:, :kept].sqrt().float()
    return out.to(graphs.device)


def _operator(graphs: Graphs) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """``D^-1/2 A D^-1/2 - 4 sum_c u_c u_c^T``, whose eigenvalues are 1 minus those of the Laplacian, 0 becoming -3.

    The null vectors u_c of the Laplacian, one per connected component c, are ``sqrt(d_v / vol(c))`` on the nodes of c.
    Returns row, column and weight of the first term, and for each node its entry of u_c and its component c.
    """
    from scipy.sparse.csgraph import connected_components

    row, column = torch.cat([graphs.edge_index, graphs.edge_index.flip(0)], dim=1)
    d = torch.bincount(row, minlength=graphs.num_nodes).double() / 2
    weight = 0.5 * (d[row] * d[column]).rsqrt()
    matrix = coo_array((weight.numpy(), (row.numpy(), column.numpy())), shape=(graphs.num_nodes,) * 2)
    component = torch.as_tensor(connected_components(matrix, directed=False)[1]).long()
    volume = torch.zeros(graphs.num_nodes, dtype=torch.double).index_add(0, component, d)[component]
    null = torch.where(d > 0, d / volume, 1.0).sqrt()
    return row, column, weight, null, component


def _dense_spectrum(graphs: Graphs) -> tuple[Tensor, Tensor]:
    """All eigenvalues ``[G, n]``, descending, and squared eigenvectors ``[N, n]``, n nodes in the largest graph."""
    row, column, weight, null, component = _operator(graphs)
    owner, index = graphs.graph_of_node, positions(graphs.nodes_per_graph)
    shape = (len(graphs), int(graphs.nodes_per_graph.max()))
    block = torch.zeros(*shape, shape[1], dtype=torch.double)
    block.index_put_((owner[row], index[row], index[column]), weight, accumulate=True)
    # Padding nodes are like isolated nodes: each is a component of its own, with a trivial eigenvalue.
    padded_null = torch.ones(shape, dtype=torch.double).index_put((owner, index), null)
    padded_component = (-1 - torch.arange(shape[0] * shape[1])).view(shape).index_put((owner, index), component)
    together = padded_component.unsqueeze(1) == padded_component.unsqueeze(2)
    block -= 4 * together * padded_null.unsqueeze(1) * padded_null.unsqueeze(2)
    values, vectors = torch.linalg.eigh(block)
    return values.flip(1), vectors.flip(2)[owner, index].square()


def _lanczos_spectrum(graph: Graphs, count: int, graph_id: int) -> tuple[Tensor, Tensor]:
    """The ``count`` largest eigenvalues of one graph ``[1, count]``, descending, and squared eigenvectors."""
    from scipy.sparse.linalg import ArpackNoConvergence, aslinearoperator, eigsh

    row, column, weight, null, component = (tensor.numpy() for tensor in _operator(graph))
    n = graph.num_nodes
    matrix = coo_array((weight, (row, column)), shape=(n, n)).tocsr()
    nulls = coo_array((2 * null, (np.arange(n), component))).tocsr()
    operator = aslinearoperator(matrix) - aslinearoperator(nulls) @ aslinearoperator(nulls.T.tocsr())
    try:
        values, vectors = eigsh(
            operator,
            k=count,
            which="LA",
            ncv=min(n, max(64, 2 * count)),
            v0=np.random.default_rng(0).standard_normal(n),
            maxiter=_LANCZOS_RESTARTS,
        )
    except ArpackNoConvergence as error:
        problem, expected = (
            "the eigenvectors of its Laplacian did not converge",
            "the encoding random_walk for this data",
        )
        raise DataError(problem, field=f"graph {graph_id}", value=f"{n} nodes", expected=expected) from error
    order = torch.from_numpy(values).argsort(descending=True)
    eigenvalues = torch.from_numpy(values)[order].unsqueeze(0)
    complete = eigenvalues > eigenvalues[:, -1:] + _EIGENVALUE_TOLERANCE
    return eigenvalues, torch.from_numpy(vectors)[:, order].square() * complete


def _mean_within_eigenspaces(values: Tensor, squares: Tensor, owner: Tensor) -> Tensor:
    """Replaces ``squares`` (``[N, K]``) by their mean over columns of equal eigenvalue (``values``, ``[G, K]``)."""
    steps = (values.diff(dim=1).abs() > _EIGENVALUE_TOLERANCE).long()
    space = F.pad(steps.cumsum(1), (1, 0))
    dimension = torch.zeros_like(values).scatter_add(1, space, torch.ones_like(values))
    mean = torch.zeros_like(squares).scatter_add(1, space[owner], squares) / dimension[owner].clamp(min=1)
    return mean.gather(1, space[owner])


def _parts_of_like_size(graphs: Graphs, cells: int) -> Iterator[tuple[Graphs, Tensor]]:
    """Batches of graphs of similar size, without features, each with the ids of its nodes in ``graphs``.

    The adjacency matrices of a batch of several graphs, padded to the largest, have at most ``cells`` entries.
    """
    bare = Graphs(graphs.x[:, :0], graphs.edge_index, graphs.node_ptr, graphs.edge_ptr)
    sizes, order = graphs.nodes_per_graph.sort(stable=True)
    for first, last in _runs(sizes.tolist(), cells):
        ids = order[first:last]
        yield bare[ids], gather_ranges(graphs.node_ptr[ids], graphs.nodes_per_graph[ids])


def _runs(sizes: list[int], cells: int) -> Iterator[tuple[int, int]]:
    """Cuts ascending sizes, after any zeros, into runs that differ by at most a quarter and fit into ``cells``."""
    first = sizes.count(0)
    for last in range(first + 1, len(sizes) + 1):
        if last == len(sizes) or sizes[last] > 1.25 * sizes[first] or (last + 1 - first) * sizes[last] ** 2 > cells:
            yield first, last
            first = last
