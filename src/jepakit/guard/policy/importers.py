"""Policies of others: AWS IAM documents, and service policies in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

from pydantic import ValidationError

from jepakit.errors import DataError, did_you_mean
from jepakit.files import json_lines, parse_json, read_text, reading
from jepakit.guard.data import Tool
from jepakit.guard.policy.draft import draft_policy
from jepakit.guard.policy.schema import Grant, Policy

_EFFECTS = {"Allow": "allow", "Deny": "deny"}
_ELEMENTS = ("Sid", "Effect", "Action", "NotAction", "Resource", "NotResource", "Condition")
_TYPES = {bool: "boolean", int: "integer", float: "number", str: "string", list: "array", dict: "object"}


def iam_policy(document: Mapping[str, Any], *, name: str = "", resource_argument: str | None = None) -> Policy:
    """A policy document of AWS IAM; the names of tools are AWS actions such as ``s3:GetObject``.

    Conditions are kept and not evaluated: a call that depends on one is asked about. So is one that depends on a
    resource, unless ``resource_argument`` says where calls name theirs.

    Args:
        document: the JSON document, with ``Statement``.
        name: of the policy.
        resource_argument: pattern of the argument that holds the resource's ARN, such as ``/resource``.

    Raises:
        DataError: it is no such document; names the statement and the element.
    """
    listed = document.get("Statement")
    statements = cast(list[Any], listed if isinstance(listed, list) else [listed])
    grants = [_grant(statement, f"Statement[{place}]", resource_argument) for place, statement in enumerate(statements)]
    return Policy(name=name, grants=tuple(grants), document=dict(document))


def iam_policies(file: Path, *, resource_argument: str | None = None) -> Iterator[Policy]:
    """The policies of a JSON Lines file, packed or not, of objects with ``name`` and ``document``.

    Raises:
        DataError: as `iam_policy`; names the line.
    """
    for line, row in json_lines(file):
        with reading(file):
            document = row.get("document")
            if not isinstance(document, dict):
                raise DataError("no policy document", line=line, field="document", value=document, expected="{...}")
            try:
                policy = iam_policy(
                    cast(dict[str, Any], document), name=str(row.get("name", "")), resource_argument=resource_argument
                )
            except DataError as error:
                raise DataError(
                    error.problem, line=line, field=error.field, value=error.value, expected=error.expected
                ) from error
        yield policy


def service_policy(folder: Path) -> Policy:
    """A service policy of tau2-bench: the words of ``policy.md``, and a draft for the tools of ``tasks.json``.

    The tools are those that the reference actions of the tasks call, with the arguments that they are called with.

    Args:
        folder: with ``policy.md``, and ``tasks.json`` where tools are to be derived.

    Raises:
        DataError: a file cannot be read.
    """
    words = read_text(folder / "policy.md")
    file = folder / "tasks.json"
    tools: list[Tool] = []
    if file.is_file():
        with reading(file):
            tools = _tools_of_tasks(parse_json(read_text(file)))
    with reading(file):
        return draft_policy(tools, name=folder.name).model_copy(update={"document": words})


def _grant(statement: Any, field: str, resource_argument: str | None) -> Grant:
    if not isinstance(statement, Mapping):
        raise DataError("not a statement", field=field, value=statement, expected="{...}")
    for element in statement:
        # Elements such as Principal say whom a statement is about, which is not known here.
        if element not in _ELEMENTS:
            expected = f"one of {', '.join(_ELEMENTS)}{did_you_mean(element, _ELEMENTS)}"
            raise DataError("an element that is not read", field=f"{field}.{element}", expected=expected)
    effect = statement.get("Effect")
    if effect not in _EFFECTS:
        raise DataError("not an effect", field=f"{field}.Effect", value=effect, expected="Allow or Deny")
    lists = {element: _texts(statement, element, field) for element in _ELEMENTS[2:6]}
    condition = statement.get("Condition")
    if condition is not None and not isinstance(condition, Mapping):
        raise DataError("not a condition", field=f"{field}.Condition", value=condition, expected="{...}")
    try:
        return Grant.model_validate(
            {
                "id": str(statement.get("Sid") or field),
                "effect": _EFFECTS[effect],
                "actions": lists["Action"],
                "not_actions": lists["NotAction"],
                "resources": lists["Resource"],
                "not_resources": lists["NotResource"],
                "resource_argument": resource_argument,
                "condition": None if condition is None else dict(condition),
            }
        )
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        raise DataError(fault["msg"].removeprefix("Value error, "), field=field) from error


def _texts(statement: Mapping[str, Any], element: str, field: str) -> tuple[str, ...]:
    value = statement.get(element, [])
    listed = cast(list[Any], value if isinstance(value, list) else [value])
    for one in listed:
        if not isinstance(one, str):
            raise DataError("not a text", field=f"{field}.{element}", value=one, expected="a text or a list of texts")
    if element in statement and not listed:
        raise DataError("an empty list", field=f"{field}.{element}", expected="at least one text")
    return tuple(listed)


def _tools_of_tasks(tasks: Any) -> list[Tool]:
    """The tools of the reference actions, in the order of their first use, with types of their arguments."""
    if not isinstance(tasks, list):
        raise DataError("not a list of tasks", value=tasks, expected="[...]")
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for task in cast(list[Any], tasks):
        for action in task["evaluation_criteria"].get("actions") or ():
            arguments = found.setdefault(str(action["name"]), {})
            for key, value in action["arguments"].items():
                arguments.setdefault(str(key), _schema_of(value))
    return [
        Tool(name=name, input_schema={"type": "object", "properties": arguments}) for name, arguments in found.items()
    ]


def _schema_of(value: Any) -> dict[str, Any]:
    schema: dict[str, Any] = {} if value is None else {"type": _TYPES[type(value)]}
    if isinstance(value, dict):
        schema["properties"] = {str(key): _schema_of(one) for key, one in cast(dict[str, Any], value).items()}
    if isinstance(value, list) and value:
        schema["items"] = _schema_of(value[0])
    return schema
