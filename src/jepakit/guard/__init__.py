"""Tool calls of agents, judged before they are carried out."""

from jepakit.guard.data import SCHEMA_VERSION, Call, Context, Edge, Origin, Tool, Trace
from jepakit.guard.sources import load_traces, trace_from, trace_schema

__all__ = [
    "SCHEMA_VERSION",
    "Call",
    "Context",
    "Edge",
    "Origin",
    "Tool",
    "Trace",
    "load_traces",
    "trace_from",
    "trace_schema",
]
