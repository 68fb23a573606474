"""Pins: a tool that is not the reviewed one, to the letter, is noticed."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jepakit.errors import DataError
from jepakit.guard import Tool
from jepakit.guard.live import Pins
from jepakit.guard.live.pins import Difference, tool_hash

READ = Tool(name="read", server="files", description="Reads a file", input_schema={"properties": {"path": {}}})
SEND = Tool(name="send", server="files", description="Sends a file", annotations={"readOnlyHint": False})


def pinned(*tools: Tool) -> Pins:
    pins = Pins()
    pins.listed("files", tools)
    pins.accept("files")
    return pins


JSON = st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=3), st.lists, max_leaves=4)
CHANGES: dict[str, st.SearchStrategy[Any]] = {
    "description": st.text(max_size=20),
    "input_schema": st.dictionaries(st.text(max_size=3), JSON, max_size=3),
    "annotations": st.dictionaries(st.text(max_size=3), JSON, max_size=3),
}


@given(st.sampled_from(sorted(CHANGES)).flatmap(lambda field: st.tuples(st.just(field), CHANGES[field])))
def test_any_change_of_any_field_is_noticed(change: tuple[str, Any]) -> None:
    field, value = change
    pins = pinned(READ, SEND)
    other = READ.model_copy(update={field: value})
    changed = json.dumps(value) != json.dumps(getattr(READ, field))
    assert pins.listed("files", [other, SEND]) == Difference(changed=("read",) if changed else ())
    assert pins.standing("files", "read") == ("changed" if changed else "pinned")
    assert pins.standing("files", "send") == "pinned"


def test_new_renamed_removed_and_doubled_tools() -> None:
    pins = pinned(READ)
    renamed = READ.model_copy(update={"name": "reаd"})
    assert pins.listed("files", [renamed]) == Difference(added=("reаd",), removed=("read",))
    assert (pins.standing("files", "reаd"), pins.standing("files", "read")) == ("new", "new")
    assert pins.listed("files", [READ, READ]) == Difference(changed=("read",))
    assert not pins.listed("files", [READ])
    assert pins.standing("files", "read") == "pinned"


def test_equal_names_on_two_servers_are_two_tools() -> None:
    pins = pinned(READ)
    other = READ.model_copy(update={"server": "other"})
    assert tool_hash(READ) != tool_hash(other)
    assert pins.listed("other", [other]) == Difference(added=("read",))
    assert (pins.standing("files", "read"), pins.standing("other", "read")) == ("pinned", "new")


def test_a_server_without_pins_has_new_tools_only_and_a_tool_is_pinned_only_while_it_is_listed() -> None:
    assert Pins().listed("files", [READ]) == Difference(added=("read",))
    pins = Pins(pinned(READ).pinned)
    assert pins.standing("files", "read") == "new"
    pins.listed("files", [READ])
    assert pins.standing("files", "read") == "pinned"


def test_pins_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "pins.json"
    pinned(READ, SEND).save(file)
    first = file.read_text()
    assert Pins.load(file).pinned == pinned(SEND, READ).pinned
    pinned(SEND, READ).save(file)
    assert file.read_text() == first


@pytest.mark.parametrize(
    ("content", "field"),
    [
        ("[]", None),
        ("{}", None),
        ('{"version": 2, "servers": {}}', None),
        ('{"version": 1, "servers": []}', None),
        ('{"version": 1, "servers": {"files": ["read"]}}', None),
        ('{"version": 1, "servers": {"files": {"read": "00"}}}', "servers.files.read"),
        ('{"version": 1, "servers": {"files": {"read": ""}}}', "servers.files.read"),
    ],
)
def test_a_file_of_something_else_is_refused(tmp_path: Path, content: str, field: str | None) -> None:
    file = tmp_path / "pins.json"
    file.write_text(content)
    with pytest.raises(DataError) as refused:
        Pins.load(file)
    assert (refused.value.file, refused.value.field) == (file, field)
