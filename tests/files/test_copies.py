"""Objects as files: whole or not at all, changed where the file was changed, each failure named by its address."""

from __future__ import annotations

import base64
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from jepakit.errors import ConfigError, DataError, MissingExtraError, ModelError
from jepakit.files.copies import copied, fetched, named
from jepakit.files.stores import MARK


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MemoryFileSystem]:
    """The objects of this process, none at first; copies lie below the folder of the test."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    files = fsspec.filesystem("memory")
    yield files
    files.store.clear()
    files.pseudo_dirs[:] = [""]


@pytest.fixture(scope="module")
def web() -> Iterator[str]:
    """A server with one file for all, one for a user, one that ends too early, and one that fails."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            login = base64.b64encode(b"user:pass word").decode()
            may = "/private" not in self.path or self.headers.get("Authorization") == f"Basic {login}"
            status = 401 if not may else {"/none.csv": 404, "/broken.csv": 500}.get(self.path, 200)
            self.send_response(status)
            self.send_header("Content-Length", "99" if self.path == "/early.csv" else "4")
            self.end_headers()
            self.wfile.write(b"a,b\n")

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()


def objects(store: MemoryFileSystem, folder: str = "/b") -> dict[str, bytes]:
    return {path: store.cat_file(path) for path in store.find(folder)}


def test_files_and_folders_go_there_and_back(store: MemoryFileSystem, tmp_path: Path) -> None:
    with copied() as copies:
        copies.write("memory://b/x.bin").write_bytes(b"whole")
        folder = copies.write("memory://b/folder/")
        (folder / "deep").mkdir(parents=True)
        (folder / "deep" / "1").write_text("one")
        (folder / "2").write_text("two")
        assert objects(store) == {}
    assert objects(store) == {"/b/x.bin": b"whole", "/b/folder/deep/1": b"one", "/b/folder/2": b"two"}
    with copied() as copies:
        assert copies.read("memory://b/x.bin").read_bytes() == b"whole"
        folder = copies.read("memory://b/folder")
        assert (folder / "deep" / "1").read_text() == "one"
        assert named(f"in {folder}/deep") == "in memory://b/folder/deep"
        (folder / "2").write_text("not written back: it was to be read")
    assert objects(store)["/b/folder/2"] == b"two"
    assert list(tmp_path.iterdir()) == []


def test_what_changes_in_a_folder_goes_back(store: MemoryFileSystem, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("same", "changed", "gone"):
        store.pipe_file(f"/b/run/{name}", b"before")
    put: list[str] = []
    before = MemoryFileSystem.put_file
    monkeypatch.setattr(
        MemoryFileSystem, "put_file", lambda self, file, key, **more: (put.append(key), before(self, file, key, **more))
    )
    with copied() as copies:
        path = copies.place("memory://b/run", "update")
        assert not path.exists()
        assert fetched(path) == path
        (path / "changed").write_text("later")
        (path / "gone").unlink()
        (path / "new").write_text("new")
    assert objects(store) == {"/b/run/same": b"before", "/b/run/changed": b"later", "/b/run/new": b"new"}
    assert sorted(put) == ["/b/run/changed", "/b/run/new"]
    # Beside a single file, too: labels of a problem.
    with copied() as copies:
        problem = fetched(copies.place("memory://b/run/same", "update"))
        (problem.parent / "labels").mkdir()
        (problem.parent / "labels" / "1").write_text("label")
    assert {*objects(store)} == {f"/b/run/{name}" for name in ("same", "changed", "new", "labels/1")}


def test_what_is_there_is_replaced_only_if_asked_for(store: MemoryFileSystem) -> None:
    store.pipe_file("/b/x", b"theirs")
    store.pipe_file("/b/folder/x", b"theirs")
    for address in ("memory://b/x", "memory://b/folder"):
        with copied() as copies, pytest.raises(ConfigError, match=rf"'{address}': expected .* --overwrite"):
            copies.write(address)
    with copied(overwrite=True) as copies:
        copies.write("memory://b/x").write_bytes(b"ours")
        copies.write("memory://b/folder").mkdir()
        (copies.write("memory://b/folder") / "y").write_bytes(b"ours")
    assert objects(store) == {"/b/x": b"ours", "/b/folder/x": b"theirs", "/b/folder/y": b"ours"}
    # A run takes the place of the whole run.
    store.pipe_file("/b/run/config.yaml", b"old")
    store.pipe_file("/b/run/encoder/model", b"old")
    with copied() as copies:
        run = copies.place("memory://b/run", "run")
        copies.of(run).begin(overwrite=True)
        run.mkdir()
        (run / "config.yaml").write_bytes(b"new")
    assert objects(store, "/b/run") == {"/b/run/config.yaml": b"new"}


def test_after_an_error_only_a_run_is_kept(store: MemoryFileSystem, tmp_path: Path) -> None:
    def interrupted() -> None:
        with copied() as copies:
            copies.write("memory://b/x").write_bytes(b"half")
            run = copies.place("memory://b/run", "run")
            copies.of(run).begin(overwrite=False)
            run.mkdir()
            (run / "config.yaml").write_text("epochs: 3")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert objects(store) == {"/b/run/config.yaml": b"epochs: 3"}
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_was_cut_off_is_refused(
    store: MemoryFileSystem, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_file = MemoryFileSystem.put_file

    def fails(self: MemoryFileSystem, file: str, key: str, **more: Any) -> None:
        if key.endswith("2"):
            raise ConnectionError("the network is gone")
        put_file(self, file, key, **more)

    monkeypatch.setattr(MemoryFileSystem, "put_file", fails)

    def write(names: str, *, overwrite: bool = False) -> None:
        with copied(overwrite=overwrite) as copies:
            folder = copies.write("memory://b/run")
            folder.mkdir()
            for name in names:
                (folder / name).write_text(name)

    with pytest.raises(ModelError, match=r"memory://b/run: .*network is gone.* is kept in \S+"):
        write("123")
    assert [path.name for path in sorted(tmp_path.glob("*/*/run/*"))] == ["1", "2", "3"]
    assert {*objects(store)} == {"/b/run/1", f"/b/run/{MARK}"}
    with copied() as copies, pytest.raises(DataError, match="memory://b/run: an upload to this folder was cut off"):
        copies.read("memory://b/run")
    monkeypatch.undo()
    write("2", overwrite=True)
    assert {*objects(store)} == {"/b/run/1", "/b/run/2"}


def test_faults_name_the_address_and_the_way_out(store: MemoryFileSystem, monkeypatch: pytest.MonkeyPatch) -> None:
    store.pipe_file("/b/folder/x", b"x")
    store.store["/b/folder/../../x"] = store.store["/b/folder/x"]
    with copied() as copies:
        with pytest.raises(DataError, match=r"^memory://b/none: there is no such object; expected"):
            copies.read("memory://b/none")
        with pytest.raises(DataError, match=r"^memory://b/folder: the name of an object is no path below the folder"):
            copies.read("memory://b/folder")
        with pytest.raises(MissingExtraError, match="pip install gcsfs"):
            copies.read("gs://bucket/x")
        faults = {
            PermissionError("Access Denied"): "may not be read with these credentials",
            ValueError("Unable to locate credentials"): "no credentials for this store",
            OSError("timed out"): r"could not be read \(timed out\); expected a store that answers",
        }
        for number, (fault, expected) in enumerate(faults.items()):
            monkeypatch.setattr(MemoryFileSystem, "info", lambda *_, fault=fault: (_ for _ in ()).throw(fault))
            with pytest.raises(DataError, match=rf"^memory://b/{number}: .*{expected}"):
                copies.read(f"memory://b/{number}")


def test_files_of_the_web(web: str) -> None:
    with copied() as copies:
        assert copies.read(f"http://{web}/x.csv").read_text() == "a,b\n"
        private = copies.read(f"http://user:pass%20word@{web}/private.csv?token=secret")
        assert (private.name, private.read_text()) == ("private.csv", "a,b\n")
        for name, expected in (
            ("none.csv", "there is no such object"),
            ("early.csv", "4 of 99 bytes arrived"),
            ("broken.csv", "HTTP 500"),
            ("private.csv", "may not be read with these credentials"),
        ):
            with pytest.raises(DataError, match=rf"^http://{web}/{name}: .*{expected}"):
                copies.read(f"http://user:wrong@{web}/{name}")
        with pytest.raises(ConfigError, match="an address that can be written: s3://"):
            copies.write(f"http://{web}/out.csv")
