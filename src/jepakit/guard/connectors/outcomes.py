"""What all connectors share: failures that say nothing, and what a model reads of a call that is not carried out."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable

from jepakit.errors import JepakitError
from jepakit.guard.audit import Judgement

_LOGGER = logging.getLogger(__name__)
INTERNAL = 'Not carried out: the call is denied. {"decision": "deny", "code": "internal"}'
"""What a model reads where the guard itself has failed."""


class GuardFailedError(JepakitError):
    """The guard has failed; the text says no more, because a model may read it."""


def contained(work: Callable[[], Judgement]) -> Judgement:
    """A judgement.

    Raises:
        GuardFailedError: there is none, whatever the reason.
    """
    try:
        return work()
    except Exception as error:
        _LOGGER.warning("a call could not be judged: %s", type(error).__name__)
        raise GuardFailedError("internal") from error


def refusal(judgement: Judgement) -> str:
    """What the model reads: that the call was not carried out, and no more than the coarse reason."""
    public = json.dumps(judgement.public())
    if judgement.effective == "ask":
        return f"Not carried out: a person has to approve this call first. {public}"
    return f"Not carried out: the call is denied. {public}"


def text_of(content: object) -> str:
    """What a model reads of an output, as one text."""
    return content if isinstance(content, str) else json.dumps(content, ensure_ascii=False, default=str)
