"""One writer for each folder: a lock keeps others out, and blames itself only for its own failures."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from jepakit.errors import ModelError
from jepakit.files import locked


def test_a_locked_folder_is_closed_to_others_until_the_block_ends(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "run"
    with locked(folder):
        with pytest.raises(ModelError, match=str(folder)), locked(folder):
            pytest.fail("two writers")
        # The refused one has not unlocked it.
        with pytest.raises(ModelError), locked(folder):
            pytest.fail("two writers")
    with locked(folder):
        pass


def test_a_failure_inside_the_block_is_not_called_one_of_the_lock(tmp_path: Path) -> None:
    failure = OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(OSError) as raised, locked(tmp_path):
        raise failure
    assert raised.value is failure
    with locked(tmp_path):
        pass


def test_a_file_system_without_locks_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def without(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", without)
    with pytest.raises(ModelError, match=rf"{tmp_path}.*No locks available"), locked(tmp_path):
        pytest.fail("not locked")


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ModelError, match=str(tmp_path / "file")), locked(tmp_path / "file" / "run"):
        pytest.fail("not locked")
