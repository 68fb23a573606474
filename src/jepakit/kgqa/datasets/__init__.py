"""Where knowledge graphs and questions come from: `load_graph` and `load_splits`, by name or by place."""

from jepakit.kgqa.datasets.load import load_graph
from jepakit.kgqa.datasets.splits import load_splits

__all__ = ["load_graph", "load_splits"]
