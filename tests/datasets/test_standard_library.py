"""The walk over the standard library: which files, in which order."""

from pathlib import Path

from jepakit.datasets.standard_library import library_folder, parse_source, source_files


def test_which_files_in_which_order(tmp_path: Path) -> None:
    kept = ["a-b/x.py", "a.py", "a/__init__.py", "a/b/c.py", "z.py"]
    left_out = ["a/tests/c.py", "a/b/test.py", "test/d.py", "site-packages/e.py", "a/note.txt", "lib.so"]
    for name in [*kept, *left_out]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert source_files(tmp_path) == [(name.removesuffix(".py"), tmp_path / name) for name in kept]


def test_the_library_of_this_interpreter_can_be_parsed() -> None:
    files = dict(source_files(library_folder()))
    for path in ("argparse", "email/message", "json/__init__"):
        assert parse_source(files[path]) is not None


def test_a_file_that_cannot_be_parsed_has_no_tree(tmp_path: Path) -> None:
    for content in (b"def f(:", b"x = 1\0", b"# coding: nonsense\n"):
        (tmp_path / "a.py").write_bytes(content)
        assert parse_source(tmp_path / "a.py") is None
