"""Damaged versions of a file: what disks, editors, spreadsheets, other programs and attackers make of it."""

from __future__ import annotations

import gzip
import io
import json
import re
from collections.abc import Callable
from random import Random
from typing import Any

WORDS = [
    *(b"", b"0", b"-0", b"-1", b"NaN", b"nan", b"inf", b"-Infinity", b"1e400", b"1e-400", b"1.0D0", b"1,5", b"0x10"),
    *(b"1_000", b"+5", b"5.", b"9" * 400, b"9" * 5000, str(2**63).encode(), str(-(2**63) - 1).encode(), b"null"),
    *(b"None", b"true", b"\0", b"\xff", b"\xef\xbb\xbf", b"\\ud800", b"\xed\xa0\x80", "é½٣".encode(), b"\xe2\x80\xae"),
    *(b"'", b'"', b"\\", b"\t", b"\r", b"\n", b"\r\n", b"\x0b", b"\x1a", b"\xc2\x85", b"\xe2\x80\xa8", b" ", b"#"),
    *(b"%s%n", b"../../etc/passwd", b"a" * 70_000, b"[" * 2000, b"{}", b"[]", b"- ", b": ", b"&a;", b"<!--", b"]]>"),
    *(b'<!DOCTYPE x [<!ENTITY a "b">]>', b"*a", b"&a", b"!!python/name:os.system", b"C" * 300, b"(" * 300, b"@", b"|"),
]
"""What takes the place of a word, or stands between two."""

VALUES: list[Any] = [
    *(None, True, False, 0, -1, 1, 2**31, 2**63, -(2**63) - 1, 10**400, 0.5, -0.0, 1e308, 1e-320, float("nan")),
    *(float("inf"), "", " ", "0", "nan", "\0", "\ud800", "a" * 70_000, "é½٣", "../../etc/passwd", [], {}, [[]], [None]),
    *({"": None}, {"id": {}}, [[1, 2], [3]], list(range(300)), ["a", 1, None], {"a": {"b": {"c": [{}]}}}),
]
"""What takes the place of a value of JSON."""

_WORD = re.compile(rb"[-+.\w]+")


def _place(content: bytes, draw: Random) -> int:
    return draw.randrange(len(content) + 1)


def _slice(content: bytes, draw: Random) -> tuple[int, int]:
    start = _place(content, draw)
    return start, min(len(content), start + draw.choice((1, 2, 5, 20, 200)))


def _flip(content: bytes, draw: Random) -> bytes:
    if not content:
        return b"\0"
    place = draw.randrange(len(content))
    return content[:place] + bytes([content[place] ^ 1 << draw.randrange(8)]) + content[place + 1 :]


def _cut(content: bytes, draw: Random) -> bytes:
    return content[: _place(content, draw)]


def _delete(content: bytes, draw: Random) -> bytes:
    start, end = _slice(content, draw)
    return content[:start] + content[end:]


def _repeat(content: bytes, draw: Random) -> bytes:
    start, end = _slice(content, draw)
    return content[:start] + content[start:end] * draw.choice((2, 3, 1000)) + content[end:]


def _insert(content: bytes, draw: Random) -> bytes:
    place = _place(content, draw)
    return (
        content[:place] + draw.choice((draw.choice(WORDS), draw.randbytes(draw.choice((1, 4, 40))))) + content[place:]
    )


def _replace_word(content: bytes, draw: Random) -> bytes:
    words = list(_WORD.finditer(content))
    if not words:
        return _insert(content, draw)
    word = draw.choice(words)
    put = draw.choice((draw.choice(WORDS), draw.choice(words)[0]))
    return content[: word.start()] + put + content[word.end() :]


def _change_lines(content: bytes, draw: Random) -> bytes:
    lines = content.splitlines(keepends=True)
    if not lines:
        return b"\n"
    place, other = draw.randrange(len(lines)), draw.randrange(len(lines))
    match draw.randrange(6):
        case 0:
            del lines[place]
        case 1:
            lines.insert(other, lines[place])
        case 2:
            lines[place], lines[other] = lines[other], lines[place]
        case 3:
            lines.insert(place, draw.choice((b"\n", b"   \n", b"\r\n", b"# comment\n", b"\t\t\n")))
        case 4:
            lines[place] = lines[place].rstrip(b"\r\n")
        case _:
            lines[place] = lines[place].upper() if draw.random() < 0.5 else b"  " + lines[place]
    return b"".join(lines)


def _as_another_program(content: bytes, draw: Random) -> bytes:
    match draw.randrange(6):
        case 0:
            return b"\xef\xbb\xbf" + content
        case 1:
            return content.decode("utf-8", "replace").encode("utf-16")
        case 2:
            return content.replace(b"\n", b"\r\n")
        case 3:
            return content.replace(b"\n", b"\r")
        case 4:
            return gzip.compress(content)
        case _:
            return content.decode("utf-8", "replace").encode("latin-1", "replace")


def _random_bytes(content: bytes, draw: Random) -> bytes:
    return draw.choice((b"", draw.randbytes(len(content)), b"\0" * len(content), content * 2))


STEPS: list[Callable[[bytes, Random], bytes]] = [
    *(_flip, _cut, _delete, _repeat, _insert, _replace_word, _replace_word, _replace_word, _change_lines),
    *(_change_lines, _as_another_program, _random_bytes),
]


def _json_places(value: Any) -> list[tuple[Any, Any]]:
    """Each container in a value with each of its keys."""
    places: list[tuple[Any, Any]] = []
    level = [value]
    while level:
        container = level.pop()
        if isinstance(container, dict | list):
            keys: Any = container if isinstance(container, dict) else range(len(container))
            places += [(container, key) for key in keys]
            level += [container[key] for key in keys]
    return places


def _change_value(value: Any, draw: Random) -> Any:
    """The value with one part changed, left out, given twice, renamed or wrapped."""
    places = _json_places(value)
    if not places or draw.random() < 0.02:
        return draw.choice(VALUES)
    container, key = draw.choice(places)
    match draw.randrange(6):
        case 0:
            del container[key]
        case 1 if isinstance(container, dict):
            container[draw.choice(["", "id", "label", "é", str(key) + " ", str(key).upper()])] = container.pop(key)
        case 2 if isinstance(container, list):
            container.insert(key, container[key])
        case 3:
            container[key] = [container[key]]
        case 4:
            other, name = draw.choice(places)
            if isinstance(other[name], dict | list):
                return value
            container[key] = other[name]
        case _:
            container[key] = draw.choice(VALUES)
    return value


def _change_json(content: bytes, draw: Random) -> bytes:
    try:
        text = content.decode()
        if "\n" in text.strip() and text.lstrip()[:1] == "{" and _is_json(text.splitlines()[0]):
            lines = text.splitlines()
            place = draw.randrange(len(lines))
            lines[place] = json.dumps(_change_value(json.loads(lines[place]), draw))
            return "\n".join(lines).encode()
        return json.dumps(_change_value(json.loads(text), draw)).encode()
    except (ValueError, RecursionError):
        return _flip(content, draw)


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def _change_parquet(content: bytes, draw: Random) -> bytes:
    """A table with one column left out, renamed, of another type, or with other values."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pq.read_table(io.BytesIO(content))
    place = draw.randrange(table.num_columns)
    name, values = table.column_names[place], table.column(place).to_pylist()
    match draw.randrange(4):
        case 0:
            table = table.remove_column(place)
        case 1:
            names = [
                draw.choice(["", "id", "label", name.upper()]) if one == name else one for one in table.column_names
            ]
            table = table.rename_columns(names)
        case 2:
            rows = [draw.randrange(len(values)) for _ in range(draw.choice((0, 1, len(values) + 2)))] if values else []
            import numpy as np

            table = table.take(np.array(rows, np.int64))
        case _:
            types: list[Any] = [pa.string(), pa.large_string(), pa.string_view(), pa.binary(), pa.float16(), pa.int8()]
            types += [pa.uint64(), pa.bool_(), pa.null(), pa.decimal128(9, 2), pa.timestamp("s"), pa.list_(pa.int64())]
            types += [pa.dictionary(pa.int32(), pa.string()), pa.struct([("a", pa.int64())]), None]
            new = [draw.choice([value, None, draw.choice(VALUES)]) for value in values]
            column: Any = None
            for made in (
                lambda: pa.array(new, draw.choice(types)),
                lambda: pa.array(values).cast(draw.choice(types[:12])),
            ):
                try:
                    column = made()
                    break
                except Exception:  # noqa: BLE001 -- most values fit few types
                    continue
            if column is not None:
                table = table.set_column(place, name, column)
    out = io.BytesIO()
    pq.write_table(table, out)
    return out.getvalue()


def mutant(content: bytes, draw: Random, *, keeps_meaning: bool = False) -> bytes:
    """The content after one to three random steps.

    Half of those on JSON and Parquet change values and leave the file readable; half of those on gzip change what is
    packed.

    Args:
        content: of the file.
        draw: decides the steps.
        keeps_meaning: bytes are damaged, values are not edited.
    """
    if content[:2] == b"\x1f\x8b" and draw.random() < 0.5:
        return gzip.compress(mutant(gzip.decompress(content), draw))
    if content[:4] == b"PAR1" and draw.random() < 0.7 and not keeps_meaning:
        return _change_parquet(content, draw)
    if keeps_meaning:
        return draw.choice((_flip, _flip, _cut, _delete, _repeat, _insert, _random_bytes))(content, draw)
    is_json = content.lstrip()[:1] in (b"{", b"[")
    for _ in range(draw.choice((1, 1, 1, 2, 3))):
        step = _change_json if is_json and draw.random() < 0.5 else draw.choice(STEPS)
        content = step(content, draw)
    return content
