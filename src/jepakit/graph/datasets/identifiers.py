"""Attributes that identify a node and say nothing about it: names given as labels, and ids given as numbers."""

import logging
import re
from collections.abc import Collection
from dataclasses import replace

import numpy as np
import pyarrow as pa

from jepakit.graph.datasets.tables import Rows

_LOG = logging.getLogger(__name__)

MIN_CLASSES = 10
"""With fewer classes, labels of which most nodes have their own can still be classes."""

_ID_NAMES = (
    *("id", "ids", "_id", "uid", "uuid", "identifier", "name", "node", "node_id", "nodeid", "index"),
    *("__index_level_0__", "unnamed: 0"),
)
_ID_PREFIX = re.compile(r"^(v|vertex|node|n)_(?=.)")
"""igraph writes the attribute ``name`` of a vertex under the key ``v_name``."""


def are_names(rows: Rows, attribute: str, classes: np.ndarray, num_classes: int) -> bool:
    """Whether labels are the names of the nodes, which is then said in a warning.

    They are if each of at least three nodes has its own, or there are more than `MIN_CLASSES` for more than half of the
    nodes.
    """
    own = num_classes == len(classes) >= 3 and bool((classes >= 0).all())
    if not own and num_classes <= max(MIN_CLASSES, len(classes) / 2):
        return False
    file, _ = rows.place(0)
    problem = f"{num_classes} different values for {len(classes)} nodes are names, not classes"
    _LOG.warning("%s: attribute %s: %s: left out, so it is no label of the nodes", file, attribute, problem)
    return True


def without_ids(rows: Rows, ids: pa.Array, *, but: Collection[str] = ()) -> Rows:
    """The attributes without those that number the nodes, each of which is named in a warning.

    Such an attribute is a different whole number for each node, and is either named like an id or equal to the ids of
    at least three nodes.

    Args:
        rows: the attributes of the nodes.
        ids: the ids of the nodes, strings or numbers.
        but: attributes that stay.
    """
    dropped = [name for name in rows.columns if name not in but and _numbers_the_nodes(rows, name, ids)]
    for name in dropped:
        problem = "a different whole number for each node, which is its id: left out of the features"
        _LOG.warning("%s: attribute %s: %s", rows.place(0)[0], name, problem)
    return replace(rows, columns={name: column for name, column in rows.columns.items() if name not in dropped})


def _numbers_the_nodes(rows: Rows, attribute: str, ids: pa.Array) -> bool:
    column = rows.columns[attribute]
    if column.null_count or not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type)):
        return False
    values = column.to_numpy(zero_copy_only=False)
    if not np.array_equal(values, np.round(values)) or len(np.unique(values)) < len(values):
        return False
    bare = _ID_PREFIX.sub("", attribute.strip().lower())
    if len(values) >= 2 and bare in _ID_NAMES:
        return True
    return len(values) >= 3 and np.array_equal(values.astype(float), _as_numbers(ids))


def _as_numbers(ids: pa.Array) -> np.ndarray:
    """The ids as numbers, without letters before them (``n0``), or nan where they are none."""
    if not (pa.types.is_string(ids.type) or pa.types.is_large_string(ids.type)):
        numeric = pa.types.is_integer(ids.type) or pa.types.is_floating(ids.type)
        return ids.to_numpy(zero_copy_only=False).astype(float) if numeric else np.full(len(ids), np.nan)
    found = [re.fullmatch(r"[A-Za-z_]*(-?\d{1,300})(\.0)?", text) for text in ids.to_pylist()]
    return np.array([float(match[1]) if match else np.nan for match in found])
