"""What graphs give away without learning: Weisfeiler-Lehman kernels and summary statistics, the floors of every table.

Colours are exact: two nodes share a colour if and only if refinement cannot tell them apart, with no hash in between.
"""

from __future__ import annotations

from types import ModuleType
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from jepakit.core.packed import gather_ranges, segment_sum
from jepakit.errors import ConfigError, DataError, MissingExtraError, require_choice
from jepakit.graph.data import Graphs

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

__all__ = [
    "node_level_summary",
    "wl_colors",
    "wl_histogram",
    "wl_kernel_series",
    "wl_optimal_assignment_kernel",
    "wl_subtree_kernel",
]

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

KernelKind = Literal["subtree", "optimal assignment"]

# A colour that more than this share of the graphs have costs less as a dense column than as a sparse one.
_DENSE_SHARE = 0.05
_DENSE_ENTRIES = 20_000_000
_EXACT_DEGREES = 8


def wl_colors(
    graphs: Graphs, iterations: int, *, use_edges: bool = False, initial: ArrayLike | None = None
) -> list[Ints]:
    """Weisfeiler-Lehman colours of every node after 0, 1, ..., ``iterations`` rounds of refinement.

    A round gives two nodes the same new colour exactly when their old colours and the multisets of the colours of their
    in-neighbours (with the labels of the edges, if used) agree. Colours mean the same in every graph of the set, and
    numbering the nodes or graphs differently does not change them.

    Args:
        graphs: the set, G graphs of N nodes in all.
        iterations: rounds of refinement, at least 0.
        use_edges: refine by edge labels too; the label of an edge is the largest column of its ``edge_attr``.
        initial: colours to start from, ``[N]`` integers; by default the node labels, that is the distinct rows of the
            columns of ``graphs.x`` that hold only 0 and 1 (attributes in other columns are no labels), and all alike
            where ``x`` is constant.

    Returns:
        ``iterations + 1`` arrays ``[N]`` int64, each numbered from 0 without gaps.

    Raises:
        ConfigError: ``iterations`` is negative.
        DataError: ``x`` varies but has no such column and no ``initial`` is given, ``initial`` is not ``[N]`` integers,
            or ``use_edges`` without ``edge_attr``.

    Source: Shervashidze et al., "Weisfeiler-Lehman graph kernels", JMLR 2011, algorithm 1.
    """
    if iterations < 0:
        raise ConfigError("iterations", iterations, "at least 0")
    source, target = graphs.edge_index.cpu().numpy()
    in_degree = np.bincount(target, minlength=graphs.num_nodes)
    edge_label = _edge_labels(graphs) if use_edges else np.zeros(len(source), dtype=np.int64)
    colors = [_initial_colors(graphs, initial)]
    for _ in range(iterations):
        message = _pair_ids(colors[-1][source], edge_label)
        in_order = message[np.lexsort((message, target))]
        colors.append(_pair_ids(colors[-1], _sequence_ids(in_order, in_degree)))
    return colors


def wl_histogram(
    graphs: Graphs, iterations: int, *, use_edges: bool = False, initial: ArrayLike | None = None
) -> csr_matrix:
    """How often each colour of `wl_colors` occurs in each graph, all rounds 0 to ``iterations`` side by side.

    Returns:
        ``[G, number of colours]`` float64 counts; arguments and errors as in `wl_colors`.
    """
    rounds = wl_colors(graphs, iterations, use_edges=use_edges, initial=initial)
    return _sparse().hstack([_color_counts(graphs, colors) for colors in rounds], format="csr")


def wl_subtree_kernel(
    graphs: Graphs,
    iterations: int,
    *,
    normalize: bool = False,
    use_edges: bool = False,
    initial: ArrayLike | None = None,
) -> Floats:
    """The WL subtree kernel ``[G, G]``: inner products of the colour counts of `wl_histogram`.

    Arguments and errors as in `wl_kernel_series`. Source: Shervashidze et al., JMLR 2011, definition 4.
    """
    return wl_kernel_series(
        graphs, iterations, kind="subtree", normalize=normalize, use_edges=use_edges, initial=initial
    )[-1]


def wl_optimal_assignment_kernel(
    graphs: Graphs,
    iterations: int,
    *,
    normalize: bool = False,
    use_edges: bool = False,
    initial: ArrayLike | None = None,
) -> Floats:
    """The WL optimal assignment kernel ``[G, G]``: for two graphs, the sum over all colours of the smaller count.

    This is the value of the best one-to-one assignment of their nodes where a pair is worth the number of rounds in
    which its colours agree. Arguments and errors as in `wl_kernel_series`.

    Source: Kriege et al., "On valid optimal assignment kernels", NeurIPS 2016, section 4.
    """
    return wl_kernel_series(
        graphs, iterations, kind="optimal assignment", normalize=normalize, use_edges=use_edges, initial=initial
    )[-1]


def wl_kernel_series(
    graphs: Graphs,
    iterations: int,
    *,
    kind: KernelKind,
    normalize: bool = False,
    use_edges: bool = False,
    initial: ArrayLike | None = None,
) -> list[Floats]:
    """The kernel after 0, 1, ..., ``iterations`` rounds, for about the price of the last alone.

    Args:
        graphs: the set, G graphs.
        iterations: rounds of refinement, at least 0.
        kind: ``"subtree"`` or ``"optimal assignment"``.
        normalize: divide by the square roots of both diagonal entries, so that ``K[g, g] = 1``; a graph without nodes
            keeps its row of zeros.
        use_edges: see `wl_colors`.
        initial: see `wl_colors`.

    Returns:
        ``iterations + 1`` matrices ``[G, G]`` float64, each the sum over the rounds so far; whole numbers, exact, where
        not normalised.

    Raises:
        ConfigError, DataError: as `wl_colors`, and for an unknown ``kind``.
    """
    require_choice("kind", kind, ("subtree", "optimal assignment"))
    total, series = np.zeros((len(graphs), len(graphs))), []
    for colors in wl_colors(graphs, iterations, use_edges=use_edges, initial=initial):
        counts = _color_counts(graphs, colors)
        total = total + (_product(counts, counts) if kind == "subtree" else _intersection(counts))
        series.append(_cosine(total) if normalize else total)
    return series


def node_level_summary(graphs: Graphs) -> Floats:
    """What can be counted without looking past a node and its edges: the floor that needs no network.

    Per graph: the numbers of nodes and of directed edges, the mean degree, the density, then as counts and as
    fractions the histogram of in-degrees (0 to 7 exactly, then by powers of √2), the sums of the columns of ``x`` and
    of ``edge_attr``. Fractions of an empty graph are 0.

    Args:
        graphs: the set, G graphs with F node and F_e edge features.

    Returns:
        ``[G, 4 + 2 (B + F + F_e)]`` float64, B the number of degree bins up to the largest degree in the set.
    """
    nodes = graphs.nodes_per_graph.cpu().numpy().astype(np.float64)
    edges = graphs.edges_per_graph.cpu().numpy().astype(np.float64)
    columns = [_sums_within(_one_hot_degrees(graphs), graphs.node_ptr), _sums_within(graphs.x, graphs.node_ptr)]
    per_node = np.concatenate(columns, axis=1)
    per_edge = (
        np.zeros((len(graphs), 0)) if graphs.edge_attr is None else _sums_within(graphs.edge_attr, graphs.edge_ptr)
    )
    some_nodes, some_edges = np.maximum(nodes, 1), np.maximum(edges, 1)
    shape = [nodes, edges, edges / some_nodes, edges / np.maximum(nodes * (nodes - 1), 1)]
    return np.concatenate(
        [np.stack(shape, axis=1), per_node, per_edge, per_node / some_nodes[:, None], per_edge / some_edges[:, None]],
        axis=1,
    )


def _initial_colors(graphs: Graphs, initial: ArrayLike | None) -> Ints:
    if initial is None:
        return _label_ids(graphs)
    colors = np.asarray(initial)
    if colors.shape != (graphs.num_nodes,) or colors.dtype.kind not in "iu":
        raise DataError(
            "not a colour for every node",
            field="initial",
            value=f"{colors.dtype} {list(colors.shape)}",
            expected=f"integers [{graphs.num_nodes}]",
        )
    return np.unique(colors, return_inverse=True)[1]


def _label_ids(graphs: Graphs) -> Ints:
    x = graphs.x.cpu().numpy()
    labels = x[:, ((x == 0) | (x == 1)).all(axis=0)]
    if labels.shape[1] == 0 and len(x) > 0 and (x != x[0]).any():
        column = int((x != x[0]).any(axis=0).argmax())
        raise DataError(
            "colours need discrete node labels, and no column is one-hot",
            field=f"graphs.x[:, {column}]",
            value=x[:3, column].tolist(),
            expected="0 or 1; otherwise pass the labels as initial=",
        )
    if labels.shape[1] == 0:
        return np.zeros(len(x), dtype=np.int64)
    return np.unique(labels, axis=0, return_inverse=True)[1].reshape(-1)


def _edge_labels(graphs: Graphs) -> Ints:
    if graphs.edge_attr is None:
        raise DataError(
            "use_edges needs edge labels", field="graphs.edge_attr", expected="[E, F_e], or use_edges=False"
        )
    return graphs.edge_attr.argmax(dim=1).cpu().numpy()


def _pair_ids(first: Ints, second: Ints) -> Ints:
    """Numbers the distinct pairs in lexicographic order, from 0 without gaps."""
    key = first * (second.max(initial=0) + 1) + second
    return np.unique(key, return_inverse=True)[1]


def _sequence_ids(values: Ints, lengths: Ints) -> Ints:
    """Numbers the distinct sequences among ``values`` cut into pieces of ``lengths``.

    Neighbours within a sequence are merged into one id until no sequence is longer than one, so that the longest
    sequence costs only its logarithm in rounds and the work is linear in ``values``.
    """
    while lengths.max(initial=0) > 1:
        halved = (lengths + 1) // 2
        starts = np.cumsum(lengths) - lengths
        left = starts.repeat(halved) + 2 * _gather_ranges(np.zeros_like(halved), halved)
        paired = left + 1 < (starts + lengths).repeat(halved)
        right = np.where(paired, values[np.where(paired, left + 1, left)] + 1, 0)
        values, lengths = _pair_ids(values[left], right), halved
    ids = np.zeros(len(lengths), dtype=np.int64)
    ids[lengths == 1] = values + 1
    return ids


def _color_counts(graphs: Graphs, colors: Ints) -> csr_matrix:
    shape = (len(graphs), int(colors.max(initial=-1)) + 1)
    owner = graphs.graph_of_node.cpu().numpy()
    # Building from coordinates adds up the repeated ones, which is the count.
    return _sparse().csr_matrix((np.ones(len(colors)), (owner, colors)), shape=shape)


def _intersection(counts: csr_matrix) -> Floats:
    """``K[g, h] = sum over columns of min(counts[g], counts[h])``, exactly.

    A count is written as the steps of a ladder below it, min(a, b) being the height of the steps that a and b share.
    Only the counts that occur in a column are steps, each as high as its distance from the one before.
    """
    graph, column, count = _sparse().find(counts)
    order = np.lexsort((count, column))
    graph, column, count = graph[order], column[order], count[order]
    first = np.diff(column, prepend=-1) > 0
    new_step = first | (np.diff(count, prepend=0) > 0)
    step = np.cumsum(new_step) - 1
    height = (count - np.where(first, 0.0, np.roll(count, 1)))[new_step]
    lowest = step[first][np.cumsum(first) - 1]
    climbed = step - lowest + 1
    ladder = _sparse().csr_matrix(
        (np.ones(int(climbed.sum())), (graph.repeat(climbed), _gather_ranges(lowest, climbed))),
        shape=(counts.get_shape()[0], len(height)),
    )
    return _product(ladder.multiply(height).tocsr(), ladder)


def _product(left: csr_matrix, right: csr_matrix) -> Floats:
    """``left @ right.T`` as a dense matrix; both have their non-zeros at the same places."""
    size = left.get_shape()[0]
    wide = left.getnnz(axis=0) > _DENSE_SHARE * size
    total = (left[:, ~wide] @ right[:, ~wide].T).toarray()
    columns = np.flatnonzero(wide)
    block = max(_DENSE_ENTRIES // max(size, 1), 1)
    for start in range(0, len(columns), block):
        some = columns[start : start + block]
        total += left[:, some].toarray() @ right[:, some].toarray().T
    return total


def _cosine(kernel: Floats) -> Floats:
    norm = np.sqrt(kernel.diagonal())
    inverse = np.divide(1.0, norm, out=np.zeros_like(norm), where=norm > 0)
    return kernel * inverse[:, None] * inverse


def _one_hot_degrees(graphs: Graphs) -> torch.Tensor:
    degree = graphs.in_degree.cpu()
    # The exponent of the square counts half octaves, without the rounding of a logarithm.
    half_octave = torch.frexp((degree.double() / _EXACT_DEGREES) ** 2).exponent - 1
    bins = torch.where(degree < _EXACT_DEGREES, degree, _EXACT_DEGREES + half_octave)
    return torch.nn.functional.one_hot(bins, int(bins.max()) + 1 if len(bins) else 1)


def _sums_within(values: torch.Tensor, ptr: torch.Tensor) -> Floats:
    return segment_sum(values.double(), ptr).cpu().numpy()


def _gather_ranges(starts: Ints, lengths: Ints) -> Ints:
    return gather_ranges(torch.from_numpy(starts), torch.from_numpy(lengths)).numpy()


def _sparse() -> ModuleType:
    try:
        import scipy.sparse
    except ImportError as error:
        raise MissingExtraError("scipy", "graph") from error
    return scipy.sparse
