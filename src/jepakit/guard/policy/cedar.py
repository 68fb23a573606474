"""Policies in Cedar as a hard gate beside ours: what Cedar denies is denied, what it allows is judged as without it.

For each call the principal is ``Role::"<role>"``, the action ``Action::"<tool>"``, the resource ``Server::"<server>"``,
and the context ``{"arguments": ..., "session": ..., "task": ...}``. Source: https://docs.cedarpolicy.com.
"""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from jepakit.errors import DataError, MissingExtraError, in_one_line
from jepakit.files import read_text
from jepakit.guard.data import Call, Trace
from jepakit.guard.policy.load import MAX_POLICY_BYTES
from jepakit.guard.policy.verdict import Reason, Verdict
from jepakit.guard.traces.strict_json import exact_number, is_number, leaves

if TYPE_CHECKING:
    import cedarpy

#: Numbers of Cedar: `Long` has 64 bits, `decimal` 64 bits and four digits after the point.
_LONG, _DECIMALS = 2**63, 4


class CedarGate:
    """The policies of a Cedar file.

    Args:
        policies: their text.
        file: where it comes from, for messages.

    Raises:
        DataError: the text is no Cedar.
        MissingExtraError: `cedarpy` is not installed.
    """

    def __init__(self, policies: str, *, file: Path | None = None) -> None:
        try:
            import cedarpy
        except ImportError as error:
            raise MissingExtraError("cedarpy", "cedar") from error
        self._cedar = cedarpy
        try:
            self._policies: cedarpy.PolicySet = cedarpy.PolicySet.from_str(policies)
        except ValueError as error:
            raise DataError(f"not Cedar: {in_one_line(error)}", file=file) from error
        self._entities = cedarpy.Entities.from_json_str("[]")

    @classmethod
    def from_file(cls, file: Path) -> CedarGate:
        """The gate of a file.

        Raises:
            DataError, MissingExtraError: as for the class; also where the file cannot be read.
        """
        return cls(read_text(file, limit=MAX_POLICY_BYTES), file=file)

    def judge(self, trace: Trace) -> tuple[Verdict, ...]:
        """The verdict of Cedar over each call; for `jepakit.guard.policy.strictest`, with that of the policy.

        A call whose arguments are not known, or hold values that Cedar cannot, is denied, and so is one that a policy
        fails on: Cedar leaves such a policy out, even one that forbids.
        """
        return tuple(Verdict.of(call.id, self._reasons(trace, call)) for call in trace.calls)

    def _reasons(self, trace: Trace, call: Call) -> list[Reason]:
        if call.arguments is None:
            return [Reason("cedar.context", "deny", call.id, "it is not known what the tool is called with")]
        try:
            context = {
                "arguments": cedar_value(call.arguments),
                "session": cedar_value(trace.context.session),
                "task": trace.context.task,
            }
        except DataError as error:
            return [Reason("cedar.context", "deny", call.id, error.problem, error.field)]
        request = {
            "principal": {"type": "Role", "id": trace.context.role or ""},
            "action": {"type": "Action", "id": call.tool},
            "resource": {"type": "Server", "id": call.server},
            "context": context,
        }
        answer = self._cedar.is_authorized(request, self._policies, self._entities)
        if answer.diagnostics.errors:
            return [Reason("cedar.errors", "deny", call.id, "Cedar could not evaluate the call")]
        if answer.allowed:
            return []
        rules = answer.diagnostics.reasons or ["default"]
        return [Reason(f"cedar.{rule}", "deny", call.id, "Cedar denies the call") for rule in rules]


def cedar_value(value: object) -> Any:
    """A JSON value as Cedar's context takes it.

    Whole numbers are ``Long``, others ``decimal``. Cedar has no null: a key with null is left out.

    Raises:
        DataError: Cedar has no such value: a number beyond its own, a null in a list, or a key that begins with ``__``,
            which would be read as an entity or an extension.
    """
    # Bounds size and depth, before anything is built.
    leaves(value)
    return _converted(value, "")


def _converted(value: object, pointer: str) -> Any:
    if isinstance(value, dict):
        found: dict[str, Any] = {}
        for key, one in cast(dict[str, object], value).items():
            if key.startswith("__"):
                raise DataError("a key that Cedar reads in its own way", field=pointer)
            if one is not None:
                found[key] = _converted(one, f"{pointer}/{key}")
        return found
    if isinstance(value, list | tuple):
        return [_converted(one, f"{pointer}/{place}") for place, one in enumerate(cast(list[object], value))]
    number = exact_number(value) if is_number(value) else None
    if number is not None:
        return _number(number, pointer)
    if isinstance(value, str | bool):
        return value
    raise DataError("Cedar has no null", field=pointer)


def _number(number: Decimal, pointer: str) -> Any:
    if number == number.to_integral_value() and -_LONG <= number < _LONG:
        return int(number)
    scaled = number.scaleb(_DECIMALS)
    if scaled == scaled.to_integral_value() and -_LONG <= scaled < _LONG:
        return {"__extn": {"fn": "decimal", "arg": f"{number:f}"}}
    raise DataError("Cedar has no such number", field=pointer, expected="64 bits, and four digits after the point")
