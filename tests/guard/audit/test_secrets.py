"""Secrets that an agent has read are found in what it sends, as they are, encoded and in pieces."""

from __future__ import annotations

import base64
import time
from typing import Any, cast
from urllib.parse import quote

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from jepakit.errors import ConfigError
from jepakit.guard.audit import Auditor, Judgement, SecretRules
from jepakit.guard.audit.secrets import Secrets
from jepakit.guard.data import Call, Context, Trace
from jepakit.guard.policy import Policy

POLICY = Policy.model_validate(
    {
        "tools": [
            {"name": "read", "effect": "read"},
            {"name": "note", "effect": "write"},
            {"name": "send", "effect": "external", "sinks": ["/to"]},
        ]
    }
)
SECRET = "hunter2-Blue%Sky"
OUTPUT = f"Hello.\nThe password: {SECRET}\nBye."


def judged(tool: str, arguments: dict[str, Any], *, output: str = OUTPUT, **context: Any) -> Judgement:
    context = {"task": "Tell ann@example.org about it.", **context}
    history = Trace(context=Context(**context), calls=(Call(id="r", tool="read", arguments={}, output=output),))
    return Auditor(POLICY).check(Call(id="c", tool=tool, arguments=arguments), history)


def rules(found: Judgement) -> list[str]:
    return [reason.rule for reason in found.reasons if reason.rule.startswith("secrets.")]


def sent(text: Any, **further: Any) -> Judgement:
    return judged("send", {"to": "ann@example.org", "body": text}, **further)


def test_a_secret_as_it_is_is_asked_about_and_named() -> None:
    found = sent(f"It is {SECRET}, really.")
    assert (found.decision, found.code, found.reasons[0].argument) == ("ask", "secret", "/body")
    assert rules(found) == ["secrets.plain"]
    assert SECRET not in str(found.as_json())
    assert rules(sent("It is hunter3-RedSky.")) == []


ENCODED = base64.b64encode(f"x{SECRET}yz".encode()).decode()


@pytest.mark.parametrize(
    "body",
    [
        ENCODED,
        "\n".join(ENCODED[place : place + 5] for place in range(0, len(ENCODED), 5)),
        base64.urlsafe_b64encode(f"xy{SECRET}".encode()).decode().rstrip("="),
        SECRET.encode().hex(" ").upper(),
        "".join(f"\\x{byte:02x}" for byte in SECRET.encode()),
        "".join(f"%{byte:02X}" for byte in SECRET.encode()),
        quote(quote(SECRET)),
        "-".join(SECRET),
        "\u200b".join(SECRET),
        "".join(chr(ord(one) + 0xFEE0) for one in SECRET),
        SECRET.upper(),
        [SECRET[8:], SECRET[:8]],
        {"a": SECRET[:8], "note": "and then", "b": SECRET[8:]},
        {SECRET[:8]: 1, SECRET[8:]: 2},
        {"/".join(SECRET): 1},
    ],
)
def test_a_disguised_secret_is_denied(body: Any) -> None:
    found = sent(body)
    assert (found.decision, found.code, rules(found)) == ("deny", "secret", ["secrets.disguised"])


def test_what_stays_or_is_known_is_let_through() -> None:
    assert judged("read", {"query": SECRET}).decision == "allow"
    assert judged("note", {"text": SECRET}).decision == "allow"
    # The user has said it.
    assert sent(SECRET, task=f"Tell ann@example.org: {SECRET}").decision == "allow"
    # A URL goes out, whatever the tool.
    assert rules(judged("read", {"url": f"https://example.org/?q={ENCODED}"})) == ["secrets.disguised"]
    assert rules(judged("unknown", {"x": SECRET})) == ["secrets.plain"]


def test_the_system_prompt_and_the_session_hold_secrets() -> None:
    key = "ghp_" + "aB3dE6gH9" * 4
    assert rules(sent(key, system=f"Use {key} for it.")) == ["secrets.plain"]
    assert rules(sent("tiger-4711", session={"tenant": "a", "api_key": "tiger-4711"})) == ["secrets.plain"]


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("AKIA1234567890ABCDEF", "AKIA1234567890ABCDEF"),
        ("postgres://bob:s3cret-pw@db/x", "s3cret-pw"),
        ('{"client_secret": "q9w8e7r6t5"}', "q9w8e7r6t5"),
        ("My passphrase is correct-horse!", "correct-horse"),
        (
            "-----BEGIN RSA PRIVATE KEY-----\nMIIEow1234567890abcdefgh\n-----END RSA PRIVATE KEY-----",
            "MIIEow1234567890abcdefgh",
        ),
        # Words that only follow such a label.
        ("The password is required.", None),
        ("pin: 12", None),
    ],
)
def test_shapes(text: str, secret: str | None) -> None:
    assert [one.strip() for one in SecretRules().secrets_of(text)] == ([] if secret is None else [secret])


def test_own_shapes_and_decisions() -> None:
    own = SecretRules(shapes=(r"\bcase-\d{6}\b",), recognise=False, plain="deny", disguised="allow")
    assert list(own.secrets_of(f"case-123456 {OUTPUT}")) == ["case-123456"]
    history = Trace(calls=(Call(id="r", tool="read", arguments={}, output="case-123456"),))
    auditor = Auditor(POLICY, secrets=own)
    for text, decision in (("case-123456", "deny"), ("123456 esac", "allow")):
        call = Call(id="c", tool="send", arguments={"to": [], "body": text})
        assert auditor.check(call, history).decision == decision
    with pytest.raises(ConfigError):
        SecretRules(shapes=("(",))
    with pytest.raises(ConfigError):
        SecretRules(plain=cast(Any, "perhaps"))


@given(
    st.text("abcdefghijKLMNOP0123456789", min_size=12, max_size=40),
    st.text(max_size=30),
    st.sampled_from(["plain", "base64", "hex", "url", "split"]),
)
def test_secrets_of_any_letters_are_found_among_other_text(secret: str, around: str, way: str) -> None:
    assume(secret not in around)
    secrets = Secrets(SecretRules(shapes=(r"<(.+)>",), recognise=False))
    secrets.read(f"<{secret}>")
    raw = f"{around}{secret}".encode("utf-8", "replace")
    texts = {
        "plain": [around + secret],
        "base64": [base64.b64encode(raw).decode()],
        "hex": [raw.hex()],
        "url": ["".join(f"%{byte:02x}" for byte in raw)],
        "split": [secret[6:], around, secret[:6]],
    }
    hits = secrets.found_in([(f"/{place}", text) for place, text in enumerate(texts[way])])
    assert [hit.disguised for hit in hits.hits] == [way != "plain"]


@given(st.text("abcdefghijKLMNOP0123456789", min_size=8, max_size=40), st.text("qrstuvwxyz .%", max_size=200))
def test_texts_without_the_secret_have_none(secret: str, other: str) -> None:
    secrets = Secrets(SecretRules(shapes=(r"<(.+)>",), recognise=False))
    secrets.read(f"<{secret}>")
    assert secrets.found_in([("/a", other)]).hits == ()


def test_many_secrets_and_a_long_text_take_little_time() -> None:
    secrets = Secrets(SecretRules(shapes=(r"<(.+?)>",), recognise=False))
    secrets.read("".join(f"<secret-{number:04d}-{'ab' * 40}{number}>" for number in range(1000)))
    start = time.process_time()
    assert secrets.found_in([("/a", "0123456789abcdef" * 60_000)]).hits == ()
    assert time.process_time() - start < 1
