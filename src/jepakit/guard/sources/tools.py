"""Descriptions of tools from a file, as their servers give them."""

from __future__ import annotations

from pathlib import Path

from jepakit.errors import DataError
from jepakit.files import read_text, reading
from jepakit.guard.data import Tool
from jepakit.guard.sources.calls import tools_of
from jepakit.guard.sources.fields import WHOLE, Fields
from jepakit.guard.traces.strict_json import parse


def load_tools(file: str | Path, *, server: str = "") -> tuple[Tool, ...]:
    """The tools of a JSON file: a list of tools, or the answer of an MCP server to ``tools/list``.

    Args:
        file: the file. Tools may be written as MCP, OpenAI and others do.
        server: where they live.

    Raises:
        DataError: it cannot be read, or has no tool with a name.
    """
    file = Path(file)
    with reading(file):
        content = parse(read_text(file, limit=WHOLE.bytes), WHOLE)
        for key in ("result", "tools"):
            content = content[key] if isinstance(content, dict) and key in content else content
        tools = tools_of(Fields.of({"tools": content}).objects("tools"), server)
        if not tools:
            raise DataError("no tools", expected="a list of objects with a name")
    return tools
