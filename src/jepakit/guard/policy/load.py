"""Policies from YAML and JSON files, and those that come with jepakit.

A policy is read in one way only, or refused: no key twice, no alias, no word that YAML takes for a number or a date.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from pydantic import BaseModel, ValidationError

from jepakit.errors import DataError, did_you_mean
from jepakit.files import read_text, reading
from jepakit.files.reading import compose_yaml
from jepakit.guard.policy.schema import Policy
from jepakit.guard.traces.strict_json import exact_number, parse

if TYPE_CHECKING:
    import yaml

MAX_POLICY_BYTES = 1 << 20
"""Of a policy file."""

Place = tuple[str | int, ...]
"""The keys and indices that lead to a part of a policy."""

_INTEGER = re.compile(r"[-+]?(?:0|[1-9][0-9]{0,300})", re.ASCII)
_TAG = "tag:yaml.org,2002:"
#: Pydantic puts the alternatives of a union into places; the schema has no field of these names.
_ALTERNATIVE = re.compile(r"[a-z]+(?:-[a-z]+)*\[.*\]|bool|int|float|str|constrained-.*|function-.*")


def load_policy(source: str | Path) -> Policy:
    """A policy from a file, or a ready one by its name.

    Args:
        source: a file that ends with ``.yaml``, ``.yml`` or ``.json``, or one of `ready_policies`, such as
            ``agentdojo/banking``.

    Raises:
        DataError: it cannot be read; names the file, the line (of YAML) and the field.
    """
    ready = _ready_files()
    if str(source) in ready:
        return parse_policy(ready[str(source)].read_text("utf-8"), file=Path(f"{source}.yaml"))
    file = Path(source)
    if file.suffix not in (".yaml", ".yml", ".json"):
        expected = f"a .yaml or .json file, or one of {', '.join(ready)}{did_you_mean(source, ready)}"
        raise DataError("no policy of this name", value=str(source), expected=expected)
    return parse_policy(read_text(file, limit=MAX_POLICY_BYTES), file=file)


def ready_policies() -> tuple[str, ...]:
    """The names of the policies that come with jepakit."""
    return tuple(_ready_files())


def parse_policy(text: str, *, file: Path) -> Policy:
    """A policy from the text of a file; JSON where the file's name ends so.

    Raises:
        DataError: see `load_policy`.
    """
    with reading(file):
        lines: dict[Place, int] = {}
        value = parse(text) if file.suffix == ".json" else _plain(compose_yaml(text), (), lines)
        if not isinstance(value, dict):
            raise DataError("not a policy", value=value, expected="version: 1, and further fields")
        try:
            return Policy.model_validate(value)
        except ValidationError as error:
            raise _located(error, lines) from error


def _ready_files() -> dict[str, Traversable]:
    folder = files("jepakit.guard.policy").joinpath("ready")
    found = {
        f"{group.name}/{file.name.removesuffix('.yaml')}": file
        for group in folder.iterdir()
        if group.is_dir()
        for file in group.iterdir()
        if file.name.endswith(".yaml")
    }
    return dict(sorted(found.items()))


def _plain(node: yaml.Node | None, place: Place, lines: dict[Place, int]) -> Any:
    """The value of a YAML tree, and the lines of its parts."""
    import yaml

    if node is None:
        return None
    line = node.start_mark.line + 1
    lines.setdefault(place, line)
    if isinstance(node, yaml.MappingNode):
        found: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = _key(key_node, place)
            if key in found:
                raise DataError("a key stands twice", line=key_node.start_mark.line + 1, field=_dotted((*place, key)))
            lines[(*place, key)] = key_node.start_mark.line + 1
            found[key] = _plain(value_node, (*place, key), lines)
        return found
    if isinstance(node, yaml.SequenceNode):
        return [_plain(one, (*place, number), lines) for number, one in enumerate(node.value)]
    return _scalar(node, place)


def _key(node: yaml.Node, place: Place) -> str:
    if isinstance(node.value, str) and node.tag in (f"{_TAG}str", f"{_TAG}int", f"{_TAG}bool"):
        return node.value
    raise DataError("a key that is no text", line=node.start_mark.line + 1, field=_dotted(place), expected="a text")


def _scalar(node: yaml.Node, place: Place) -> bool | int | float | str | None:
    text, kind = str(node.value), node.tag.removeprefix(_TAG)
    number = exact_number(text)
    if kind == "str" or kind == "timestamp":
        return text
    if kind == "null":
        return None
    if kind == "bool" and text.lower() in ("true", "false"):
        return text.lower() == "true"
    if kind == "int" and _INTEGER.fullmatch(text):
        return int(text)
    # A fraction that a double does not hold would be another limit than the one that is written.
    if kind == "float" and number is not None and exact_number(float(text)) == number:
        return float(text)
    expected = "true, false, a decimal number, or a text in quotation marks"
    raise DataError(
        "a value with more than one meaning",
        line=node.start_mark.line + 1,
        field=_dotted(place),
        value=text,
        expected=expected,
    )


def _located(error: ValidationError, lines: dict[Place, int]) -> DataError:
    """The first fault of a policy, with its line and field."""
    fault = error.errors(include_url=False)[0]
    place = tuple(part for part in fault["loc"] if isinstance(part, int) or not _ALTERNATIVE.fullmatch(part))
    known = next((place[:end] for end in range(len(place), -1, -1) if place[:end] in lines), None)
    line = None if known is None else lines[known]
    if fault["type"] == "extra_forbidden":
        names = _fields_at(place[:-1])
        expected = f"one of {', '.join(names)}{did_you_mean(place[-1], names)}"
        return DataError("an unknown field", line=line, field=_dotted(place), expected=expected)
    value = fault["input"] if isinstance(fault["input"], str | int | float) else None
    problem = fault["msg"].removeprefix("Value error, ")
    return DataError(problem, line=line, field=_dotted(place), value=value)


def _fields_at(place: Place) -> Sequence[str]:
    """The fields of the part of the schema that stands at a place."""
    model: type[BaseModel] = Policy
    for part in place:
        if isinstance(part, str) and part in model.model_fields:
            model = _model_of(model.model_fields[part].annotation) or model
    return tuple(model.model_fields)


def _model_of(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for one in get_args(annotation) if (found := _model_of(one)) is not None), None)


def _dotted(place: Place) -> str | None:
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place)
    return text.removeprefix(".") or None
