"""What a file can cost is bounded, and whatever a reader raises is one error that names the file."""

from __future__ import annotations

import gzip
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from jepakit.errors import ConfigError, DataError, JepakitError, ModelError
from jepakit.files import numbered_lines, read_bytes, read_json, read_text, read_yaml, reading
from jepakit.files.arrays import map_array, read_arrays, write_array, write_arrays
from jepakit.files.tensors import read_tensors


@pytest.mark.parametrize(
    "fault",
    [
        ValueError("x"),
        KeyError("x"),
        RecursionError(),
        MemoryError(),
        OverflowError(),
        PermissionError(13, "no"),
        ConfigError("field", 1, "2"),
        DataError("x"),
        UnicodeDecodeError("utf-8", b"\n\xff", 1, 2, "bad"),
    ],
)
@pytest.mark.parametrize("error", [DataError, ModelError])
def test_whatever_is_raised_names_the_file(fault: Exception, error: type[DataError | ModelError]) -> None:
    with pytest.raises(error) as caught, reading(Path("some/file"), error):
        raise fault
    assert str(caught.value).startswith("some/file:")


def test_line_and_field_are_kept() -> None:
    with pytest.raises(DataError) as caught, reading(Path("file")):
        raise DataError("wrong", line=3, field="a", value=1)
    assert (caught.value.file, caught.value.line, caught.value.field, caught.value.value) == (Path("file"), 3, "a", 1)
    with pytest.raises(KeyboardInterrupt), reading(Path("file")):
        raise KeyboardInterrupt


def test_a_gzip_bomb_costs_no_memory(tmp_path: Path) -> None:
    file = tmp_path / "bomb.mps.gz"
    with gzip.open(file, "wb") as stream:
        for _ in range(300):
            stream.write(b"\0" * (1 << 20))
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match=r"bomb\.mps\.gz"):
            read_bytes(file)
        assert tracemalloc.get_traced_memory()[1] < 200 << 20
    finally:
        tracemalloc.stop()


def test_gzip_as_others_write_it(tmp_path: Path) -> None:
    file = tmp_path / "a.gz"
    text = "".join(f"{number} ü\n" for number in range(300_000))
    file.write_bytes(gzip.compress(text[:1000].encode()) + gzip.compress(text[1000:].encode()) + b"\0" * 512)
    assert read_text(file) == text
    assert "".join(line for _, line in numbered_lines(file)) == text
    whole = gzip.compress(text.encode())
    for damaged in (whole[:-1], whole[:100], whole[:-8] + b"\0" * 8, whole + b"garbage"):
        file.write_bytes(damaged)
        with pytest.raises(DataError):
            read_bytes(file)


def test_lines_have_numbers(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_bytes("\ufeffa\r\n\nb".encode())
    assert list(numbered_lines(file)) == [(1, "a\r\n"), (2, "\n"), (3, "b")]
    file.write_bytes(b"a\n\xff\n")
    with pytest.raises(DataError) as caught:
        list(numbered_lines(file))
    assert (caught.value.file, caught.value.line) == (file, 2)


BOMBS: dict[str, tuple[str, Callable[[Path], object]]] = {
    "deep JSON": ('{"a": ' + "[" * 100_000 + "]" * 100_000 + "}", read_json),
    "JSON of 70 levels": ('{"a": ' + "[" * 70 + "]" * 70 + "}", read_json),
    "huge number": ('{"a": ' + "9" * 10_000 + "}", read_json),
    "no number": ('{"a": Infinity}', read_json),
    "no object": ("[1]", read_json),
    "YAML aliases": ("a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n", read_yaml),
    "deep YAML": ("[" * 5_000 + "]" * 5_000, read_yaml),
    "YAML tags": ("a: !!python/object/apply:os.getcwd []", read_yaml),
    "cut YAML": ("a: [", read_yaml),
}


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_are_refused(name: str, tmp_path: Path) -> None:
    text, read = BOMBS[name]
    file = tmp_path / "file"
    file.write_text(text)
    with pytest.raises(DataError) as caught:
        read(file)
    assert str(caught.value).startswith(f"{file}")
    assert len(str(caught.value)) < 1000


def test_arrays_are_no_larger_than_their_file(tmp_path: Path) -> None:
    write_array(tmp_path / "a.npy", np.arange(6.0).reshape(2, 3))
    assert map_array(tmp_path / "a.npy", np.float64, 2).tolist() == [[0, 1, 2], [3, 4, 5]]
    with pytest.raises(ModelError, match=r"a\.npy"):
        map_array(tmp_path / "a.npy", np.float32, 2)
    write_arrays(tmp_path / "a.npz", {"x": np.arange(4), "y": np.array("text")})
    assert read_arrays(tmp_path / "a.npz", ["x"])["x"].tolist() == [0, 1, 2, 3]
    with pytest.raises(ModelError, match=r"a\.npz: z"):
        read_arrays(tmp_path / "a.npz", ["z"])
    np.savez_compressed(tmp_path / "bomb.npz", x=np.zeros(10_000))
    with pytest.raises(ModelError, match=r"bomb\.npz"):
        read_arrays(tmp_path / "bomb.npz", ["x"])


def test_a_tensor_file_of_any_bytes_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "a.safetensors"
    for content in (b"", b"\xff" * 8, b"\x02" + b"\0" * 7 + b"[]", (1 << 40).to_bytes(8, "little") + b"{}"):
        file.write_bytes(content)
        with pytest.raises(JepakitError, match=r"a\.safetensors"):
            read_tensors(file)
