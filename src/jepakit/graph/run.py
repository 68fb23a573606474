"""A finished run of pre-training on graphs."""

from __future__ import annotations

from typing import ClassVar

from torch import nn

from jepakit.graph.encoder import GraphEncoder
from jepakit.training import TrainedRun


class GraphRun(TrainedRun[GraphEncoder]):
    """A run of ``jepakit graph pretrain``: ``GraphRun.open(run).encoder.embed(graphs)`` embeds."""

    kind: ClassVar[type[nn.Module]] = GraphEncoder
