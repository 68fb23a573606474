"""JSON of other programs read field by field; whatever is wrong is an error that names the field."""

from __future__ import annotations

import json
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from pydantic import BaseModel, ValidationError

from jepakit.errors import DataError
from jepakit.guard.traces.strict_json import JsonLimits, JsonValue, leaves, parse

M = TypeVar("M", bound=BaseModel)

WHOLE = JsonLimits(bytes=1 << 26, depth=64, leaves=1 << 21)
"""Of one trace, or one file of messages."""


@dataclass(frozen=True)
class Fields:
    """A JSON object and where it stands.

    Args:
        content: its fields; those that nobody asks for are ignored.
        where: its place, such as ``messages[2]``.
    """

    content: Mapping[str, Any]
    where: str = ""

    @classmethod
    def of(cls, value: object, where: str = "") -> Fields:
        """The fields of a value.

        Raises:
            DataError: it is no object.
        """
        if not isinstance(value, Mapping):
            raise DataError("not a JSON object", field=where or None, value=value, expected="{...}")
        return cls(cast(Mapping[str, Any], value), where)

    def place(self, key: str) -> str:
        """The place of a field."""
        return f"{self.where}.{key}".removeprefix(".")

    def get(self, *keys: str) -> Any:
        """The value of the first of these fields that is there and not null, else None."""
        return next((self.content[key] for key in keys if self.content.get(key) is not None), None)

    def text(self, *keys: str) -> str | None:
        """The text in the first of these fields that is there and not null, else None.

        Raises:
            DataError: it is no text.
        """
        key = next((key for key in keys if self.content.get(key) is not None), None)
        return None if key is None else text_of(self.content[key], self.place(key))

    def required(self, key: str) -> str:
        """The text in a field.

        Raises:
            DataError: it is missing, no text or empty.
        """
        text = self.text(key)
        if not text:
            raise DataError("is missing", field=self.place(key), value=text, expected="a text")
        return text

    def require(self, *keys: str) -> None:
        """Checks that one of these fields is there and not null.

        Raises:
            DataError: none is.
        """
        if self.get(*keys) is None:
            raise DataError("is missing", field=self.place(" or ".join(keys)))

    def boolean(self, key: str) -> bool | None:
        """True or false in a field; None where it is missing.

        Raises:
            DataError: it is something else.
        """
        value = self.get(key)
        if value is not None and not isinstance(value, bool):
            raise DataError("neither true nor false", field=self.place(key), value=value, expected="true or false")
        return value

    def fields(self, key: str) -> Fields:
        """The object in a field, empty where it is missing.

        Raises:
            DataError: it is no object.
        """
        value = self.get(key)
        return Fields({} if value is None else Fields.of(value, self.place(key)).content, self.place(key))

    def items(self, *keys: str) -> list[tuple[Any, str]]:
        """The elements of the list in the first of these fields that is there, with their places.

        Raises:
            DataError: it is no list.
        """
        key = next((key for key in keys if self.content.get(key) is not None), keys[0])
        return elements(self.content.get(key), self.place(key))

    def objects(self, *keys: str) -> list[Fields]:
        """As `items`, of objects.

        Raises:
            DataError: an element is no object.
        """
        return [Fields.of(value, where) for value, where in self.items(*keys)]


def text_of(value: object, where: str) -> str:
    """The text that a value is.

    Raises:
        DataError: it is none, or holds half of a surrogate pair, which no file can.
    """
    if not isinstance(value, str):
        raise DataError("not a text", field=where or None, value=value, expected="a text")
    if not value.isascii():
        try:
            value.encode("utf-8")
        except UnicodeEncodeError as error:
            raise DataError("half of a surrogate pair in a text", field=where or None) from error
    return value


def elements(value: object, where: str) -> list[tuple[Any, str]]:
    """The elements of a list with their places; none where it is null.

    Raises:
        DataError: it is no list.
    """
    if value is None:
        return []
    if not isinstance(value, Sequence) or isinstance(value, str | bytes | bytearray):
        raise DataError("not a list", field=where or None, value=value, expected="[...]")
    return [(one, f"{where}[{number}]") for number, one in enumerate(value)]


def build(model: type[M], where: str, **values: Any) -> M:
    """A model of these values.

    Raises:
        DataError: they are none; names the first field that is wrong.
    """
    return validated(model, where, values)


def validated(model: type[M], where: str, value: object) -> M:
    """The model that a value is.

    Raises:
        DataError: it is none; names the first field that is wrong.
    """
    try:
        return model.model_validate(value)
    except ValidationError as error:
        fault = error.errors(include_url=False, include_context=False)[0]
        steps = (f"[{step}]" if isinstance(step, int) else f".{step}" for step in fault["loc"])
        field = f"{where}{''.join(steps)}".removeprefix(".")
        match fault["type"]:
            case "missing":
                problem, value, expected = "is missing", None, None
            case "extra_forbidden":
                problem, value, expected = "is not a field", None, None
            case "value_error":
                problem, value, expected = fault["msg"].removeprefix("Value error, "), None, None
            case _:
                problem, value, expected = (
                    "is not allowed",
                    fault["input"],
                    fault["msg"].removeprefix("Input should be "),
                )
        raise DataError(problem, field=field or None, value=value, expected=expected) from error


@contextmanager
def place(where: str) -> Generator[None]:
    """Puts ``where`` before the field of a DataError that is raised inside of the block."""
    try:
        yield
    except DataError as fault:
        # A JSON pointer, or a key.
        inner = fault.field if not fault.field or fault.field.startswith("/") else f".{fault.field}"
        field = f"{where}{inner or ''}".removeprefix(".") or None
        raise type(fault)(fault.problem, field=field, value=fault.value, expected=fault.expected) from fault


def json_object(value: object, where: str) -> dict[str, Any]:
    """An object that holds nothing but JSON, empty where it is null.

    Raises:
        DataError: it is something else.
    """
    if value is None:
        return {}
    content = Fields.of(value, where).content
    with place(where):
        leaves(content, WHOLE)
    return dict(content)


def json_of(value: object, where: str) -> JsonValue:
    """A value that may have been written as JSON text.

    Raises:
        DataError: the text is no JSON.
    """
    if not isinstance(value, str):
        return cast(JsonValue, value)
    with place(where):
        return parse(value, WHOLE)


def as_text(value: object, where: str) -> str:
    """A text as it is, anything else as compact JSON.

    Raises:
        DataError: it is not JSON.
    """
    if isinstance(value, str):
        return text_of(value, where)
    with place(where):
        leaves(value, WHOLE)
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def content_text(content: object, where: str, *, texts_only: bool = False) -> str:
    """The text of a message's content, which is a text or a list of parts; empty where it is null.

    Args:
        content: of the message.
        where: its place.
        texts_only: leave out parts that are no texts, such as images, which else stand there as compact JSON without
            their bytes.

    Raises:
        DataError: it is neither.
    """
    if content is None or isinstance(content, str):
        return text_of(content or "", where)
    if isinstance(content, Mapping):
        return as_text(content, where)
    texts: list[str] = []
    for part, at in elements(content, where):
        if isinstance(part, str):
            texts.append(text_of(part, at))
            continue
        fields = Fields.of(part, at)
        if (text := fields.text("text", "content", "refusal")) is not None:
            texts.append(text)
        elif not texts_only:
            texts.append(as_text({key: value for key, value in part.items() if key not in ("data", "blob")}, at))
    return "\n".join(texts)


def joined(texts: Iterable[str]) -> str:
    """Texts as paragraphs, each once; empty ones are left out."""
    return "\n\n".join(dict.fromkeys(text for text in texts if text))
