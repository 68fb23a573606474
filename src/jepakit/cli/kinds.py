"""The types of options: what a value of one may be, and how it is called."""

from __future__ import annotations

from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

A_FILE = "a YAML file of options and values"


def is_element(value: str, kind: Any) -> bool:
    """Whether a word is one element of a list, and not a list as YAML or null."""
    kinds = [kind, *get_args(kind)] if get_origin(kind) in (Union, UnionType) else [kind]
    is_null = value == "null" and NoneType in kinds
    return any(get_origin(one) is list for one in kinds) and not is_null and not value.lstrip().startswith("[")


def choices(kind: Any) -> list[str]:
    """The texts among which a value of the type is chosen."""
    if get_origin(kind) is Literal:
        return [str(choice) for choice in get_args(kind)]
    return [choice for part in get_args(kind) for choice in choices(part)]


def in_words(kind: Any) -> str:
    """A type in words."""
    parts = get_args(kind)
    if get_origin(kind) is Literal:
        return f"one of {', '.join(sorted(map(str, parts)))}"
    if get_origin(kind) in (Union, UnionType):
        return " or ".join("null" if part is NoneType else in_words(part) for part in parts)
    if get_origin(kind) is list:
        return f"a list [..., ...], each {in_words(parts[0])}"
    if get_origin(kind) is dict:
        return f"a mapping {{name: value}}, each value {in_words(parts[1])}"
    words = {int: "a whole number", float: "a number", bool: "true or false", str: "text", Path: "a path", dict: A_FILE}
    return words.get(kind, str(kind))
