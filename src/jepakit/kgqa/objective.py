"""The JEPA of the kgqa system: that of `jepakit.graph.objective`, on subgraphs."""

from __future__ import annotations

from dataclasses import dataclass

from jepakit.errors import ConfigError
from jepakit.graph import objective


@dataclass
class ObjectiveConfig(objective.ObjectiveConfig):
    """Predicted embeddings, predictor, loss and regularisers, see `jepakit.graph.ObjectiveConfig`.

    A ``node`` is an entity and a ``graph`` a subgraph; subgraphs have no descriptors.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        if "descriptor" in self.predict:
            raise ConfigError("predict", self.predict, "node, graph, or both: subgraphs have no descriptors")
