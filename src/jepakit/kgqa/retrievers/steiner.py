"""The prize-collecting Steiner tree: a connected part of a graph with large prizes and few, cheap edges."""

from __future__ import annotations

import importlib
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jepakit.errors import MissingExtraError, ModelError
from jepakit.kgqa.data import Ids

Numbers = NDArray[np.float64]


def steiner_tree(edges: Ids, prizes: Numbers, costs: Numbers, clusters: int = 1) -> tuple[Ids, Ids]:
    """A tree, or a forest, with a large sum of prizes minus costs of edges.

    The approximation of Goemans and Williamson (1995) with strong pruning, as Hegde et al. (2015) implement it: costs
    plus prizes missed are at most twice those of the best tree.

    Args:
        edges: ``[E, 2]``, nodes of each.
        prizes: of each node, ``[n]``, not negative.
        costs: of each edge, ``[E]``, not negative.
        clusters: most trees of the forest.

    Returns:
        The nodes and the edges of the forest, each ascending.

    Raises:
        MissingExtraError: pcst-fast2 is not installed.
        ModelError: the solver that is installed gives a wrong answer.
    """
    nodes, chosen = _solver()(np.ascontiguousarray(edges, np.int64), prizes, costs, -1, clusters, "strong", 0)
    return np.sort(nodes).astype(np.int64), np.sort(chosen).astype(np.int64)


@cache
def _solver() -> Any:
    """The solver, after a test: builds of `pcst_fast` for NumPy 1 return one index again and again under NumPy 2."""
    try:
        solver = importlib.import_module("pcst_fast").pcst_fast
    except ModuleNotFoundError as error:
        raise MissingExtraError("pcst-fast2", "kgqa") from error
    check_solver(solver)
    return solver


def check_solver(solver: Any) -> None:
    """Solves a case with a known answer.

    A path 0 - 1 - 2 - 3 with prizes 5, 0, 6 and 0.5, costs 1, 2 and 3: the best tree has the nodes 0, 1, 2.

    Raises:
        ModelError: the answer is another.
    """
    edges = np.array([[0, 1], [1, 2], [2, 3]])
    nodes, chosen = solver(edges, np.array([5.0, 0, 6, 0.5]), np.array([1.0, 2, 3]), -1, 1, "strong", 0)
    found = sorted(np.asarray(nodes).tolist()), sorted(np.asarray(chosen).tolist())
    if found != ([0, 1, 2], [0, 1]):
        raise ModelError(
            f"the module pcst_fast finds the nodes {found[0]} and the edges {found[1]}, where the best tree has nodes "
            "[0, 1, 2] and edges [0, 1]: it is a wrong build, as pcst_fast 1.0.10 is under NumPy 2; "
            "pip uninstall pcst_fast, then pip install --force-reinstall pcst-fast2"
        )
