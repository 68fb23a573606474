"""Traces of other programs as `jepakit.guard.Trace`: OpenAI, LangChain, MCP, OpenTelemetry, AgentDojo, gold traces."""

from jepakit.guard.sources.loading import FORMATS, load_traces, trace_from
from jepakit.guard.sources.own import trace_schema, write_trace_schema
from jepakit.guard.sources.tools import load_tools

__all__ = ["FORMATS", "load_tools", "load_traces", "trace_from", "trace_schema", "write_trace_schema"]
