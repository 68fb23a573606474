"""Baselines without learning: Weisfeiler-Lehman (WL) kernels and summary statistics of graphs.

Colours are numbered by sorting instead of hashing, so different neighbourhoods never share a colour.
"""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
import torch
from numpy.typing import ArrayLike
from scipy import sparse
from scipy.sparse import csr_matrix

from jepakit.core.packed import gather_ranges, segment_sum
from jepakit.errors import ConfigError, DataError, require_choice
from jepakit.graph.data import Graphs
from jepakit.graph.probe.result import Floats, Ints

KernelKind = Literal["subtree", "optimal assignment"]

# Columns with a larger share of non-zeros are multiplied faster as dense columns.
_MAX_SPARSE_DENSITY = 0.05
_MAX_DENSE_ENTRIES = 20_000_000
_EXACT_DEGREES = 8


def wl_colors(
    graphs: Graphs, iterations: int, *, use_edges: bool = False, initial: ArrayLike | None = None
) -> list[Ints]:
    """WL colours of every node after 0, 1, ..., ``iterations`` rounds of refinement.

    A round gives two nodes the same new colour if and only if they have the same old colour and the same multiset of
    in-neighbour colours (with edge labels, if used). Colours do not depend on the order of nodes or graphs.

    Args:
        graphs: G graphs of N nodes in all.
        iterations: rounds, at least 0.
        use_edges: also refine by edge labels; the label of an edge is the argmax of its ``edge_attr``.
        initial: initial colours, ``[N]`` integers; by default the distinct rows of those columns of ``graphs.x`` that
            hold only 0 and 1, or one colour if ``x`` is constant.

    Returns:
        ``iterations + 1`` arrays ``[N]`` int64, each numbered from 0 without gaps.

    Raises:
        ConfigError: ``iterations`` is negative.
        DataError: the nodes have no initial colours, or ``use_edges`` is set without ``edge_attr``.

    Source: Shervashidze et al., "Weisfeiler-Lehman graph kernels", JMLR 2011, algorithm 1.
    """
    if iterations < 0:
        raise ConfigError("iterations", iterations, "at least 0")
    source, target = graphs.edge_index.cpu().numpy()
    in_degree = np.bincount(target, minlength=graphs.num_nodes)
    edge_label = np.zeros(len(source), dtype=np.int64)
    if use_edges:
        if graphs.edge_attr is None:
            expected = "[E, F_e], or use_edges=False"
            raise DataError("use_edges needs edge labels", field="graphs.edge_attr", expected=expected)
        edge_label = graphs.edge_attr.argmax(dim=1).cpu().numpy()
    colors = [_initial_colors(graphs, initial)]
    for _ in range(iterations):
        message = _pair_ids(colors[-1][source], edge_label)
        in_order = message[np.lexsort((message, target))]
        colors.append(_pair_ids(colors[-1], _sequence_ids(in_order, in_degree)))
    return colors


def wl_kernel_series(
    graphs: Graphs,
    iterations: int,
    *,
    kind: KernelKind,
    normalize: bool = False,
    use_edges: bool = False,
    initial: ArrayLike | None = None,
) -> list[Floats]:
    """A WL kernel after 0, 1, ..., ``iterations`` rounds, in about the time of the last alone.

    - ``subtree``: inner products of colour counts (Shervashidze et al., JMLR 2011, definition 4).
    - ``optimal assignment``: the sum over all colours of the smaller of two counts. It is the value of the best
      one-to-one assignment of nodes, with the number of rounds in which two colours agree as the value of a pair
      (Kriege et al., "On valid optimal assignment kernels", NeurIPS 2016, section 4).

    ``normalize`` divides by the square roots of both diagonal entries, so that ``K[g, g] = 1``; a graph without nodes
    keeps its row of zeros. Other arguments and errors as in `wl_colors`.

    Returns:
        ``iterations + 1`` matrices ``[G, G]`` float64, each the sum over the rounds so far.
    """
    require_choice("kind", kind, get_args(KernelKind))
    total, series = np.zeros((len(graphs), len(graphs))), []
    for colors in wl_colors(graphs, iterations, use_edges=use_edges, initial=initial):
        counts = _color_counts(graphs, colors)
        total = total + (_product(counts, counts) if kind == "subtree" else _intersection(counts))
        series.append(_cosine(total) if normalize else total)
    return series


def node_level_summary(graphs: Graphs) -> Floats:
    """Summary statistics of nodes and edges, as a baseline without a network: ``[G, 4 + 2 (B + F + F_e)]`` float64.

    Per graph: the numbers of nodes and directed edges, the mean degree and the density; then, as counts and as
    fractions, the histogram of in-degrees (0 to 7 exactly, then by powers of √2, B bins) and the sums of the columns of
    ``x`` and ``edge_attr``. Fractions of an empty graph are 0.
    """
    graphs = graphs.to("cpu")
    nodes, edges = graphs.nodes_per_graph.double()[:, None], graphs.edges_per_graph.double()[:, None]
    degrees, edge_attr = _one_hot_degrees(graphs), graphs.edge_attr
    per_node = segment_sum(torch.cat([degrees, graphs.x.double()], dim=1), graphs.node_ptr)
    per_edge = nodes[:, :0] if edge_attr is None else segment_sum(edge_attr.double(), graphs.edge_ptr)
    some_nodes, some_edges = nodes.clamp(min=1), edges.clamp(min=1)
    sizes = [nodes, edges, edges / some_nodes, edges / (nodes * (nodes - 1)).clamp(min=1)]
    return torch.cat([*sizes, per_node, per_edge, per_node / some_nodes, per_edge / some_edges], dim=1).numpy()


def _initial_colors(graphs: Graphs, initial: ArrayLike | None) -> Ints:
    if initial is None:
        return _label_ids(graphs)
    colors = np.asarray(initial)
    if colors.shape != (graphs.num_nodes,) or colors.dtype.kind not in "iu":
        value, expected = f"{colors.dtype} {list(colors.shape)}", f"integers [{graphs.num_nodes}]"
        raise DataError("not a colour for every node", field="initial", value=value, expected=expected)
    return np.unique(colors, return_inverse=True)[1]


def _label_ids(graphs: Graphs) -> Ints:
    x = graphs.x.cpu().numpy()
    labels = x[:, ((x == 0) | (x == 1)).all(axis=0)]
    if labels.shape[1]:
        return np.unique(labels, axis=0, return_inverse=True)[1].reshape(-1)
    varies = (x != x[:1]).any(axis=0)
    if varies.any():
        column = int(varies.argmax())
        raise DataError(
            "colours need discrete node labels, and no column is one-hot",
            field=f"graphs.x[:, {column}]",
            value=x[:3, column].tolist(),
            expected="0 or 1, or the option initial=",
        )
    return np.zeros(len(x), dtype=np.int64)


def _pair_ids(first: Ints, second: Ints) -> Ints:
    """Numbers the distinct pairs in lexicographic order, from 0 without gaps."""
    key = first * (second.max(initial=0) + 1) + second
    return np.unique(key, return_inverse=True)[1]


def _sequence_ids(values: Ints, lengths: Ints) -> Ints:
    """Numbers the distinct sequences; ``values`` are the sequences one after the other, of these ``lengths``.

    Each round replaces pairs of adjacent values by ids until all sequences have at most one value.
    """
    while lengths.max(initial=0) > 1:
        halved = (lengths + 1) // 2
        starts = np.cumsum(lengths) - lengths
        left = starts.repeat(halved) + 2 * _ranges(np.zeros_like(halved), halved)
        paired = left + 1 < (starts + lengths).repeat(halved)
        right = np.where(paired, values[np.where(paired, left + 1, left)] + 1, 0)
        values, lengths = _pair_ids(values[left], right), halved
    ids = np.zeros(len(lengths), dtype=np.int64)
    ids[lengths == 1] = values + 1
    return ids


def _color_counts(graphs: Graphs, colors: Ints) -> csr_matrix:
    shape = (len(graphs), int(colors.max(initial=-1)) + 1)
    owner = graphs.graph_of_node.cpu().numpy()
    # The values of repeated coordinates are added up, which counts them.
    return csr_matrix((np.ones(len(colors)), (owner, colors)), shape=shape)


def _intersection(counts: csr_matrix) -> Floats:
    """``K[g, h] = sum over columns of min(counts[g], counts[h])``, exactly.

    The distinct counts of a column, ascending, divide it into steps, as high as the difference to the count before. A
    count is the sum of the steps up to it, and min(a, b) the sum of the steps that a and b share.
    """
    graph, column, count = sparse.find(counts)
    order = np.lexsort((count, column))
    graph, column, count = graph[order], column[order], count[order]
    first = np.diff(column, prepend=-1) > 0
    new_step = first | (np.diff(count, prepend=0) > 0)
    step = np.cumsum(new_step) - 1
    height = (count - np.where(first, 0.0, np.roll(count, 1)))[new_step]
    lowest = step[first][np.cumsum(first) - 1]
    steps = step - lowest + 1
    coordinates = (graph.repeat(steps), _ranges(lowest, steps))
    shape = (counts.get_shape()[0], len(height))
    contains = csr_matrix((np.ones(int(steps.sum())), coordinates), shape=shape)
    return _product(contains.multiply(height).tocsr(), contains)


def _product(left: csr_matrix, right: csr_matrix) -> Floats:
    """``left @ right.T`` as a dense matrix; both have non-zeros at the same positions."""
    size = left.get_shape()[0]
    dense = left.getnnz(axis=0) > _MAX_SPARSE_DENSITY * size
    total = (left[:, ~dense] @ right[:, ~dense].T).toarray()
    columns = np.flatnonzero(dense)
    width = max(_MAX_DENSE_ENTRIES // max(size, 1), 1)
    for start in range(0, len(columns), width):
        block = columns[start : start + width]
        total += left[:, block].toarray() @ right[:, block].toarray().T
    return total


def _cosine(kernel: Floats) -> Floats:
    norm = np.sqrt(kernel.diagonal())
    inverse = np.divide(1.0, norm, out=np.zeros_like(norm), where=norm > 0)
    return kernel * inverse[:, None] * inverse


def _one_hot_degrees(graphs: Graphs) -> torch.Tensor:
    degree = graphs.in_degree
    # The exponent of the square is the number of half octaves, without the rounding error of a logarithm.
    half_octave = torch.frexp((degree.double() / _EXACT_DEGREES) ** 2).exponent - 1
    bins = torch.where(degree < _EXACT_DEGREES, degree, _EXACT_DEGREES + half_octave)
    return torch.nn.functional.one_hot(bins, int(bins.max()) + 1 if len(bins) else 1)


def _ranges(starts: Ints, lengths: Ints) -> Ints:
    return gather_ranges(torch.from_numpy(starts), torch.from_numpy(lengths)).numpy()
