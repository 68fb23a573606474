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
from jepakit.guard.traces.strict_json import escaped


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


_READS = _set(
    """
    get list search read find fetch lookup query describe count check show view retrieve calculate compute compare
    browse download is has
    """
)
_SENDS = _set(
    """
    send post pay publish share invite forward reply email mail message notify transfer reserve book buy order
    purchase submit upload tweet call push release refund grant subscribe donate withdraw wire
    """
)
_EXECUTES = _set("execute exec run eval shell bash command script sql deploy install invoke spawn")
_CHANGES = _set(
    """
    create update delete remove write edit add set append move rename cancel modify change insert replace drop clear
    reset schedule reschedule save store put patch merge close open enable disable revoke approve archive mark
    exchange return
    """
)
#: Of these verbs those that are nouns as well: behind another verb they are what it is about.
_NOUNS = _set(
    """
    email mail message call post book order command script sql share schedule set open close store return archive
    mark change reply grant wire transfer purchase run move
    """
)
_GRAVE = _set(
    """
    delete remove drop wipe destroy pay transfer wire buy purchase withdraw password credential share grant revoke
    invite donate money transaction
    """
)
_SINKS = _set(
    """
    recipient to cc bcc email mail address url uri link webhook endpoint host hostname domain account iban bic
    channel participant attendee invitee member user phone destination payee beneficiary receiver password target
    """
)
_URLS = _set("url uri link webhook endpoint host hostname domain")
_SINK_WORDS = _set("iban url uri recipient recipients webhook")
_SINK_FORMATS = _set("email idn-email uri uri-reference iri url hostname idn-hostname")
_AMOUNTS = _set("amount limit count n quantity top price total size")
_URL_FORMATS = _SINK_FORMATS - {"email", "idn-email"}
_VERBS = _READS | _SENDS | _EXECUTES | _CHANGES
_ORDER: tuple[Effect, ...] = ("read", "write", "external", "execute")
_PRIVILEGE: Mapping[Effect, int] = {"read": 1, "write": 2, "external": 3, "execute": 5}
_WORSE: tuple[tuple[Effect, frozenset[str]], ...] = (
    # A tool that reads returns what it has read.
    ("write", _CHANGES - {"return"}),
    ("external", _SENDS),
)
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
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
    words = _words(tool.name)
    effect, why = _effect(tool, words)
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


def _effect(tool: Tool, words: list[str]) -> tuple[Effect, list[str]]:
    """What the name says, or something worse that the server says, and why."""
    found: dict[Effect, str] = {}
    known: dict[Effect, frozenset[str]] = {"execute": _EXECUTES, "external": _SENDS, "write": _CHANGES, "read": _READS}
    for effect, verbs in known.items():
        if verb := next((word for place, word in enumerate(words) if word in verbs and _is_verb(words, place)), None):
            found[effect] = f"{verb!r} in its name: {effect}"
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


def _is_verb(words: list[str], place: int) -> bool:
    """Whether a word of a name is what the tool does: its first verb, one behind "and", or one that is no noun."""
    behind = words[:place]
    first = not any(word in _VERBS for word in behind)
    return first or words[place] not in _NOUNS or behind[-1] in ("and", "or", "then")


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
    words = _words(key)
    # An identifier of something that exists already ("user_id") is chosen by whoever keeps it.
    named = bool(_SINKS.intersection(_singular(word) for word in words)) and words[-1:] != ["id"]
    described = schema.get("description")
    spoken = set(_words(described)) if isinstance(described, str) else set[str]()
    is_text = schema.get("type") in (None, "string", "array")
    return is_text and (named or schema.get("format") in _SINK_FORMATS or bool(_SINK_WORDS.intersection(spoken)))


def _is_address(key: str, schema: Mapping[str, Any]) -> bool:
    return bool(_URLS.intersection(_words(key))) or schema.get("format") in _URL_FORMATS


def _is_amount(key: str, schema: Mapping[str, Any]) -> bool:
    return bool(_AMOUNTS.intersection(_words(key))) and schema.get("type") in ("number", "integer")


def _highest(pointers: Iterable[str]) -> tuple[str, ...]:
    """Each once, and none below another."""
    kept: list[str] = []
    for pointer in sorted(pointers, key=lambda one: one.count("/")):
        if not any(pointer == one or pointer.startswith(f"{one}/") for one in kept):
            kept.append(pointer)
    return tuple(kept)


def _words(text: str) -> list[str]:
    return [word.lower() for word in _WORD.findall(text)]


def _singular(word: str) -> str:
    return word[:-1] if word.endswith("s") and not word.endswith("ss") else word


def _literal(name: str) -> str:
    # A name of a server is never a pattern of names: its * stands for one character.
    return name.replace("*", "?")


def _yaml_line(key: str, value: str) -> str:
    import yaml

    return yaml.safe_dump({key: value}, allow_unicode=True, width=1 << 20).rstrip("\n")
