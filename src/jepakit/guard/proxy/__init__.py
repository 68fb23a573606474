"""A proxy in front of an MCP server: what the agent calls is judged before the server hears of it. Needs ``mcp``."""

from jepakit.guard.proxy.run import ProxyConfig, list_server, run_proxy

__all__ = ["ProxyConfig", "list_server", "run_proxy"]
