"""Fetched files: complete, below their folder, or an error and nothing left."""

import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest

from jepakit.datasets.download import fetch_archive, fetch_files
from jepakit.errors import DataError, ModelError


def test_an_archive_is_fetched_flat_and_once(tmp_path: Path) -> None:
    archive = tmp_path / "TOY.zip"
    with zipfile.ZipFile(archive, "w") as opened:
        opened.writestr("TOY/TOY_A.txt", "1, 2\n")
        opened.writestr("TOY/TOY_graph_indicator.txt", "1\n1\n")
        opened.writestr("../../outside.txt", "stays inside")
    raw = fetch_archive(archive.as_uri(), tmp_path / "cache/tu/TOY/raw")
    names = {file.relative_to(tmp_path).as_posix() for file in tmp_path.rglob("*.txt")}
    files = ("TOY_A.txt", "TOY_graph_indicator.txt", "outside.txt")
    assert names == {f"cache/tu/TOY/raw/{name}" for name in files}
    assert [path.name for path in raw.parent.iterdir()] == ["raw"]


def test_files_are_fetched(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"first")
    (tmp_path / "b").write_bytes(b"second")
    folder = fetch_files(tmp_path.as_uri(), ["a", "b"], tmp_path / "cache/raw")
    assert [(folder / name).read_bytes() for name in ("a", "b")] == [b"first", b"second"]


def test_what_cannot_be_fetched_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"first")
    folder = tmp_path / "cache/raw"
    with pytest.raises(DataError, match=r"could not be fetched: .*; expected a network connection, or the files in"):
        fetch_files(tmp_path.as_uri(), ["a", "missing"], folder)
    with pytest.raises(DataError, match="not a zip file"):
        fetch_archive((tmp_path / "a").as_uri(), folder)
    assert list((tmp_path / "cache").iterdir()) == []


class ClosesEarly(BaseHTTPRequestHandler):
    """Answers with half of the bytes that it announces."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "10")
        self.end_headers()
        self.wfile.write(b"first")

    def log_message(self, *args: object) -> None:
        """Nothing on standard error."""


@pytest.fixture
def server() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), ClosesEarly) as served:
        thread = Thread(target=served.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{served.server_port}"
        served.shutdown()
        thread.join()


def test_half_a_file_is_not_kept(server: str, tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        fetch_files(server, ["a"], tmp_path / "cache/raw")
    assert caught.value.file == tmp_path / "cache/raw"
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_cache_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"first")
    with pytest.raises(ModelError, match="a/raw"):
        fetch_files(tmp_path.as_uri(), ["a"], tmp_path / "a/raw")
