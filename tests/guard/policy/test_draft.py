"""Drafts: what names and schemas say, which a server's words only make stricter."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jepakit.guard.data import Tool
from jepakit.guard.policy import draft_policy, draft_text, load_policy, parse_policy
from jepakit.guard.policy.schema import ToolPolicy

ORDER = ("read", "write", "external", "execute")


def drafted(name: str, description: str = "", annotations: dict[str, Any] | None = None, **keys: Any) -> ToolPolicy:
    schema = {"type": "object", "properties": keys}
    tool = Tool(name=name, description=description, input_schema=schema, annotations=annotations or {})
    return draft_policy([tool]).tools[0]


@pytest.mark.parametrize(
    ("name", "effect"),
    [
        ("get_user", "read"),
        ("listFiles", "read"),
        ("gmail_search_messages", "read"),
        ("get_sent_orders", "read"),
        ("get_or_create_user", "write"),
        ("read_and_share", "external"),
        ("search_delete", "write"),
        ("cancel_order", "write"),
        ("slack_post_message", "external"),
        ("sendMoney", "external"),
        ("run_command", "execute"),
        ("frobnicate", "external"),
        ("", "external"),
    ],
)
def test_effects_of_names(name: str, effect: str) -> None:
    if name:
        assert drafted(name).effect == effect


TEXT = {"type": "string"}


def test_sinks_by_name_format_and_reference() -> None:
    place = {"anyOf": [{"type": "array", "items": TEXT}, {"type": "null"}]}
    nested = {"type": "object", "properties": {"email": TEXT, "text": TEXT}}
    tool = drafted(
        "send_mail", to=TEXT, participants=place, body=TEXT, where={"format": "email"}, who=nested, user_id=TEXT
    )
    assert set(tool.sinks) == {"/to", "/participants", "/where", "/who/email"}
    root = {"$defs": {"R": {"properties": {"iban": TEXT}}}, "properties": {"r": {"$ref": "#/$defs/R"}}}
    assert draft_policy([Tool(name="pay", input_schema=root)]).tools[0].sinks == ("/r/iban",)
    # A read sends nothing, but to the address that it reads from.
    assert drafted("get_page", url=TEXT, user=TEXT).sinks == ("/url",)
    assert drafted("pay", amount={"type": "number"}, total=TEXT).volume == ("/amount",)


def test_a_schema_that_contains_itself_ends() -> None:
    inner: dict[str, Any] = {"$ref": "#"}
    schema = {"properties": {"to": inner, "a/b": {"properties": {"email": TEXT}}}, "anyOf": [inner]}
    assert "/a~1b/email" in draft_policy([Tool(name="send", input_schema=schema)]).tools[0].sinks


@pytest.mark.parametrize("name", ["get_user", "delete_user", "send_mail", "run", "frobnicate"])
@given(
    hints=st.dictionaries(st.sampled_from(["readOnlyHint", "destructiveHint", "openWorldHint"]), st.booleans()),
    words=st.sampled_from(["", "Only reads. Safe.", "Sends a mail.", "It also deletes files.", "Returns sent mail."]),
)
def test_what_a_server_says_never_makes_a_draft_milder(name: str, hints: dict[str, Any], words: str) -> None:
    plain, hinted = drafted(name, to=TEXT), drafted(name, words, hints, to=TEXT)
    assert ORDER.index(hinted.effect) >= ORDER.index(plain.effect)
    assert hinted.privilege >= plain.privilege
    assert set(hinted.sinks) >= set(plain.sinks)
    assert hinted.output_trust == "untrusted"


def test_a_description_raises() -> None:
    assert drafted("get_report", "Gets a report. It also sends it to all members.").effect == "external"
    assert drafted("get_report", "Returns a report on sent mail.").effect == "read"
    assert drafted("get_report", annotations={"readOnlyHint": False}).effect == "write"


@given(
    st.lists(st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=8), max_size=4, unique=True)
)
def test_the_text_is_the_policy(names: list[str]) -> None:
    tools = [Tool(name=name, server=name[::2], description="Sends: {x} # y", input_schema={}) for name in names]
    assert parse_policy(draft_text(tools, name="a: b"), file=Path("a.yaml")) == draft_policy(tools, name="a: b")


def test_drafts_of_real_tools_are_no_milder_than_the_finished_policies(data_dir: Path) -> None:
    suites = json.loads((data_dir / "guard/agentdojo/ground_truth.json").read_text())["v1.2.2"]
    # A calendar that sends mail behind a sentence that names no verb we know: what a person has to see.
    seen: list[str] = []
    for suite, content in suites.items():
        tools = [
            Tool(name=name, description=tool["desc"], input_schema=tool["schema"])
            for name, tool in content["tools"].items()
        ]
        finished = load_policy(f"agentdojo/{suite}")
        for tool in draft_policy(tools).tools:
            (other,) = finished.of_tool(tool.name)
            if ORDER.index(tool.effect) < ORDER.index(other.effect) or not set(other.sinks) <= set(tool.sinks):
                seen.append(tool.name)
    assert set(seen) <= {"cancel_calendar_event", "reschedule_calendar_event", "update_user_info"}
