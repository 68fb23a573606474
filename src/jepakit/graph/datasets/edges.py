"""Edge lists as files give them, made into what message passing needs: no self-loops, no repeats, both directions."""

import numpy as np

__all__ = ["Edges", "add_missing_reverses", "both_directions", "drop_repeats"]

Edges = tuple[np.ndarray, np.ndarray | None]
"""``edge_index`` ``[2, E]`` int64 and ``edge_attr`` ``[E, F]`` float32 or None."""


def drop_repeats(edges: Edges, num_nodes: int) -> Edges:
    """Without self-loops and without repeats, sorted by source, then target.

    An edge repeats another one if it joins the same nodes in the same direction with the same features; parallel edges
    that differ in a feature stay.
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
    """Every edge and its reverse, which carries the same features.

    Args:
        edges: E edges, each standing once.
        mark: put two columns before the features, ``1, 0`` on an edge as it was given and ``0, 1`` on its reverse.
    """
    edge_index, edge_attr = edges
    forward = np.repeat(np.eye(2, dtype=np.float32), edge_index.shape[1], axis=0)
    doubled = None if edge_attr is None else np.concatenate([edge_attr, edge_attr])
    if mark:
        doubled = forward if doubled is None else np.concatenate([forward, doubled], axis=1)
    return np.concatenate([edge_index, edge_index[::-1]], axis=1), doubled


def add_missing_reverses(edges: Edges, num_nodes: int) -> Edges:
    """The edges and the reverse of each one between whose ends nothing runs the other way."""
    edge_index, edge_attr = edges
    key = np.sort(edge_index[0] * num_nodes + edge_index[1])
    reverse = edge_index[1] * num_nodes + edge_index[0]
    # Files with both directions are the rule, and comparing two sorted arrays is far cheaper than looking up each edge.
    if np.array_equal(key, np.sort(reverse)):
        return edges
    at = np.searchsorted(key, reverse)
    lacking = key[np.minimum(at, key.size - 1)] != reverse
    extra_index, extra_attr = _take((edge_index[::-1], edge_attr), lacking)
    joined = None if edge_attr is None or extra_attr is None else np.concatenate([edge_attr, extra_attr])
    return np.concatenate([edge_index, extra_index], axis=1), joined


def _take(edges: Edges, which: np.ndarray) -> Edges:
    edge_index, edge_attr = edges
    return edge_index[:, which], None if edge_attr is None else edge_attr[which]


def _equals_previous(rows: np.ndarray) -> np.ndarray:
    same = np.zeros(len(rows), dtype=bool)
    equal = rows[1:] == rows[:-1]
    same[1:] = equal if equal.ndim == 1 else equal.all(axis=1)
    return same
