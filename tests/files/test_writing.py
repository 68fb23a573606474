"""Files and folders are there whole or not at all, whatever happens to the disk or the process."""

from __future__ import annotations

import errno
import json
import os
import random
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from jepakit.errors import ModelError
from jepakit.files import whole_file, whole_folder, write_bytes, write_json, write_text


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_reader_of_the_old_file_goes_on_reading_it(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    write_text(file, "old")
    with file.open() as opened:
        write_text(file, "new")
        assert (opened.read(), file.read_text()) == ("old", "new")
    assert names(tmp_path) == ["a.txt"]


def test_folders_on_the_way_are_made_and_the_file_name_is_kept(tmp_path: Path) -> None:
    file = tmp_path / "a" / "b" / "model.mps.gz"
    with whole_file(file) as unfinished:
        assert unfinished.name == file.name
        assert unfinished != file
        unfinished.write_bytes(b"x")
        assert not file.exists()
    assert file.read_bytes() == b"x"


def test_a_name_as_long_as_names_can_be(tmp_path: Path) -> None:
    file = tmp_path / ("ä" * 127)
    write_bytes(file, b"x")
    assert names(tmp_path) == [file.name]


def test_permissions_are_those_of_new_files_or_of_the_old_one(tmp_path: Path) -> None:
    file = tmp_path / "a"
    plain = tmp_path / "plain"
    plain.touch()
    with whole_file(file) as unfinished:
        unfinished.write_bytes(b"x")
        unfinished.chmod(0o600)
    assert stat.S_IMODE(file.stat().st_mode) == stat.S_IMODE(plain.stat().st_mode)
    file.chmod(0o640)
    write_bytes(file, b"y")
    assert stat.S_IMODE(file.stat().st_mode) == 0o640


def test_a_link_stays_and_the_file_that_it_names_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    target, link = tmp_path / "real" / "a", tmp_path / "link"
    target.write_text("old")
    link.symlink_to(target)
    write_text(link, "new")
    assert link.is_symlink()
    assert target.read_text() == "new"
    dangling = tmp_path / "dangling"
    dangling.symlink_to(tmp_path / "real" / "b")
    write_text(dangling, "made")
    assert (tmp_path / "real" / "b").read_text() == "made"


def test_devices_pipes_and_folders_are_never_replaced(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    for place in (tmp_path / "pipe", tmp_path / "folder", Path("/dev/null")):
        with pytest.raises(ModelError, match=str(place)):
            write_text(place, "x")
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)
    assert names(tmp_path) == ["folder", "pipe"]


def _fail_half_way(file: Path, error: BaseException) -> None:
    with whole_file(file) as unfinished:
        unfinished.write_text("half")
        raise error


@pytest.mark.parametrize("error", [OSError(errno.EIO, "device failed"), ValueError("a bug"), KeyboardInterrupt()])
def test_a_writer_that_fails_leaves_the_old_file(tmp_path: Path, error: BaseException) -> None:
    file = tmp_path / "a"
    write_text(file, "old")
    with pytest.raises(ModelError if isinstance(error, OSError) else type(error)):
        _fail_half_way(file, error)
    assert file.read_text() == "old"
    assert names(tmp_path) == ["a"]


def test_a_library_that_writes_nothing_and_reports_nothing_is_noticed(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="a: could not be written"), whole_file(tmp_path / "a"):
        pass
    assert names(tmp_path) == []


def test_a_place_that_cannot_be_written_to_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ModelError, match="file/a: could not be written"):
        write_text(tmp_path / "file" / "a", "x")
    with pytest.raises(ModelError, match=r"/proc/nowhere/a: could not be written"):
        write_text(Path("/proc/nowhere/a"), "x")


WRITE_UNDER_A_LIMIT = """
import resource, signal, sys
from pathlib import Path
import numpy as np
import torch
from jepakit.errors import ModelError
from jepakit.files import write_json, write_text
from jepakit.files.arrays import write_array, write_arrays
from jepakit.files.tensors import write_tensors

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
folder = Path(sys.argv[1])
big = np.arange(40_000.0)
writers = {
    "text": lambda file: write_text(file, "x" * big.nbytes),
    "json": lambda file: write_json(file, {"a": big.tolist()}),
    "array": lambda file: write_array(file, big),
    "arrays": lambda file: write_arrays(file, {"a": big, "b": big}),
    "tensors": lambda file: write_tensors(file, {"a": torch.from_numpy(big)}, {"x": "y"}),
}
for limit in (0, 1, 100, 4_096, 65_536, 300_000, 319_999):
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    for name, write in writers.items():
        try:
            write(folder / name)
        except ModelError as error:
            assert str(folder / name) in str(error), error
        else:
            raise AssertionError((name, limit))
"""


def test_a_disk_that_is_full_at_any_moment_leaves_the_old_files(tmp_path: Path) -> None:
    old = {name: f"old {name}" for name in ("text", "json", "array", "arrays", "tensors")}
    for name, content in old.items():
        (tmp_path / name).write_text(content)
    subprocess.run([sys.executable, "-c", WRITE_UNDER_A_LIMIT, str(tmp_path)], check=True, timeout=300)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == old


KEEP_WRITING = """
import os, sys
from pathlib import Path
from jepakit.files import whole_folder, write_bytes

folder = Path(sys.argv[1])
print("ready", flush=True)
while True:
    block = bytes([os.urandom(1)[0]]) * (1 << 20)
    write_bytes(folder / "file", block)
    with whole_folder(folder / "folder", replace=True) as unfinished:
        for name in "abc":
            (unfinished / name).write_bytes(block)
"""


def whole_content(folder: Path) -> None:
    if (folder / "file").exists():
        content = (folder / "file").read_bytes()
        assert content == content[:1] * (1 << 20)
    if (folder / "folder").exists():
        contents = [(folder / "folder" / name).read_bytes() for name in "abc"]
        assert contents == [contents[0][:1] * (1 << 20)] * 3


def start_writer(folder: Path) -> subprocess.Popen[bytes]:
    writer = subprocess.Popen([sys.executable, "-c", KEEP_WRITING, str(folder)], stdout=subprocess.PIPE)
    assert writer.stdout is not None
    assert writer.stdout.readline() == b"ready\n"
    return writer


def stop(writer: subprocess.Popen[bytes]) -> None:
    writer.send_signal(signal.SIGKILL)
    writer.communicate(timeout=600)


def test_killed_at_any_moment_what_is_there_is_whole_and_the_next_writer_cleans_up(tmp_path: Path) -> None:
    moment = random.Random(0)
    for _ in range(8):
        writer = start_writer(tmp_path)
        time.sleep(moment.uniform(0.02, 0.2))
        stop(writer)
        whole_content(tmp_path)
    # A process of its own, as the next command is one.
    last = "import sys; from pathlib import Path; from jepakit.files import *\n"
    last += "with whole_folder(Path(sys.argv[1]) / 'folder', replace=True) as folder: (folder / 'a').touch()"
    subprocess.run([sys.executable, "-c", last, str(tmp_path)], check=True, timeout=600)
    assert names(tmp_path) in (["file", "folder"], ["folder"])
    assert names(tmp_path / "folder") == ["a"]


def test_writers_at_once_never_mix_nor_remove_what_another_is_writing(tmp_path: Path) -> None:
    writers = [start_writer(tmp_path) for _ in range(3)]
    for _ in range(20):
        if (tmp_path / "file").exists():
            content = (tmp_path / "file").read_bytes()
            assert content == content[:1] * (1 << 20)
        time.sleep(0.05)
    assert [writer.poll() for writer in writers] == [None] * 3
    for writer in writers:
        stop(writer)
    whole_content(tmp_path)


def test_an_exchange_that_was_cut_off_is_taken_back_by_the_next_writer(tmp_path: Path) -> None:
    aside = tmp_path / ".folder.01234567.previous"
    aside.mkdir()
    (aside / "old").touch()
    with pytest.raises(RuntimeError), whole_folder(tmp_path / "folder", replace=True):
        raise RuntimeError
    with whole_folder(tmp_path / "folder", replace=True) as unfinished:
        (unfinished / "new").touch()
    assert names(tmp_path) == ["folder"]
    assert names(tmp_path / "folder") == ["new"]


def test_a_folder_that_holds_something_is_replaced_only_on_demand(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with whole_folder(tmp_path / "folder") as unfinished:
        (unfinished / "deep").mkdir()
        (unfinished / "deep" / "a").write_text("x")
        (unfinished / "deep" / "a").chmod(0o600)
    assert (tmp_path / "folder" / "deep" / "a").stat().st_mode & 0o044
    with pytest.raises(ModelError, match="is there already"), whole_folder(tmp_path / "folder"):
        raise AssertionError
    with pytest.raises(ModelError, match="what was there stays"), whole_folder(tmp_path / "folder", replace=True):
        raise OSError("disk full")
    assert (tmp_path / "folder" / "deep" / "a").read_text() == "x"
    assert names(tmp_path) == ["folder"]


def test_json_holds_its_digest(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"b": [1.5, None, (2,)], "c": {1: "ü"}})
    content = json.loads((tmp_path / "a.json").read_text())
    assert len(content.pop("sha256")) == 64
    assert content == {"b": [1.5, None, [2]], "c": {"1": "ü"}}


def test_a_file_system_without_room_for_the_last_bytes(tmp_path: Path) -> None:
    """The real thing, where the test may mount a small disk."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if (
        os.geteuid()
        or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "none", disk], check=False).returncode
    ):
        pytest.skip("this test mounts a small disk, which only root can")
    try:
        write_bytes(disk / "a", b"x" * 100_000)
        with pytest.raises(ModelError, match="No space left"):
            write_bytes(disk / "a", b"y" * 200_000)
        assert (disk / "a").read_bytes() == b"x" * 100_000
        assert names(disk) == ["a"]
    finally:
        subprocess.run(["umount", disk], check=True)


def test_ctrl_c_is_not_hidden_by_the_clean_up_that_it_breaks(tmp_path: Path) -> None:
    def interrupted() -> None:
        try:
            raise KeyboardInterrupt
        finally:
            os.close(-1)

    write_text(tmp_path / "a.txt", "before")
    with pytest.raises(KeyboardInterrupt), whole_file(tmp_path / "a.txt"):
        interrupted()
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]
    assert (tmp_path / "a.txt").read_text() == "before"
