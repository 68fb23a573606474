"""Secrets that an agent has read, and whether they stand in what it sends: as they are, encoded, or in pieces.

What is looked through is written in three ways, and a secret is looked for in each as it would stand there:

- folded (`jepakit.guard.traces.folding`), after percent-encoding is undone, letters and digits alone;
- the hexadecimal digits alone: the secret's UTF-8 in hexadecimal;
- letters, digits, ``+`` and ``/`` alone, also written ``-`` and ``_``: the secret's UTF-8 in base64, at each of the
  three places that it can have in a group of three bytes.

A secret is found where runs of six characters that both have cover at least `COVERED` of it, wherever they stand, so
that one in pieces over several arguments is found too. The time grows linearly with the text, whatever the secrets.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from urllib.parse import unquote

import numpy as np
from numpy.typing import NDArray

from jepakit.errors import ConfigError, require_choice
from jepakit.guard.policy import Decision
from jepakit.guard.policy.patterns import expression
from jepakit.guard.policy.running import SeenCall
from jepakit.guard.traces.folding import fold

COVERED = 0.8
"""Of the characters of a secret, in runs that the text has too."""

#: Characters of a run, of the shortest secret, and of a longer one that are looked for.
_RUN, _SHORTEST, _LONGEST = 6, 6, 4096
_MOST_SECRETS = 256
_LABEL = (
    r"(?i)\b(?:pass(?:word|wd|phrase|code)|secret|pin|credential|"
    r"(?:api|access|secret|private|auth|client|encryption|security|license|recovery)[ _-]?(?:key|token|secret|code)|"
    r"(?:bearer|session)[ _-]?token)s?\b[\"']?\s{0,3}(?:is\b|[:=])\s{0,3}[\"']?([^\s\"',;<>]{6,200})"
)
SHAPES = (
    r"\b((?:AKIA|ASIA)[0-9A-Z]{16})\b",
    r"\b(gh[pousr]_[A-Za-z0-9]{36,255})\b",
    r"\b(github_pat_[A-Za-z0-9_]{22,255})\b",
    r"\b(xox[abprs]-[A-Za-z0-9-]{10,255})",
    r"\b(sk-[A-Za-z0-9_-]{20,255})",
    r"\b(AIza[0-9A-Za-z_-]{35})",
    r"\b(eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{5,})",
    r"-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----([^-]{20,})-----END",
    r"://[^\s/:@]{1,100}:([^\s/@]{6,200})@",
    _LABEL,
)
"""Regular expressions (RE2) of secrets; the first group is the secret."""

_ANY = "|".join(f"(?:{shape})" for shape in SHAPES)
_WAYS = ("folded", "hexadecimal", "base64")


@dataclass(frozen=True)
class SecretRules:
    """What is a secret, and what follows where one that the agent has read stands in what it sends.

    Args:
        shapes: regular expressions (RE2), of which the first group, or the whole, is a secret.
        recognise: use `SHAPES` too.
        plain: decision where one stands there as it is.
        disguised: decision where one stands there encoded or in pieces.
    """

    shapes: tuple[str, ...] = ()
    recognise: bool = True
    plain: Decision = "ask"
    disguised: Decision = "deny"

    def __post_init__(self) -> None:
        for name in ("plain", "disguised"):
            require_choice(name, getattr(self, name), ("allow", "ask", "deny"))
        for shape in self.shapes:
            try:
                expression(shape)
            except ValueError as error:
                raise ConfigError("shapes", shape, f"regular expressions of RE2 ({error})") from error

    def secrets_of(self, text: str) -> Iterator[str]:
        """The secrets in a text."""
        # Most texts have none: one look at all shapes says so.
        known = SHAPES if self.recognise and expression(_ANY).search(text) is not None else ()
        for shape in (*self.shapes, *known):
            for match in expression(shape).finditer(text):
                secret = match[1] if match.re.groups and match[1] is not None else match[0]
                secret = secret.rstrip(".!?)]}")
                if shape != _LABEL or len(secret) >= 12 or not secret.isalpha():
                    yield secret


@dataclass(frozen=True)
class SecretHit:
    """A secret in what is sent.

    Args:
        disguised: it does not stand there as it is.
        argument: JSON pointer of the argument, where one has it as it is.
    """

    disguised: bool
    argument: str | None = None


@dataclass
class Secrets:
    """The secrets that an agent has read.

    Args:
        rules: what is one.
        known: words of the user, which are none.
    """

    rules: SecretRules
    known: str = ""
    _listed: dict[str, str] = field(default_factory=dict)

    @cached_property
    def _said(self) -> str:
        return _letters(self.known)

    def copy(self) -> Secrets:
        """The same secrets; more can be added to either."""
        return Secrets(self.rules, self.known, dict(self._listed))

    def read(self, text: str) -> None:
        """Takes the secrets out of a text that the agent has read."""
        for secret in self.rules.secrets_of(text):
            plain = _letters(secret)
            if len(plain) >= _SHORTEST and len(self._listed) < _MOST_SECRETS and plain not in self._said:
                self._listed[plain] = secret

    def found_in(self, texts: Sequence[tuple[str, str]]) -> list[SecretHit]:
        """The secrets in texts that are sent, each with the pointer of its argument."""
        if not self._listed or not texts:
            return []
        joined = "\n".join(text for _, text in texts)
        found: list[SecretHit] = []
        for secret in dict.fromkeys(self._covered(joined)):
            place = next((pointer for pointer, text in texts if self._listed[secret] in text), None)
            found.append(SecretHit(place is None, place))
        return found

    def _covered(self, joined: str) -> Iterator[str]:
        """Secrets of which enough stands in a text, in one way or another."""
        written = dict(zip(_WAYS, (_letters(_without_percent(joined)), *_encoded_ways(joined)), strict=True))
        for way, text in written.items():
            needles = [
                (secret, one)
                for secret, plain in self._listed.items()
                for one in _as(way, secret, plain)
                if len(text) >= COVERED * len(one)
            ]
            if not needles:
                continue
            runs = [_runs(one) for _, one in needles]
            present = np.isin(np.concatenate(runs), _runs(text))
            ends = np.cumsum([len(one) for one in runs])
            for (secret, one), part in zip(needles, np.split(present, ends[:-1]), strict=True):
                if _share(part, len(one)) >= COVERED:
                    yield secret


def sent_texts(seen: SeenCall) -> list[tuple[str, str]]:
    """What a call sends, with the pointers: all that a call which reaches others is given, of others sinks and URLs."""
    sends_all = not seen.tools or any(tool.effect in ("external", "execute") for tool in seen.tools)
    listed = [
        (one.pointer, one.text)
        for one, is_sink in zip(seen.arguments, seen.sinks, strict=True)
        if sends_all or is_sink or "://" in one.text or one.text.startswith("www.")
    ]
    keys = (
        ((one.pointer, key) for one in seen.arguments for key in one.tokens if not key.isdigit()) if sends_all else ()
    )
    return [*listed, *dict.fromkeys(keys)]


def _letters(text: str) -> str:
    """The letters and digits of a text, folded."""
    return re.sub(r"[\W_]+", "", fold(text).text)


def _without_percent(text: str) -> str:
    for _ in range(3):
        if "%" not in text:
            break
        text = unquote(text)
    return text


def _encoded_ways(text: str) -> tuple[str, str]:
    """The hexadecimal digits of a text, and its characters of base64."""
    text = _without_percent(text)
    hexadecimal = re.sub(r"[^0-9a-f]+", "", re.sub(r"0x|\\x", "", text.lower()))
    return hexadecimal, re.sub(r"[^A-Za-z0-9+/]+", "", text.replace("-", "+").replace("_", "/"))


def _as(way: str, secret: str, original: str) -> list[str]:
    """A secret as it stands in a text that is written in a way."""
    if way == "folded":
        return [secret[:_LONGEST]]
    raw = original.strip().encode("utf-8", "replace")[:_LONGEST]
    if way == "hexadecimal":
        return [raw.hex()]
    needles: list[str] = []
    for before in range(3):
        encoded = base64.b64encode(b"\0" * before + raw).decode("ascii")
        # The first and the last characters hold bits of the neighbours.
        needles.append(encoded[-(-8 * before // 6) : 8 * (before + len(raw)) // 6])
    return needles


def _runs(text: str) -> NDArray[np.uint64]:
    """A number for each run of `_RUN` characters; of a shorter text none."""
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32).astype(np.uint64)
    count = max(len(codes) - _RUN + 1, 0)
    total = np.zeros(count, np.uint64)
    for place in range(_RUN):
        total = (total + codes[place : place + count]) * np.uint64(0x9E3779B97F4A7C15)
        total ^= total >> np.uint64(29)
    return total


def _share(present: NDArray[np.bool_], length: int) -> float:
    """The share of ``length`` characters that runs which are present cover."""
    if not length:
        return 0.0
    change = np.zeros(length + 1, np.int64)
    starts = np.flatnonzero(present)
    np.add.at(change, starts, 1)
    np.add.at(change, starts + _RUN, -1)
    return float(np.count_nonzero(np.cumsum(change[:-1])) / length)
