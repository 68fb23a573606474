"""Filters on metadata: which documents may be found at all."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, TypeGuard, cast

from jepakit.errors import ConfigError

Value = str | int | float | bool
Condition = Value | Sequence[Value] | Mapping[str, Value]
"""A value, several of which one must be there, or bounds: ``{"gte": 2020, "lt": 2024}``."""
Filter = Mapping[str, Condition]
"""Field -> condition; all must hold, and a document without the field fails."""
Conditions = Mapping[str, tuple[Value, ...] | Mapping[str, Value]]
"""Field -> values of which one must be there, or bounds by their signs: ``{">=": 2020, "<": 2024}``."""

_EXAMPLE = "field=value, field=one|other, or field>=number, for example: lang=en|de year>=2020"
_WORD = re.compile(r"\s*(?P<field>[^=<>|!]*[^=<>|!\s])\s*(?P<sign>>=|<=|=|>|<)\s*(?P<value>[^=<>].*)", re.DOTALL)
_BOUNDS = {"gte": ">=", "gt": ">", "lte": "<=", "lt": "<"}
_NAMES = {sign: name for name, sign in _BOUNDS.items()}


def parse_filter(words: Sequence[str]) -> dict[str, Condition]:
    """The filter that words of a command line say: ``lang=en|de``, ``year>=2020``, ``year<2024``.

    On the command line nothing tells the number 7 from the text "7": ``=`` finds either. Bounds compare numbers with
    numbers and texts with texts. ``true`` and ``false`` are truth values.

    Raises:
        ConfigError: a word is no condition, or a field has two that cannot be one.
    """
    found: dict[str, Condition] = {}
    for word in words:
        match = _WORD.fullmatch(word)
        if match is None:
            raise ConfigError("filter", word, _EXAMPLE)
        field, sign, text = match["field"], match["sign"], match["value"].strip()
        before = found.get(field)
        if sign == "=":
            if before is not None:
                raise ConfigError("filter", word, f"one condition on {field}; several values as {field}=one|other")
            found[field] = [value for part in text.split("|") for value in _readings(part.strip())]
        else:
            bounds = before if before is None or isinstance(before, Mapping) else None
            if before is not None and (bounds is None or _NAMES[sign] in bounds):
                raise ConfigError("filter", word, f"one condition on {field} for each of >=, >, <=, <, and none with =")
            found[field] = {**(bounds or {}), _NAMES[sign]: _readings(text)[0]}
    return found


def conditions_of(where: Filter) -> Conditions:
    """The conditions of a filter, each of them checked, for an engine to put into its own language.

    Raises:
        ConfigError: the filter is not one.
    """
    return {field: _condition(field, condition) for field, condition in where.items()}


def filter_sql(where: Filter) -> tuple[str, tuple[Value, ...]]:
    """A filter as a condition on the column ``metadata`` (a JSON object), and the values for its question marks.

    Fields and values are bound, never written into the statement.

    Raises:
        ConfigError: the filter is not one.
    """
    clauses, values = ["1"], list[Value]()
    for field, condition in conditions_of(where).items():
        if isinstance(condition, Mapping):
            clause = " AND ".join(_bound_sql(sign, value) for sign, value in condition.items())
            values += [field, *condition.values()]
        else:
            clause, lists = _among_sql(condition)
            values += [field, *lists]
        clauses.append(f"EXISTS (SELECT 1 FROM json_each(metadata) AS one WHERE one.key = ? AND ({clause}))")
    return " AND ".join(clauses), tuple(values)


def _among_sql(condition: tuple[Value, ...]) -> tuple[str, list[str]]:
    """One of these values; bound as lists in JSON, because SQLite limits the number of values and of operators."""
    # JSON's truth values become 1 and 0 in SQLite, which the number 1 is not to match, nor the other way round.
    truths = [value for value in condition if isinstance(value, bool)]
    # SQLite cuts texts of JSON at NUL, so that "a\\0b" would find "a".
    others = [value for value in condition if not isinstance(value, bool) and "\0" not in str(value)]
    parts = [(kind, some) for kind, some in (("IN", truths), ("NOT IN", others)) if some]
    among = "one.value IN (SELECT value FROM json_each(?))"
    clauses = [f"(one.type {kind} ('true', 'false') AND {among})" for kind, _ in parts]
    return " OR ".join(clauses) or "0", [json.dumps(some) for _, some in parts]


def _bound_sql(sign: str, value: Value) -> str:
    # In SQLite any text is above any number; here they cannot be compared.
    kinds = "'text'" if isinstance(value, str) else "'integer', 'real'"
    return f"one.type IN ({kinds}) AND one.value {sign} ?"


def _condition(field: str, condition: object) -> tuple[Value, ...] | dict[str, Value]:
    if isinstance(condition, Mapping):
        bounds = cast("Mapping[str, object]", condition)
        if not bounds or set(bounds) - set(_BOUNDS):
            raise ConfigError(f"filter.{field}", dict(bounds), 'bounds such as {"gte": 2020, "lt": 2024}')
        checked: dict[str, Value] = {}
        for name, value in bounds.items():
            if not _is_value(value) or isinstance(value, bool):
                raise ConfigError(f"filter.{field}.{name}", value, "a number or text")
            checked[_BOUNDS[name]] = value
        return checked
    choices = [condition] if isinstance(condition, str | int | float) else condition
    if not isinstance(choices, list | tuple) or not choices:
        raise ConfigError(f"filter.{field}", condition, "a value, a list of values, or bounds")
    values = tuple(cast("Sequence[object]", choices))
    unfit = [value for value in values if not _is_value(value)]
    if unfit:
        raise ConfigError(f"filter.{field}", unfit[0], "text, a number, true or false")
    return cast("tuple[Value, ...]", values)


def _is_value(value: object) -> TypeGuard[Value]:
    """Whether SQLite can compare with it: no lone surrogates, no NaN, no integer of more than 64 bits."""
    if isinstance(value, str):
        return not any("\ud800" <= character <= "\udfff" for character in value)
    return isinstance(value, float | int) and -(2**63) <= value < 2**63


def _readings(text: str) -> list[Value]:
    """What a word may mean, the likeliest first."""
    if text in ("true", "false"):
        return [text == "true", text]
    for kind in (int, float):
        try:
            number: Any = kind(text)
        except ValueError:
            continue
        # SQLite's integers have 64 bits; "nan", "inf" and "1_000" are words.
        if re.fullmatch(r"[-+]?[\d.]+([eE][-+]?\d+)?", text) and abs(number) < 2**63:
            return [number, text]
    return [text]
