"""What the name of a tool says that it does."""

from __future__ import annotations

import re
from collections.abc import Mapping

from jepakit.guard.policy.schema import Effect


def words_in(words: str) -> frozenset[str]:
    """The words of a text that stand between spaces."""
    return frozenset(words.split())


READS = words_in(
    """
    get list search read find fetch lookup query describe count check show view retrieve calculate compute compare
    browse download is has
    """
)
SENDS = words_in(
    """
    send post pay publish share invite forward reply email mail message notify transfer reserve book buy order
    purchase submit upload tweet call push release refund grant subscribe donate withdraw wire
    """
)
EXECUTES = words_in("execute exec run eval shell bash command script sql deploy install invoke spawn")
CHANGES = words_in(
    """
    create update delete remove write edit add set append move rename cancel modify change insert replace drop clear
    reset schedule reschedule save store put patch merge close open enable disable revoke approve archive mark
    exchange return
    """
)
#: Of these verbs those that are nouns as well: behind another verb they are what it is about.
_NOUNS = words_in(
    """
    email mail message call post book order command script sql share schedule set open close store return archive
    mark change reply grant wire transfer purchase run move
    """
)
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
_VERBS: Mapping[Effect, frozenset[str]] = {"execute": EXECUTES, "external": SENDS, "write": CHANGES, "read": READS}
_ANY_VERB = frozenset[str]().union(*_VERBS.values())


def words_of(name: str) -> list[str]:
    """The words of a name such as ``getUserID`` or ``get_user_id``, in lower case."""
    return [word.lower() for word in _WORD.findall(name)]


def effects_of(name: str) -> dict[Effect, str]:
    """The effects of which a tool's name has a verb, each with the first such verb."""
    words = words_of(name)
    found: dict[Effect, str] = {}
    for effect, verbs in _VERBS.items():
        if verb := next((word for place, word in enumerate(words) if word in verbs and _is_verb(words, place)), None):
            found[effect] = verb
    return found


def reads_only(name: str) -> bool:
    """Whether the name of a tool says that it changes nothing."""
    return effects_of(name).keys() == {"read"}


def _is_verb(words: list[str], place: int) -> bool:
    """Whether a word of a name is what the tool does: its first verb, one behind "and", or one that is no noun."""
    behind = words[:place]
    first = not any(word in _ANY_VERB for word in behind)
    return first or words[place] not in _NOUNS or behind[-1] in ("and", "or", "then")
