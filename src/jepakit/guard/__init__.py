"""Tool calls of agents, judged before they are carried out.

The names below are fetched when they are first used: a hook that only asks a server does not wait for them.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jepakit.guard.data import SCHEMA_VERSION, Call, Context, Edge, Origin, Tool, Trace
    from jepakit.guard.sources import load_tools, load_traces, trace_from, trace_schema

__all__ = [
    "SCHEMA_VERSION",
    "Call",
    "Context",
    "Edge",
    "Origin",
    "Tool",
    "Trace",
    "load_tools",
    "load_traces",
    "trace_from",
    "trace_schema",
]

#: Where the names stand; all others are in `jepakit.guard.data`.
_MODULES = {
    "load_tools": "jepakit.guard.sources",
    "load_traces": "jepakit.guard.sources",
    "trace_from": "jepakit.guard.sources",
    "trace_schema": "jepakit.guard.sources",
}


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(import_module(_MODULES.get(name, "jepakit.guard.data")), name)
    raise AttributeError(f"module 'jepakit.guard' has no attribute {name!r}")
