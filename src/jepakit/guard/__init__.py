"""Tool calls of agents, judged before they are carried out."""

from jepakit.guard.data import SCHEMA_VERSION, Call, Context, Edge, Origin, Tool, Trace

__all__ = ["SCHEMA_VERSION", "Call", "Context", "Edge", "Origin", "Tool", "Trace"]
