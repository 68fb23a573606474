"""What neighbours tell of a node without a network: features and labels that spread along the edges."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from jepakit.graph.data import Graphs
from jepakit.graph.networks.messages import Messages
from jepakit.graph.probe.nodes import checked_nodes
from jepakit.graph.probe.resampling import resampled_accuracy, resamples_of
from jepakit.graph.probe.result import (
    Array,
    Chosen,
    Floats,
    Ints,
    ProbeResult,
    checked_labels,
    checked_rows,
    summarize_classes,
)
from jepakit.graph.words import word_weights

SHARES = (0.5, 0.8, 0.9, 0.99)
FEW_SHARE = 0.9
SMOOTHING_STEPS = 2
SPREAD_STEPS, RESTART = 20, 0.1
_MAX_STEPS, _TOLERANCE = 1000, 1e-6


def smoothed_features(graphs: Graphs, steps: int = SMOOTHING_STEPS) -> Tensor:
    """``Â^k X`` with ``Â = D^-½ (A + I) D^-½``, the features of SGC (Wu et al. 2019, eq. 8), ``[N, F]``.

    Args:
        graphs: with edges in both directions; their features are ignored.
        steps: k.
    """
    messages, x = Messages(graphs), graphs.x.float()
    for _ in range(steps):
        x = messages.smooth(x)
    return x


def spread_features(graphs: Graphs, steps: int = SPREAD_STEPS, restart: float = RESTART) -> Tensor:
    """Features of length 1 spread by personalised PageRank: ``Z ← (1 - α) Â Z + α X``, from ``Z = X``, ``[N, F]``.

    This is the propagation of APPNP (Gasteiger et al. 2019, eq. 4) without its network.

    Args:
        graphs: with edges in both directions; their features are ignored.
        steps: how often.
        restart: α.
    """
    return Messages(graphs).spread(F.normalize(graphs.x.float(), dim=1), steps, restart)


def rare_words(graphs: Graphs) -> Graphs:
    """The graphs with each feature above 0 replaced by the logarithm of N over the number of nodes that have it.

    This is TF-IDF without counts, for bags of words. A feature that every node has becomes 0.
    """
    return replace(graphs, x=(graphs.x > 0).float() * word_weights(graphs.x))


def principal_components(x: Tensor, count: int) -> Tensor:
    """The rows in terms of their first principal components, ``[N, min(count, N, F)]``.

    Args:
        x: ``[N, F]``.
        count: components, found by a randomised decomposition with a fixed seed.
    """
    with torch.random.fork_rng():
        torch.manual_seed(0)
        u, size, _ = torch.pca_lowrank(x, q=min(count + 10, *x.shape), niter=6)
    return (u * size)[:, :count]


def spread_labels(graphs: Graphs, node_y: Array, labelled: Ints, share: float) -> Floats:
    """Label propagation: the fixed point of ``F = a S F + (1 - a) Y``, ``S = D^-½ A D^-½``, ``[N, classes]``.

    ``Y`` is the one-hot label of the ``labelled`` nodes and zero elsewhere; other labels are not read (Zhou et al.
    2003).

    Args:
        graphs: with edges in both directions; their features are ignored.
        node_y: classes, ``[N]`` integers.
        labelled: node ids.
        share: a, the share that comes from neighbours, in [0, 1).
    """
    y, messages = checked_labels(node_y, "node_y"), Messages(graphs)
    classes = np.unique(y[labelled])
    given = torch.zeros(len(y), int(classes.max()) + 1)
    given[labelled, y[labelled]] = 1 - share
    scale = messages.degree.clamp(min=1).float().rsqrt()[:, None]
    found = given
    for _ in range(_MAX_STEPS):
        following = given + share * scale * messages.sum_neighbors(scale * found)
        change, found = float((following - found).abs().max()), following
        if change < _TOLERANCE * (1 - share):
            break
    return found.double().numpy()


def probe_spread_labels(
    graphs: Graphs, node_y: Array, splits: Mapping[str, Array], *, resamples: int = 0
) -> ProbeResult:
    """Test accuracy of `spread_labels` from the training nodes; the share is selected on the validation nodes.

    A node that no label reaches is given the most frequent training class. Arguments and errors as in
    `jepakit.graph.probe.nodes.probe_nodes`.
    """
    y, (train, val, test) = checked_nodes(node_y, splits)
    found = [_predicted(graphs, y, train, share) for share in SHARES]
    best = int(np.argmax([(predicted[val] == y[val]).mean() for predicted in found]))
    pairs = resamples_of(train, test, resamples, y)
    halves = [_predicted(graphs, y, half, SHARES[best])[test] for half, _ in pairs]
    replicates = resampled_accuracy(y, test, pairs, halves)
    chosen: list[Chosen] = [{"share": SHARES[best]}]
    return summarize_classes("none", [y[test]], [found[best][test]], chosen, 1, replicates=replicates)


def probe_few_spread_labels(graphs: Graphs, node_y: Array, labelled: Sequence[Ints], *, test: Array) -> ProbeResult:
    """`probe_spread_labels` from each of several sets of labelled nodes, with a share of 0.9."""
    y = checked_labels(node_y, "node_y")
    rows = checked_rows(test, len(y), "test")
    predicted = [_predicted(graphs, y, train, FEW_SHARE)[rows] for train in labelled]
    chosen: list[Chosen] = [{"share": FEW_SHARE}] * len(labelled)
    return summarize_classes("none", [y[rows]] * len(labelled), predicted, chosen, parts=len(labelled))


def _predicted(graphs: Graphs, y: Ints, train: Ints, share: float) -> Ints:
    scores = spread_labels(graphs, y, train, share)
    reached = scores.max(axis=1) > 0
    return np.where(reached, scores.argmax(axis=1), np.bincount(y[train]).argmax())
