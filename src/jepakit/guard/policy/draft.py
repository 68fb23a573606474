"""A first policy from the descriptions of tools, for a person to finish.

The name of a tool decides; what its server says about it (description, annotations) only makes the policy stricter.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

from jepakit.guard.data import Tool
from jepakit.guard.policy.schema import Effect, Policy, ToolPolicy
from jepakit.guard.policy.verbs import CHANGES, SENDS, effects_of, words_in, words_of
from jepakit.guard.traces.strict_json import escaped

_GRAVE = words_in(
    """
    delete remove drop wipe destroy pay transfer wire buy purchase withdraw password credential share grant revoke
    invite donate money transaction
    """
)
_SINKS = words_in(
    """
    recipient to cc bcc email mail address url uri link webhook endpoint host hostname domain account iban bic
    channel participant attendee invitee member user phone destination payee beneficiary receiver password target
    """
)
_URLS = words_in("url uri link webhook endpoint host hostname domain")
_SINK_WORDS = words_in("iban url uri recipient recipients webhook")
_SINK_FORMATS = words_in("email idn-email uri uri-reference iri url hostname idn-hostname")
_AMOUNTS = words_in("amount limit count n quantity top price total size")
_URL_FORMATS = _SINK_FORMATS - {"email", "idn-email"}
_ORDER: tuple[Effect, ...] = ("read", "write", "external", "execute")
_PRIVILEGE: Mapping[Effect, int] = {"read": 1, "write": 2, "external": 3, "execute": 5}
_WORSE: tuple[tuple[Effect, frozenset[str]], ...] = (
    # A tool that reads returns what it has read.
    ("write", CHANGES - {"return"}),
    ("external", SENDS),
)
#: Verbs of a description: where a sentence begins, and behind words that go on with one.
_SAID = re.compile(r"(?:^|[.!?;\n]|\b(?:also|and|it|or|then|will|can)\b)\s*([a-z]+)", re.IGNORECASE)
#: Places of a schema that are looked at.
_MOST_PLACES, _MOST_DEPTH = 2000, 12


@dataclass(frozen=True)
class _Drafted:
    policy: ToolPolicy
    why: tuple[str, ...]


def draft_policy(tools: Iterable[Tool], *, name: str = "") -> Policy:
    """A policy that names every tool, with what its name and its arguments let one guess.

    A tool whose name has no known verb is one that changes something, and no output is trusted.

    Args:
        tools: as their servers describe them.
        name: of the policy.
    """
    return Policy(name=name, tools=tuple(_drafted(tool).policy for tool in tools))


def draft_text(tools: Iterable[Tool], *, name: str = "") -> str:
    """`draft_policy` as YAML, in which comments say what was guessed from what, and what to look at."""
    import yaml

    lines = [
        "# A draft: every line is a guess from names and schemas. Look at each tool, then use it.",
        "# output_trust: trusted is only for tools whose output nobody but the user and the system can write.",
        "version: 1",
    ]
    if name:
        lines.append(_yaml_line("name", name))
    drafted = [_drafted(tool) for tool in tools]
    lines.append("tools:" if drafted else "tools: []")
    for one in drafted:
        lines += [f"  # {why}" for why in one.why]
        fields = one.policy.model_dump(mode="json", exclude_defaults=True)
        # What decides is written down even where it is the default.
        shown = {**fields, "effect": one.policy.effect, "privilege": one.policy.privilege}
        shown["output_trust"] = one.policy.output_trust
        ordered = {field: shown[field] for field in ToolPolicy.model_fields if field in shown}
        text = yaml.safe_dump([ordered], sort_keys=False, allow_unicode=True, width=1 << 20)
        lines += [f"  {line}" for line in text.splitlines()]
    return "\n".join(lines) + "\n"


def _drafted(tool: Tool) -> _Drafted:
    words = words_of(tool.name)
    effect, why = _effect(tool)
    places = list(_places(tool.input_schema))
    if effect == "read":
        sinks = [pointer for pointer, key, schema in places if _is_address(key, schema)]
    else:
        sinks = [pointer for pointer, key, schema in places if _is_sink(key, schema)]
    if effect == "write" and sinks:
        effect = "external"
        why.append("an argument says where something goes: external")
    grave = bool(_GRAVE.intersection(words))
    if tool.annotations.get("destructiveHint") is True:
        grave = True
        why.append("the server says that it destroys something")
    policy = ToolPolicy(
        name=_literal(tool.name),
        server=tool.server or None,
        effect=effect,
        privilege=min(5, _PRIVILEGE[effect] + (grave and effect != "read")),
        sinks=_highest(sinks),
        volume=_highest(pointer for pointer, key, schema in places if _is_amount(key, schema)),
    )
    return _Drafted(policy, tuple(why))


def _effect(tool: Tool) -> tuple[Effect, list[str]]:
    """What the name says, or something worse that the server says, and why."""
    found: dict[Effect, str] = {
        effect: f"{verb!r} in its name: {effect}" for effect, verb in effects_of(tool.name).items()
    }
    if not found:
        found["external"] = "no known verb in its name: external"
    effect = max(found, key=_ORDER.index)
    why = [found[effect]]
    if tool.annotations.get("readOnlyHint") is False and effect == "read":
        effect = "write"
        why.append("the server says that it does more than read: write")
    if tool.annotations.get("openWorldHint") is True and effect == "write":
        effect = "external"
        why.append("the server says that it reaches others: external")
    said = {match[1].lower() for match in _SAID.finditer(tool.description)}
    for worse, verbs in _WORSE:
        spoken = sorted(word for word in said if word in verbs or _singular(word) in verbs)
        if spoken and _ORDER.index(worse) > _ORDER.index(effect):
            effect = worse
            why.append(f"{spoken[0]!r} in its description: {worse}")
    return effect, why


def _places(schema: Mapping[str, Any]) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """The arguments of a JSON Schema: pattern, key, and schema; local references are followed."""
    stack: list[tuple[str, str, Any, int]] = [("", "", schema, 0)]
    seen = 0
    while stack and seen < _MOST_PLACES:
        pointer, key, one, depth = stack.pop(0)
        seen += 1
        if not isinstance(one, Mapping) or depth > _MOST_DEPTH:
            continue
        part = _resolved(cast(Mapping[str, Any], one), schema)
        if pointer and not isinstance(part.get("properties"), Mapping):
            yield pointer, key, part
        properties = part.get("properties")
        for name, inner in (properties if isinstance(properties, Mapping) else {}).items():
            stack.append((f"{pointer}/{escaped(str(name))}", str(name), inner, depth + 1))
        if "items" in part:
            stack.append((f"{pointer}/*", key, part["items"], depth + 1))
        for group in ("anyOf", "oneOf", "allOf"):
            for inner in part[group] if isinstance(part.get(group), list) else ():
                stack.append((pointer, key, inner, depth + 1))


def _resolved(schema: Mapping[str, Any], root: Mapping[str, Any]) -> Mapping[str, Any]:
    reference = schema.get("$ref")
    if not isinstance(reference, str) or not reference.startswith("#/"):
        return schema
    found: Any = root
    for token in reference[2:].split("/"):
        found = found.get(token) if isinstance(found, Mapping) else None
    return cast(Mapping[str, Any], found) if isinstance(found, Mapping) else schema


def _is_sink(key: str, schema: Mapping[str, Any]) -> bool:
    words = words_of(key)
    # An identifier of something that exists already ("user_id") is chosen by whoever keeps it.
    named = bool(_SINKS.intersection(_singular(word) for word in words)) and words[-1:] != ["id"]
    described = schema.get("description")
    spoken = set(words_of(described)) if isinstance(described, str) else set[str]()
    is_text = schema.get("type") in (None, "string", "array")
    return is_text and (named or schema.get("format") in _SINK_FORMATS or bool(_SINK_WORDS.intersection(spoken)))


def _is_address(key: str, schema: Mapping[str, Any]) -> bool:
    return bool(_URLS.intersection(words_of(key))) or schema.get("format") in _URL_FORMATS


def _is_amount(key: str, schema: Mapping[str, Any]) -> bool:
    return bool(_AMOUNTS.intersection(words_of(key))) and schema.get("type") in ("number", "integer")


def _highest(pointers: Iterable[str]) -> tuple[str, ...]:
    """Each once, and none below another."""
    kept: list[str] = []
    for pointer in sorted(pointers, key=lambda one: one.count("/")):
        if not any(pointer == one or pointer.startswith(f"{one}/") for one in kept):
            kept.append(pointer)
    return tuple(kept)


def _singular(word: str) -> str:
    return word[:-1] if word.endswith("s") and not word.endswith("ss") else word


def _literal(name: str) -> str:
    # A name of a server is never a pattern of names: its * stands for one character.
    return name.replace("*", "?")


def _yaml_line(key: str, value: str) -> str:
    import yaml

    return yaml.safe_dump({key: value}, allow_unicode=True, width=1 << 20).rstrip("\n")
