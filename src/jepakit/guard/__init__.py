"""Tool calls of agents, judged before they are carried out.

The names below are fetched when they are first used: a hook that only asks a server does not wait for them.
"""

from typing import TYPE_CHECKING

from jepakit.lazy import lazy_names

if TYPE_CHECKING:
    from jepakit.guard.data import SCHEMA_VERSION, Call, Context, Edge, Origin, Tool, Trace
    from jepakit.guard.evaluate import EvaluateConfig, evaluate
    from jepakit.guard.model import GuardModel
    from jepakit.guard.objective import ObjectiveConfig
    from jepakit.guard.presets import PRESETS
    from jepakit.guard.pretrain import PretrainConfig, Pretrained, pretrain
    from jepakit.guard.sources import load_tools, load_traces, trace_from, trace_schema

__all__ = [
    "PRESETS",
    "SCHEMA_VERSION",
    "Call",
    "Context",
    "Edge",
    "EvaluateConfig",
    "GuardModel",
    "ObjectiveConfig",
    "Origin",
    "PretrainConfig",
    "Pretrained",
    "Tool",
    "Trace",
    "evaluate",
    "load_tools",
    "load_traces",
    "pretrain",
    "trace_from",
    "trace_schema",
]

#: Where the names stand.
_MODULES = {
    **dict.fromkeys(("SCHEMA_VERSION", "Call", "Context", "Edge", "Origin", "Tool", "Trace"), "jepakit.guard.data"),
    "PRESETS": "jepakit.guard.presets",
    "EvaluateConfig": "jepakit.guard.evaluate",
    "GuardModel": "jepakit.guard.model",
    "ObjectiveConfig": "jepakit.guard.objective",
    "PretrainConfig": "jepakit.guard.pretrain",
    "Pretrained": "jepakit.guard.pretrain",
    "evaluate": "jepakit.guard.evaluate",
    "load_tools": "jepakit.guard.sources",
    "load_traces": "jepakit.guard.sources",
    "pretrain": "jepakit.guard.pretrain",
    "trace_from": "jepakit.guard.sources",
    "trace_schema": "jepakit.guard.sources",
}


__getattr__ = lazy_names(__name__, _MODULES, extra="guard")
