"""Encoders to and from a model hub, against a stand-in server on this machine that speaks the hub's protocol."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import huggingface_hub
import pytest
import torch
from huggingface_hub import constants
from torch import nn

from jepakit.errors import ModelError
from jepakit.graph import GraphEncoder
from jepakit.retrieval import Adapter
from jepakit.training import HubMixin
from jepakit.training.storage.encoder_folder import load_encoder, push_to_hub, save_encoder

# The hub client's own use of its HTTP library on the LFS way.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")

TOKEN = "hf_a_token_for_the_stand_in"


class Hub(ThreadingHTTPServer):
    """A hub that keeps its repositories in memory: ``repos[id]`` is a list of commits, each path -> bytes."""

    def __init__(self, *, weights_by_lfs: bool) -> None:
        super().__init__(("127.0.0.1", 0), HubRequest)
        self.weights_by_lfs = weights_by_lfs
        self.repos: dict[str, list[dict[str, bytes]]] = {}
        self.private: dict[str, bool] = {}
        self.messages: list[str] = []
        self.blobs: dict[str, bytes] = {}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def revision(self, repo: str, name: str) -> tuple[str, dict[str, bytes]] | None:
        commits = self.repos[repo]
        names = {f"{number:040x}": files for number, files in enumerate(commits)}
        if name == "main":
            name = list(names)[-1]
        return (name, names[name]) if name in names else None


class HubRequest(BaseHTTPRequestHandler):
    server: Hub

    def log_message(self, *args: object) -> None:
        pass

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            return self.answer({"error": "Invalid token"}, 401)
        if self.path == "/api/repos/create":
            return self.create_repo(json.loads(body))
        if self.path == "/api/validate-yaml":
            return self.answer({"warnings": [], "errors": []})
        if match := re.fullmatch(r"/api/models/([^/]+/[^/]+)/preupload/main", self.path):
            return self.preupload(json.loads(body)["files"])
        if match := re.fullmatch(r"/api/models/([^/]+/[^/]+)/commit/main", self.path):
            return self.commit(match[1], [json.loads(line) for line in body.splitlines()])
        if match := re.fullmatch(r"/([^/]+/[^/]+)\.git/info/lfs/objects/batch", self.path):
            upload = {"href": f"{self.server.url}/lfs"}
            return self.answer({"objects": [{**o, "actions": {"upload": upload}} for o in json.loads(body)["objects"]]})
        return self.answer({"error": f"no such address: {self.path}"}, 404)

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.blobs[hashlib.sha256(body).hexdigest()] = body
        self.answer({})

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if match := re.fullmatch(r"/api/models/([^/]+/[^/]+)(/revision/(.+))?", path):
            return self.describe(match[1], match[3] or "main")
        if match := re.fullmatch(r"/api/models/([^/]+/[^/]+)/tree/([^/]+)", path):
            return self.tree(match[1], match[2])
        if match := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
            return self.resolve(*match.groups())
        return self.answer({"error": f"no such address: {path}"}, 404)

    def do_HEAD(self) -> None:
        self.do_GET()

    def create_repo(self, wanted: dict[str, str]) -> None:
        repo = f"{wanted['organization']}/{wanted['name']}"
        known = repo in self.server.repos
        self.server.repos.setdefault(repo, [{}])
        self.server.private.setdefault(repo, wanted.get("visibility") == "private" or wanted.get("private") is True)
        self.answer({"url": f"{self.server.url}/{repo}"}, 409 if known else 200)

    def preupload(self, files: list[dict[str, str]]) -> None:
        def mode(path: str) -> str:
            return "lfs" if self.server.weights_by_lfs and path.endswith(".safetensors") else "regular"

        self.answer(
            {"files": [{"path": f["path"], "uploadMode": mode(f["path"]), "shouldIgnore": False} for f in files]}
        )

    def commit(self, repo: str, lines: list[dict[str, dict[str, str]]]) -> None:
        files = dict(self.server.repos[repo][-1])
        for line in lines:
            value = line["value"]
            if line["key"] == "header":
                self.server.messages.append(value["summary"])
            elif line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                files[value["path"]] = self.server.blobs[value["oid"]]
        self.server.repos[repo].append(files)
        sha = f"{len(self.server.repos[repo]) - 1:040x}"
        self.answer({"commitUrl": f"{self.server.url}/{repo}/commit/{sha}", "commitOid": sha})

    def visible(self, repo: str, revision: str) -> tuple[str, dict[str, bytes]] | None:
        hidden = self.server.private.get(repo) and self.headers.get("Authorization") != f"Bearer {TOKEN}"
        if repo not in self.server.repos or hidden:
            self.answer({"error": "Repository not found"}, 404, {"X-Error-Code": "RepoNotFound"})
            return None
        found = self.server.revision(repo, revision)
        if found is None:
            self.answer({"error": "Invalid rev id"}, 404, {"X-Error-Code": "RevisionNotFound"})
        return found

    def describe(self, repo: str, revision: str) -> None:
        if found := self.visible(repo, revision):
            siblings = [{"rfilename": path} for path in found[1]]
            self.answer({"id": repo, "sha": found[0], "private": self.server.private[repo], "siblings": siblings})

    def tree(self, repo: str, revision: str) -> None:
        if found := self.visible(repo, revision):
            entries = [
                {"type": "file", "path": path, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}
                for path, data in found[1].items()
            ]
            self.answer(entries)

    def resolve(self, repo: str, revision: str, path: str) -> None:
        if found := self.visible(repo, revision):
            data = found[1][path]
            headers = {"X-Repo-Commit": found[0], "ETag": f'"{hashlib.sha256(data).hexdigest()}"'}
            self.answer(data, 200, headers)

    def answer(self, content: object, status: int = 200, headers: dict[str, str] | None = None) -> None:
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(data)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)


# With hf_xet installed the client sends LFS files by another protocol; both ways that speak plain HTTP are tried.
@pytest.fixture(params=["regular", "lfs"])
def hub(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", request.param == "lfs")
    monkeypatch.setenv("HF_TOKEN", "")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    server = Hub(weights_by_lfs=request.param == "lfs")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()
    huggingface_hub.close_session()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return save_encoder(nn.Linear(3, 2), tmp_path / "encoder", config={"in_features": 3, "out_features": 2})


def test_what_is_pushed_comes_back(hub: Hub, folder: Path) -> None:
    url = push_to_hub(folder, "ada/graphs", token=TOKEN, endpoint=hub.url, message="epoch 7")
    assert url == f"{hub.url}/ada/graphs"
    assert hub.messages == ["epoch 7"]
    assert hub.private == {"ada/graphs": True}
    assert {path: len(data) for path, data in hub.repos["ada/graphs"][-1].items()} == {
        path.name: path.stat().st_size for path in folder.iterdir()
    }
    assert bool(hub.blobs) == hub.weights_by_lfs

    here = load_encoder(folder, encoder_class=nn.Linear)
    back = load_encoder("ada/graphs", encoder_class=nn.Linear, endpoint=hub.url, token=TOKEN)
    assert torch.equal(back.weight, here.weight)
    assert torch.equal(back.bias, here.bias)


class Own(HubMixin):
    """An encoder of a user's own."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width, self.layer = width, nn.Linear(width, 2)

    @property
    def arguments(self) -> dict[str, object]:
        return {"width": self.width}


def test_an_encoder_publishes_itself_and_comes_back(hub: Hub, folder: Path, tmp_path: Path) -> None:
    ours = GraphEncoder(in_dim=3, hidden=4, layers=1, prototypes=0)
    address = {"token": TOKEN, "endpoint": hub.url}
    for encoder in (Own(3), ours):
        url = encoder.push_to_hub("ada/graphs", card={"dataset": "rings"}, **address)
        assert url == f"{hub.url}/ada/graphs"
        assert b"# graphs" in hub.repos["ada/graphs"][-1]["README.md"]
        local = encoder.save_pretrained(tmp_path / type(encoder).__name__)
        for source in ("ada/graphs", local):
            back = type(encoder).from_pretrained(source, **address)
            torch.testing.assert_close(back.state_dict(), encoder.state_dict(), rtol=0, atol=0)
            assert not back.training
    with pytest.raises(ModelError, match="holds an encoder of class GraphEncoder, not Adapter"):
        Adapter.from_pretrained("ada/graphs", **address)
    with pytest.raises(ModelError, match="does not build a Own"):
        Own.from_pretrained(folder)


def test_a_revision_can_be_asked_for(hub: Hub, folder: Path) -> None:
    push_to_hub(folder, "ada/graphs", token=TOKEN, endpoint=hub.url, private=False)
    first = f"{len(hub.repos['ada/graphs']) - 1:040x}"
    save_encoder(nn.Linear(5, 2), folder, config={"in_features": 5, "out_features": 2})
    push_to_hub(folder, "ada/graphs", token=TOKEN, endpoint=hub.url, private=False)

    def width(source: str) -> int:
        return load_encoder(source, encoder_class=nn.Linear, endpoint=hub.url).in_features

    assert width("ada/graphs") == 5
    assert width(f"ada/graphs@{first}") == 3
    with pytest.raises(ModelError, match=r"ada/graphs.*Revision Not Found"):
        width("ada/graphs@v9")


def test_a_private_push_does_not_land_in_a_public_repository(hub: Hub, folder: Path) -> None:
    push_to_hub(folder, "ada/open", token=TOKEN, endpoint=hub.url, private=False)
    commits = len(hub.repos["ada/open"])
    with pytest.raises(ModelError, match="ada/open exists and is public"):
        push_to_hub(folder, "ada/open", token=TOKEN, endpoint=hub.url)
    assert len(hub.repos["ada/open"]) == commits


def test_refusals_are_told_in_one_line(hub: Hub, folder: Path) -> None:
    push_to_hub(folder, "ada/graphs", token=TOKEN, endpoint=hub.url)
    with pytest.raises(ModelError, match=r"there is no folder ada/graphs.*Repository Not Found") as raised:
        load_encoder("ada/graphs", endpoint=hub.url, token="hf_wrong")
    assert "\n" not in str(raised.value)
    with pytest.raises(ModelError, match=r"could not be pushed to .*/eve/graphs: .*401"):
        push_to_hub(folder, "eve/graphs", token="hf_wrong", endpoint=hub.url)
    with pytest.raises(ModelError, match=r"could not be pushed to .*a/b/c"):
        push_to_hub(folder, "a/b/c", token=TOKEN, endpoint=hub.url)


def test_a_half_written_folder_is_not_pushed(hub: Hub, folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"")
    with pytest.raises(ModelError, match=r"model\.safetensors: "):
        push_to_hub(folder, "ada/graphs", token=TOKEN, endpoint=hub.url)
    assert hub.repos == {}


def test_an_unreachable_hub_is_named(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    with pytest.raises(ModelError, match=r"could not be pushed to http://127\.0\.0\.1:9/ada/graphs"):
        push_to_hub(folder, "ada/graphs", token=TOKEN, endpoint="http://127.0.0.1:9")
    with pytest.raises(ModelError, match=r"the download from http://127\.0\.0\.1:9"):
        load_encoder("ada/graphs", endpoint="http://127.0.0.1:9")
    huggingface_hub.close_session()
