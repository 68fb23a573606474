"""Secrets that an agent has read, and whether they stand in what it sends; `jepakit.guard.audit.pieces` says how."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial

import numpy as np
from numpy.typing import NDArray

from jepakit.errors import ConfigError, require_choice
from jepakit.guard.audit.pieces import COVERED, Disguise, Disguises, letters, masks_in
from jepakit.guard.policy import Decision
from jepakit.guard.policy.patterns import expression
from jepakit.guard.policy.running import SeenCall

#: Characters of the shortest secret, and secrets of a run.
_SHORTEST, _MOST_SECRETS = 6, 256
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


@dataclass(frozen=True)
class Sent:
    """What of the secrets of a run stands in what a call sends.

    Args:
        hits: secrets of which enough stands there, with what earlier calls have sent.
        masks: of each disguise of each secret of which something stands there, which characters do.
    """

    hits: tuple[SecretHit, ...] = ()
    masks: Mapping[Disguise, NDArray[np.bool_]] = field(default_factory=dict)


@dataclass
class Secrets:
    """The secrets that an agent has read.

    Args:
        rules: what is one.
        known: words of the user, which are none.
    """

    rules: SecretRules
    known: str = ""
    _listed: dict[str, Disguises] = field(default_factory=dict)
    _sent: dict[Disguise, NDArray[np.bool_]] = field(default_factory=dict)

    @cached_property
    def _said(self) -> str:
        return letters(self.known)

    def copy(self) -> Secrets:
        """The same secrets; more can be added to either."""
        return Secrets(self.rules, self.known, dict(self._listed), dict(self._sent))

    def read(self, text: str) -> None:
        """Takes the secrets out of a text that the agent has read."""
        for secret in self.rules.secrets_of(text):
            plain = letters(secret)
            if len(plain) >= _SHORTEST and len(self._listed) < _MOST_SECRETS and plain not in self._said:
                self._listed[plain] = Disguises.of(secret)

    def found_in(self, texts: Sequence[tuple[str, str]]) -> Sent:
        """The secrets in texts that are sent, which have the pointers of their arguments; nothing changes."""
        if not self._listed or not texts:
            return Sent()
        masks = masks_in([text for _, text in texts], list(self._listed.values()))
        found = (secret for secret in self._listed.values() if any(map(partial(self._is_whole, masks), secret.listed)))
        hits: list[SecretHit] = []
        for secret in found:
            place = next((pointer for pointer, text in texts if secret.original in text), None)
            hits.append(SecretHit(place is None, place))
        return Sent(tuple(hits), masks)

    def add(self, sent: Sent) -> None:
        """A call has sent it: what stands there counts for later calls that send the rest."""
        for disguise, mask in sent.masks.items():
            self._sent[disguise] = self._before(disguise) | mask

    def _is_whole(self, masks: Mapping[Disguise, NDArray[np.bool_]], disguise: Disguise) -> bool:
        """Whether enough of a disguise is sent now, or now and before, but not before alone."""
        mask = masks.get(disguise)
        if mask is None:
            return False
        if mask.mean() >= COVERED:
            return True
        before = self._before(disguise)
        return bool((mask | before).mean() >= COVERED > before.mean())

    def _before(self, disguise: Disguise) -> NDArray[np.bool_]:
        return self._sent.get(disguise, np.zeros(len(disguise.text), np.bool_))


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
