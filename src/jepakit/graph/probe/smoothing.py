"""Node features smoothed along the edges: what neighbours tell without a network."""

from __future__ import annotations

from torch import Tensor

from jepakit.graph.data import Graphs
from jepakit.graph.networks.messages import Messages


def smoothed_features(graphs: Graphs, steps: int = 2) -> Tensor:
    """``Â^k X`` with ``Â = D^-½ (A + I) D^-½``, the features of SGC (Wu et al. 2019, eq. 8), ``[N, F]``.

    Args:
        graphs: with edges in both directions; their features are ignored.
        steps: k.
    """
    messages, x = Messages(graphs), graphs.x.float()
    own = 1 / (messages.degree + 1).to(x.dtype)[:, None]
    for _ in range(steps):
        x = messages.sum_neighbors(x, messages.gcn_weight) + own * x
    return x
