"""Edge lists from files, cleaned for message passing: no self-loops, no repeats, both directions."""

import numpy as np

Edges = tuple[np.ndarray, np.ndarray | None]
"""``edge_index`` ``[2, E]`` int64 and ``edge_attr`` ``[E, F]`` float32 or None."""


def drop_repeats(edges: Edges, num_nodes: int) -> Edges:
    """Removes self-loops and repeats, and sorts by source, then target.

    A repeat has the same source, target and features; parallel edges that differ in a feature stay.
    """
    edge_index, edge_attr = _take(edges, edges[0][0] != edges[0][1])
    key = edge_index[0] * num_nodes + edge_index[1]
    order = np.argsort(key, kind="stable")
    repeats = _equals_previous(key[order])
    if edge_attr is not None and repeats.any():
        order = np.lexsort((*edge_attr.T, key))
        repeats = _equals_previous(key[order]) & _equals_previous(edge_attr[order])
    return _take((edge_index, edge_attr), order[~repeats])


def both_directions(edges: Edges, *, mark: bool) -> Edges:
    """Every edge and its reverse, which has the same features.

    ``mark`` puts two columns before the features, ``1, 0`` for the edges and ``0, 1`` for the reverses.
    """
    edge_index, edge_attr = edges
    doubled = None if edge_attr is None else np.concatenate([edge_attr, edge_attr])
    if mark:
        direction = np.repeat(np.eye(2, dtype=np.float32), edge_index.shape[1], axis=0)
        doubled = direction if doubled is None else np.concatenate([direction, doubled], axis=1)
    return np.concatenate([edge_index, edge_index[::-1]], axis=1), doubled


def add_missing_reverses(edges: Edges, num_nodes: int) -> Edges:
    """The edges, and the reverses of those whose ends no edge joins in the other direction."""
    edge_index, edge_attr = edges
    key = np.sort(edge_index[0] * num_nodes + edge_index[1])
    reverse = edge_index[1] * num_nodes + edge_index[0]
    # Most files hold both directions, and comparing two sorted arrays is far cheaper than looking up each edge.
    if np.array_equal(key, np.sort(reverse)):
        return edges
    position = np.minimum(np.searchsorted(key, reverse), key.size - 1)
    extra_index, extra_attr = _take((edge_index[::-1], edge_attr), key[position] != reverse)
    joined = None if edge_attr is None or extra_attr is None else np.concatenate([edge_attr, extra_attr])
    return np.concatenate([edge_index, extra_index], axis=1), joined


def _take(edges: Edges, index: np.ndarray) -> Edges:
    edge_index, edge_attr = edges
    return edge_index[:, index], None if edge_attr is None else edge_attr[index]


def _equals_previous(rows: np.ndarray) -> np.ndarray:
    same = np.zeros(len(rows), dtype=bool)
    equal = rows[1:] == rows[:-1]
    same[1:] = equal if equal.ndim == 1 else equal.all(axis=1)
    return same
