"""Pins of tools: a tool is the one that was reviewed, to the letter, or a person is asked.

A server can change what a tool says of itself after it was looked at. A tool is known by its server, as the
configuration names it, its name, and the hash of all that the server says about it: description, schema, annotations.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

from jepakit.errors import DataError
from jepakit.files import read_json, write_text
from jepakit.guard.data import Tool

PINS_VERSION = 1
"""Of the file of pins."""

Standing = Literal["pinned", "changed", "new"]
"""Of a tool: as pinned; of a pinned name, and otherwise than pinned; not pinned, or no longer there."""

_HASH = re.compile(r"[0-9a-f]{64}", re.ASCII)


def tool_hash(tool: Tool) -> str:
    """SHA-256 of the tool's server, name, description, schema and annotations.

    Raises:
        DataError: the schema or the annotations are not JSON.
    """
    try:
        text = json.dumps(tool.model_dump(mode="json"), sort_keys=True, separators=(",", ":"), allow_nan=False)
    except (ValueError, RecursionError) as error:
        raise DataError("the description of a tool is not JSON", field=tool.name) from error
    return sha256(text.encode()).hexdigest()


@dataclass(frozen=True)
class Difference:
    """What differs between the pins of a server and its tools.

    Args:
        added: names of tools that are not pinned.
        changed: names of tools that are pinned otherwise.
        removed: pinned names of which there is no tool.
    """

    added: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.added or self.changed or self.removed)


@dataclass
class Pins:
    """The tools that were reviewed, and those that servers have listed since.

    Args:
        pinned: server -> tool -> hash.
    """

    pinned: dict[str, dict[str, str]] = field(default_factory=dict[str, dict[str, str]])
    _listed: dict[str, dict[str, str]] = field(default_factory=dict[str, dict[str, str]], init=False)

    @classmethod
    def load(cls, file: Path) -> Pins:
        """The pins of a file.

        Raises:
            DataError: it cannot be read, or holds something else.
        """
        content = read_json(file, DataError)
        if content.keys() != {"version", "servers"} or content["version"] != PINS_VERSION:
            raise DataError("not a file of pins", file=file, expected=f"version {PINS_VERSION}, and servers")
        pinned = {
            server: {name: _hash(one, file, f"servers.{server}.{name}") for name, one in _object(tools, file).items()}
            for server, tools in _object(content["servers"], file).items()
        }
        return cls(pinned)

    def save(self, file: Path) -> None:
        """Writes the pins, one a line and in order, so that a change is seen where the file is kept with the code.

        Raises:
            ModelError: it cannot be written.
        """
        content = {"version": PINS_VERSION, "servers": self.pinned}
        write_text(file, json.dumps(content, indent=2, sort_keys=True) + "\n")

    def listed(self, server: str, tools: Iterable[Tool]) -> Difference:
        """Takes note of the tools that a server lists now, all of them, and says how they differ from its pins.

        Of a server that has no pins yet nothing is pinned: all its tools are new.
        """
        now: dict[str, str] = {}
        for tool in tools:
            # Of two tools of one name neither is the one that was reviewed.
            now[tool.name] = "" if tool.name in now else tool_hash(tool)
        self._listed[server] = now
        pinned = self.pinned.get(server, {})
        return Difference(
            tuple(sorted(now.keys() - pinned.keys())),
            tuple(sorted(name for name in now.keys() & pinned.keys() if now[name] != pinned[name])),
            tuple(sorted(pinned.keys() - now.keys())),
        )

    def accept(self, server: str) -> None:
        """Pins the tools of a server as they were listed last: a person has reviewed them."""
        self.pinned[server] = {name: one for name, one in self._listed.get(server, {}).items() if one}

    def standing(self, server: str, tool: str) -> Standing:
        """How a tool, as its server listed it last, compares with its pin."""
        pinned = self.pinned.get(server, {}).get(tool)
        now = self._listed.get(server, {}).get(tool)
        if pinned is None or now is None:
            return "new"
        return "pinned" if pinned == now else "changed"


def _object(value: Any, file: Path) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise DataError("not a file of pins", file=file, value=value, expected="an object")
    return value


def _hash(value: Any, file: Path, where: str) -> str:
    if not isinstance(value, str) or not _HASH.fullmatch(value):
        raise DataError("not a SHA-256 hash", file=file, field=where, value=value, expected="64 hexadecimal digits")
    return value
