"""The one way of reading files: every failure is an error that names the file, and what a file can cost is bounded."""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from functools import cache
from itertools import chain
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NoReturn, cast

from jepakit.errors import ConfigError, DataError, JepakitError, ModelError, in_one_line, requires_extra
from jepakit.files.digests import unsealed

if TYPE_CHECKING:
    import yaml

MAX_BYTES = 1 << 32
"""Of a file that is read as a whole, unpacked: text of this size takes most of a workstation's memory as objects."""
MAX_SETTINGS_BYTES = 1 << 26
"""Of a JSON or YAML file that jepakit writes: settings and results take kilobytes."""
MAX_LINE_BYTES = 1 << 26
"""Of one line: a document of a corpus, at most."""
MAX_UNPACKED_RATIO, FREE_UNPACKED_BYTES = 250, 1 << 26
"""How many times its size a gzip file can have unpacked (text has 3 to 50, gzip's most is 1032), beyond 64 MiB."""
MAX_DEPTH = 64
"""Of objects and lists within each other: data and settings have less than ten levels."""

_SURROGATE = re.compile("[\ud800-\udfff]")
_GZIP = b"\x1f\x8b"
_BLOCK_BYTES = 1 << 20


@contextmanager
def reading(
    file: Path, error: type[DataError | ModelError] = DataError, *, expected: str | None = None
) -> Generator[None]:
    """Turns whatever a reader raises inside of the block into one error that names the file and, if known, the place.

    Args:
        file: what is read.
        error: DataError for what the user brings, ModelError for what jepakit has written.
        expected: what should be there, or what to do; for the message.

    Raises:
        DataError, ModelError: as ``error`` says. One that is raised inside stays, with the file if it names none.
    """
    try:
        yield
    except DataError as fault:
        if fault.file is not None:
            raise
        place = {"line": fault.line, "field": fault.field, "value": fault.value}
        raise _fault(error, fault.problem, file, expected=_joined(fault.expected, expected), **place) from fault
    except ConfigError as fault:
        place = {"field": fault.field, "value": fault.value}
        raise _fault(
            error, "not an allowed value", file, expected=_joined(fault.expected, expected), **place
        ) from fault
    except JepakitError:
        raise
    except Exception as fault:
        problem, line, field = _describe(fault)
        raise _fault(error, problem, file, line=line, field=field, expected=expected) from fault


def read_bytes(file: Path, error: type[DataError | ModelError] = DataError, *, limit: int = MAX_BYTES) -> bytes:
    """The content of a file, unpacked where it is gzip.

    Raises:
        DataError, ModelError: see `reading`; also where it is, or unpacks to, more than ``limit`` bytes.
    """
    with reading(file, error), file.open("rb") as stream:
        return b"".join(_blocks(stream, limit))


def read_text(
    file: Path, error: type[DataError | ModelError] = DataError, *, limit: int = MAX_BYTES, errors: str = "strict"
) -> str:
    """As `read_bytes`, UTF-8 text without its byte order mark; ``errors`` as for `bytes.decode`."""
    content = read_bytes(file, error, limit=limit)
    with reading(file, error, expected="a file saved as UTF-8"):
        return content.decode("utf-8-sig", errors)


def numbered_lines(file: Path, error: type[DataError | ModelError] = DataError) -> Iterator[tuple[int, str]]:
    """The lines of a text file, packed with gzip or not, from 1 on, with their line ends, blank ones too.

    Raises:
        DataError, ModelError: it cannot be read, is empty, is no UTF-8, or a line is too long; names the line.
    """
    line = 0
    with reading(file, error), file.open("rb") as stream:
        rest = b""
        for block in chain(_blocks(stream, None), [b""]):
            lines = (rest + block).split(b"\n")
            rest = b"" if not block else lines.pop()
            ends = [b"\n"] * len(lines) if block else [b""]
            for raw, end in zip(lines, ends, strict=True):
                if raw or end:
                    line += 1
                    yield line, _decoded(raw + end, line)
            if len(rest) > MAX_LINE_BYTES:
                raise DataError("the line is too long", line=line + 1, expected=f"at most {MAX_LINE_BYTES} bytes")
        if not line:
            raise DataError("the file is empty")


def json_lines(file: Path, error: type[DataError | ModelError] = DataError) -> Iterator[tuple[int, dict[str, Any]]]:
    """The objects of a JSON Lines file with the numbers of their lines; blank lines are left out.

    Raises:
        DataError, ModelError: as for `numbered_lines`; also where a line is no JSON object, or has half of a surrogate
            pair, which only an escape can bring into UTF-8 and which no file can hold again.
    """
    for line, text in numbered_lines(file, error):
        if not text.strip():
            continue
        with reading(file, error):
            try:
                content = parse_json(text)
            except (DataError, ValueError, RecursionError) as fault:
                raise DataError(f"not JSON: {in_one_line(fault)}", line=line) from fault
            if not isinstance(content, dict):
                raise DataError("not a JSON object", line=line, value=content, expected="{...}")
            if "\\ud" in text.lower():
                for key, value in content.items():
                    if _SURROGATE.search(json.dumps([key, value], ensure_ascii=False)):
                        raise DataError("half of a surrogate pair, which is no character", line=line, field=key)
        yield line, cast(dict[str, Any], content)


def read_json(
    file: Path, error: type[DataError | ModelError] = DataError, *, expected: str | None = None, finite: bool = True
) -> dict[str, Any]:
    """The object in a JSON file; compared with its digest and without it, where `write_json` has written the file.

    Raises:
        DataError, ModelError: see `reading`; also where it is no object, or not the one that was written.
    """
    text = read_text(file, error, limit=MAX_SETTINGS_BYTES)
    with reading(file, error, expected=expected):
        content = parse_json(text, finite=finite)
        if not isinstance(content, dict):
            raise DataError("not a JSON object", value=content, expected="{...}")
        return unsealed(cast(dict[str, Any], content))


def parse_json(text: str, *, finite: bool = True) -> Any:
    """What a JSON text says; for use inside of `reading`.

    Args:
        text: JSON.
        finite: refuse NaN and Infinity, which Python writes and JSON has not.

    Raises:
        ValueError, DataError: it is no JSON, or is nested more than `MAX_DEPTH` times.
    """
    content = json.loads(text, parse_constant=_refuse_constant if finite else None)
    level = [content]
    for _ in range(MAX_DEPTH):
        level = [
            item
            for container in level
            if isinstance(container, dict | list)
            for item in cast(list[object], container.values() if isinstance(container, dict) else container)
            if isinstance(item, dict | list)
        ]
        if not level:
            return content
    raise ValueError(f"nested more than {MAX_DEPTH} times")


def read_yaml(file: Path, error: type[DataError | ModelError] = DataError) -> Any:
    """What a YAML file says: plain values only, without anchors, aliases and tags of Python.

    Raises:
        DataError, ModelError: see `reading`.
    """
    text = read_text(file, error, limit=MAX_SETTINGS_BYTES)
    with reading(file, error):
        return parse_yaml(text)


def parse_yaml(text: str) -> Any:
    """As `read_yaml`, of a text; for use inside of `reading`.

    Raises:
        DataError: it is no such YAML; names the line.
        MissingExtraError: PyYAML is not installed.
    """
    with requires_extra("training"):
        import yaml

    with _yaml_faults():
        return yaml.load(text, _yaml_loader())


def compose_yaml(text: str) -> yaml.Node | None:
    """The tree of a YAML text, in which every part knows its line; None for an empty text.

    Raises:
        DataError: as for `parse_yaml`.
    """
    import yaml

    with _yaml_faults():
        return yaml.compose(text, _yaml_loader())


@cache
def _yaml_loader() -> type[yaml.SafeLoader]:
    """Plain values only, without anchors and aliases, and not too deep."""
    import yaml

    class Loader(yaml.SafeLoader):
        depth = 0

        def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
            if self.check_event(yaml.AliasEvent):
                raise yaml.MarkedYAMLError(problem="aliases are not read", problem_mark=self.peek_event().start_mark)
            self.depth += 1
            if self.depth > MAX_DEPTH:
                raise ValueError(f"nested more than {MAX_DEPTH} times")
            node = super().compose_node(parent, index)
            self.depth -= 1
            return node

    return Loader


@contextmanager
def _yaml_faults() -> Generator[None]:
    import yaml

    try:
        yield
    except yaml.MarkedYAMLError as fault:
        mark = fault.problem_mark
        problem = " ".join(f"{fault.context or ''} {fault.problem or ''}".split())
        raise DataError(f"not YAML: {problem}", line=None if mark is None else mark.line + 1) from fault
    except yaml.YAMLError as fault:
        raise DataError(f"not YAML: {' '.join(str(fault).split())}") from fault


def _blocks(stream: IO[bytes], limit: int | None) -> Iterator[bytes]:
    """The content, unpacked where it is gzip; at most ``limit`` bytes."""
    block = stream.read(_BLOCK_BYTES)
    if block[:2] == _GZIP:
        yield from _unpacked(stream, block, limit)
        return
    total = 0
    while block:
        total += len(block)
        _require_within(total, limit)
        yield block
        block = stream.read(_BLOCK_BYTES)


def _unpacked(stream: IO[bytes], packed: bytes, limit: int | None) -> Iterator[bytes]:
    """Members one after the other, as gzip does it; their checksums are compared by zlib."""
    taken, total = 0, 0
    while packed.strip(b"\0"):
        unpacker = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
        while not unpacker.eof:
            if not packed:
                raise EOFError("the gzip file is cut off")
            taken += len(packed)
            block = unpacker.decompress(packed, _BLOCK_BYTES)
            packed = unpacker.unconsumed_tail or unpacker.unused_data
            taken -= len(packed)
            total += len(block)
            _require_within(total, limit)
            if total > FREE_UNPACKED_BYTES and total > MAX_UNPACKED_RATIO * taken:
                raise ValueError(f"unpacks to more than {MAX_UNPACKED_RATIO} times its size")
            yield block
            packed = packed or (b"" if unpacker.eof else stream.read(_BLOCK_BYTES))
        packed = packed or stream.read(_BLOCK_BYTES)


def _require_within(total: int, limit: int | None) -> None:
    if limit is not None and total > limit:
        raise ValueError(f"more than {limit} bytes")


def _decoded(raw: bytes, line: int) -> str:
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        problem = f"not UTF-8 text ({error.reason} at byte {error.start} of the line)"
        raise DataError(problem, line=line, expected="a file saved as UTF-8") from None
    return text.removeprefix("\ufeff") if line == 1 else text


def _refuse_constant(name: str) -> NoReturn:
    raise DataError("a number is not finite", value=name, expected="finite numbers or null")


def _fault(error: type[DataError | ModelError], problem: str, file: Path, **place: Any) -> DataError | ModelError:
    fault = DataError(problem, file=file, **place)
    return fault if error is DataError else ModelError(str(fault))


def _describe(fault: Exception) -> tuple[str, int | None, str | None]:
    """Problem, line and field."""
    match fault:
        case FileNotFoundError():
            return "no such file", None, None
        case OSError(strerror=str() as reason):
            return f"cannot be read ({reason})", None, None
        case UnicodeDecodeError():
            return (
                f"not UTF-8 text ({fault.reason} at byte {fault.start})",
                fault.object[: fault.start].count(b"\n") + 1,
                None,
            )
        case json.JSONDecodeError():
            return f"not JSON: {fault.msg} at column {fault.colno}", fault.lineno, None
        case RecursionError():
            return "nested too deeply", None, None
        case MemoryError():
            return "too large for the memory of this machine", None, None
        case KeyError(args=(str() as key, *_)):
            return "the field is missing", None, key
        case _:
            return f"damaged, or not the kind of file it should be ({in_one_line(fault)})", None, None


def _joined(*expected: str | None) -> str | None:
    """What the reader expected and what its caller adds, such as the way out."""
    return "; ".join(dict.fromkeys(part for part in expected if part)) or None
