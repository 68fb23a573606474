"""The server, asked over HTTP while it runs."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch
from tiny_models import WORDS, sentence_transformer
from torch import Tensor
from toy_collection import DIM, WordEncoder, collection

from described import assert_answers_as_described
from jepakit.errors import ConfigError
from jepakit.retrieval.encoder import Adapter
from jepakit.retrieval.ranking import SearchSettings, encode_sentences
from jepakit.retrieval.serving.app import make_app
from jepakit.retrieval.serving.searcher import Searcher, document_fingerprint
from jepakit.search.documents import Documents
from jepakit.search.generations import writing
from jepakit.search.index import Index
from jepakit.text import Kind, SentenceEncoder, TextEncoder
from servers import serving

DOCUMENTS = collection().documents


def built(
    folder: Path, encoder: TextEncoder | None = None, adapter: Adapter | None = None, documents: Documents = DOCUMENTS
) -> Searcher:
    encoder = encoder or WordEncoder()
    vectors = encoder.encode(documents.passages, "document")
    vectors = vectors if adapter is None else adapter.documents(vectors)
    fingerprint = document_fingerprint(encoder, adapter)
    index = Index.build(folder, documents, vectors, base=encoder.name, fingerprint=fingerprint)
    return Searcher(index, encoder, adapter, SearchSettings(words=0.5))


@pytest.fixture
def searcher(tmp_path: Path) -> Searcher:
    return built(tmp_path / "index")


@pytest.fixture
def client(searcher: Searcher) -> Iterator[httpx.Client]:
    with serving(make_app(searcher, max_characters=200)) as client:
        yield client


def ids(client: httpx.Client, query: str, **options: Any) -> list[str]:
    response = client.post("/search", json={"query": query, **options})
    assert response.status_code == 200, response.text
    (answer,) = response.json()["results"]
    return [found["id"] for found in answer]


def test_the_answers_are_the_searchers(client: httpx.Client, searcher: Searcher) -> None:
    queries = ["d1 d2 d3", "d4", ""]
    for options in ({}, {"k": 3, "mode": "dense"}, {"mode": "words", "filter": {"part": 1}}):
        where = {"where" if name == "filter" else name: value for name, value in options.items()}
        expected = [[asdict(found) for found in answer] for answer in searcher.search(queries, **where)]
        assert client.post("/search", json={"queries": queries, **options}).json() == {"results": expected}
        expected = [[asdict(found) for found in searcher.search(queries[:1], **where)[0]]]
        assert client.post("/search", json={"query": queries[0], **options}).json() == {"results": expected}
    assert client.post("/search", json={"queries": []}).json() == {"results": []}


def test_requests_at_once_get_the_answers_of_requests_one_by_one(tmp_path: Path) -> None:
    encoder = SentenceEncoder(sentence_transformer(tmp_path / "bert"), name="tiny")
    texts = tuple(f"{first} {second}" for first in WORDS for second in WORDS)
    names = tuple(f"D{number}" for number in range(len(texts)))
    documents = Documents(names, texts, ("",) * len(texts), ({},) * len(texts))
    bodies = [{"queries": [f"the {word}", word][: 1 + len(word) % 2]} for word in WORDS * 4]
    with serving(make_app(built(tmp_path / "index", encoder, documents=documents))) as client:
        one_by_one = [client.post("/search", json=body).json() for body in bodies]
        with ThreadPoolExecutor(8) as threads:
            at_once = list(threads.map(lambda body: client.post("/search", json=body).json(), bodies))
    assert all(len(answer["results"][0]) == 10 for answer in one_by_one)
    assert at_once == one_by_one


def test_what_is_added_is_found_and_what_is_deleted_is_not(client: httpx.Client, searcher: Searcher) -> None:
    assert client.get("/health").json() == {
        "documents": 120,
        "base": "words",
        "strength": None,
        "fingerprint": "words-1",
        "generation": 1,
    }
    new = [
        {"id": "a/b c", "text": "walrus tusk", "title": "Ärger", "metadata": {"x": 1.5, "y": True, "z": "é"}},
        {"id": "D3", "text": "walrus"},
    ]
    added = client.post("/documents", json={"documents": new})
    assert (added.status_code, added.json()["documents"], added.json()["generation"]) == (200, 121, 2)
    (answer,) = client.post("/search", json={"query": "walrus tusk", "k": 2}).json()["results"]
    assert [found["id"] for found in answer] == ["a/b c", "D3"]
    assert {key: answer[0][key] for key in ("text", "title", "metadata")} == {
        key: new[0][key] for key in ("text", "title", "metadata")
    }
    deleted = client.post("/documents/delete", json={"ids": ["a/b c", "D7"]})
    assert (deleted.status_code, deleted.json()["documents"]) == (200, 119)
    assert ids(client, "walrus tusk", k=1) == ["D3"]
    assert len(Index.open(searcher.index.folder)) == 119


def test_new_documents_go_through_the_adapter(tmp_path: Path) -> None:
    adapter = Adapter(DIM, base="words", fingerprint="words-1", direction="document").eval()
    for parameter in adapter.predictor.parameters():
        parameter.data += 0.2 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1))
    adapter.strength.fill_(0.5)
    with serving(make_app(built(tmp_path / "index", adapter=adapter))) as client:
        assert client.get("/health").json()["strength"] == 0.5
        assert client.post("/documents", json={"documents": [{"id": "new", "text": "walrus"}]}).status_code == 200
    index = Index.open(tmp_path / "index")
    expected = adapter.documents(WordEncoder().encode(["walrus"], "document"))
    torch.testing.assert_close(index.vectors(index.rows_of(["new"])), expected)


def test_what_others_change_is_seen_by_the_next_request(client: httpx.Client, searcher: Searcher) -> None:
    assert ids(client, "walrus", mode="words") == []
    folder = searcher.index.folder
    walrus = Documents(("W",), ("walrus",), ("",), ({},))
    Index.open(folder).add(walrus, WordEncoder().encode(walrus.texts, "document"))
    assert ids(client, "walrus", mode="words") == ["W"]
    Index.open(folder).delete(["W"])
    assert ids(client, "walrus", mode="words") == []
    # Generations are counted from 1 again.
    shutil.rmtree(folder)
    built(folder, documents=walrus)
    assert ids(client, "walrus") == ["W"]


def test_searches_go_on_while_documents_come_and_go(client: httpx.Client) -> None:
    done = threading.Event()

    def search() -> int:
        count = 0
        while not done.is_set() or not count:
            found = ids(client, "walrus", k=120)
            # Both of them or neither: no search sees half of a change.
            assert len({"W1", "W2"} & set(found[:2])) in (0, 2)
            count += 1
        return count

    new = {"documents": [{"id": "W1", "text": "walrus"}, {"id": "W2", "text": "walrus"}]}
    with ThreadPoolExecutor(3) as threads:
        searches = [threads.submit(search) for _ in range(3)]
        try:
            for _ in range(6):
                assert client.post("/documents", json=new).status_code == 200
                assert client.post("/documents/delete", json={"ids": ["W1", "W2"]}).status_code == 200
        finally:
            done.set()
    assert min(one.result() for one in searches) > 1


def test_changes_at_once_are_made_one_after_the_other(client: httpx.Client) -> None:
    bodies = [{"documents": [{"id": f"N{number}", "text": f"walrus n{number}"}]} for number in range(8)]
    with ThreadPoolExecutor(8) as threads:
        codes = [one.status_code for one in threads.map(lambda body: client.post("/documents", json=body), bodies)]
    assert codes == [200] * 8
    assert client.get("/health").json()["documents"] == 128


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"{", "the body is not JSON: Expecting property name"),
        (b"[1]", "body: Input should be a valid dictionary"),
        ({}, "query = None: expected either query or queries"),
        ({"query": "a", "queries": ["b"]}, "query = 'a': expected either query or queries"),
        ({"query": 3}, "query: Input should be a valid string"),
        ({"query": "a", "mode": "magic"}, "mode: Input should be 'fused', 'dense' or 'words'"),
        ({"query": "a", "k": 0}, "k: Input should be greater than or equal to 1"),
        ({"query": "a", "k": 1001}, "k: Input should be less than or equal to 1000"),
        ({"query": "a", "k": "5"}, "k: Input should be a valid integer"),
        ({"query": "a", "where": {}}, "where: Extra inputs are not permitted"),
        ({"queries": ["a"] * 257}, "queries: List should have at most 256 items"),
        ({"queries": ["a", "b" * 201]}, "query: too long (found 201); expected 200 characters"),
        ({"query": "a", "filter": {"part": {"above": 1}}}, "filter.part = {'above': 1}: expected bounds such as"),
        ({"query": "a", "filter": {"parts": 1}}, "a field of the documents: part (did you mean 'part'?)"),
        ({"query": "a", "filter": "part=1"}, "filter: Input should be a valid dictionary"),
    ],
)
def test_a_bad_search_is_told_what_is_wrong(client: httpx.Client, body: Any, message: str) -> None:
    content = {"content": body} if isinstance(body, bytes) else {"json": body}
    response = client.post("/search", headers={"content-type": "application/json"}, **content)
    assert response.status_code == 422
    assert list(response.json()) == ["error"]
    assert message in response.json()["error"]
    assert "Traceback" not in response.text


@pytest.mark.parametrize(
    ("path", "body", "message"),
    [
        ("/documents", b'{"documents": []}', "documents: List should have at least 1 item"),
        ("/documents", b'{"documents": [{"text": "a"}]}', "documents.0.id: Field required"),
        ("/documents", b'{"documents": [{"id": "", "text": "a"}]}', "documents.0.id: String should have at least 1"),
        ("/documents", b'{"documents": [{"id": "1", "text": "a"}, {"id": "1", "text": "b"}]}', "an id occurs twice"),
        ("/documents", b'{"documents": [{"id": "1", "text": "a", "metadata": {"x": NaN}}]}', "documents.0.metadata.x"),
        ("/documents", b'{"documents": [{"id": "1", "text": "a", "metadata": {"x": []}}]}', "documents.0.metadata.x"),
        (
            "/documents",
            b'{"documents": [{"id": "1", "title": "%s", "text": "%s"}]}' % (b"a" * 150, b"b" * 150),
            "text: too long (found 300); expected 200 characters",
        ),
        ("/documents/delete", b'{"ids": ["D1", "D999"]}', "no such id in the index (found 'D999')"),
        ("/documents/delete", b'{"ids": []}', "ids: List should have at least 1 item"),
    ],
)
def test_a_bad_change_is_told_what_is_wrong_and_changes_nothing(
    client: httpx.Client, path: str, body: bytes, message: str
) -> None:
    response = client.post(path, content=body, headers={"content-type": "application/json"})
    assert response.status_code == 422
    assert message in response.json()["error"]
    assert client.get("/health").json()["documents"] == 120
    assert client.get("/health").json()["generation"] == 1


def test_other_addresses_and_methods(client: httpx.Client) -> None:
    assert (client.get("/nothing").status_code, list(client.get("/nothing").json())) == (404, ["error"])
    assert (client.get("/search").status_code, list(client.get("/search").json())) == (405, ["error"])
    # Another site's page may send this without asking first.
    plain = client.post("/search", content=b'{"query": "d1"}', headers={"content-type": "text/plain"})
    assert (plain.status_code, list(plain.json())) == (422, ["error"])
    assert set(client.get("/openapi.json").json()["paths"]) == {
        "/search",
        "/documents",
        "/documents/delete",
        "/health",
    }


def test_what_is_wrong_with_the_index_is_409(client: httpx.Client, searcher: Searcher, tmp_path: Path) -> None:
    folder = searcher.index.folder
    with writing(folder):
        response = client.post("/documents/delete", json={"ids": ["D1"]})
        assert (response.status_code, "another process is writing" in response.json()["error"]) == (409, True)
        assert "D1" in ids(client, "d1", k=120)
    built(folder, WordEncoder(fingerprint="words-2"))
    response = client.post("/search", json={"query": "d1"})
    assert (response.status_code, "changed under the index" in response.json()["error"]) == (409, True)
    folder.rename(tmp_path / "away")
    response = client.post("/search", json={"query": "d1"})
    assert (response.status_code, "no index there" in response.json()["error"]) == (409, True)
    (tmp_path / "away").rename(folder)
    built(folder)
    assert len(ids(client, "d1")) == 10


@dataclass(frozen=True)
class Blocks(WordEncoder):
    """Notes how many texts it was given at once, and knows no mammoth."""

    sizes: list[int] = field(default_factory=list)

    def encode(self, texts: Sequence[str], kind: Kind) -> Tensor:
        self.sizes.append(len(texts))
        if "mammoth" in texts:
            raise KeyError("secret")
        return super().encode(texts, kind)


def test_many_new_documents_leave_room_for_queries(tmp_path: Path) -> None:
    encoder = Blocks()
    app = make_app(built(tmp_path / "index", encoder))
    encoder.sizes.clear()
    with serving(app) as client:
        new = [{"id": f"N{number}", "text": f"walrus n{number}"} for number in range(100)]
        assert client.post("/documents", json={"documents": new}).json()["documents"] == 220
        assert "N77" in ids(client, "walrus n77", k=1)
    assert (max(encoder.sizes), sum(encoder.sizes)) == (32, 101)


def test_long_queries_leave_room_for_others(tmp_path: Path) -> None:
    encoder = Blocks()
    with serving(make_app(built(tmp_path / "index", encoder))) as client:
        encoder.sizes.clear()
        queries = ["d1 " * 30_000] * 5 + ["d2"] * 40
        assert len(client.post("/search", json={"queries": queries, "k": 1}).json()["results"]) == 45
    assert encoder.sizes == [1, 1, 1, 1, 32, 9]


def test_a_fault_of_the_server_shows_nothing_of_its_inside(tmp_path: Path) -> None:
    with serving(make_app(built(tmp_path / "index", Blocks()))) as client:
        response = client.post("/search", json={"query": "mammoth"})
        assert (response.status_code, response.json()) == (500, {"error": "the server failed; its log says how"})
        assert len(ids(client, "d1")) == 10


def test_texts_that_are_no_unicode_are_served_all_the_same(tmp_path: Path) -> None:
    encoder = SentenceEncoder(sentence_transformer(tmp_path / "bert"), name="tiny")
    with serving(make_app(built(tmp_path / "index", encoder))) as client:
        json = {"content-type": "application/json"}
        new = b'{"documents": [{"id": "lone", "text": "open the \\ud800 file"}]}'
        assert client.post("/documents", content=new, headers=json).status_code == 200
        asked = b'{"query": "open the \\udfff file", "k": 1, "mode": "dense"}'
        found = client.post("/search", content=asked, headers=json).json()
    assert [(one["id"], one["text"]) for one in found["results"][0]] == [("lone", "open the \ud800 file")]


def test_every_answer_is_one_that_is_described(searcher: Searcher) -> None:
    assert_answers_as_described(make_app(searcher, max_characters=200), {"/documents/delete": {"ids": ["D3"]}})


def test_a_token_is_asked_for_before_anything_else(searcher: Searcher) -> None:
    with serving(make_app(searcher, token="sésame ouvre-toi")) as client:
        for headers in ({}, {"authorization": "Bearer wrong"}, {"authorization": "Basic sésame ouvre-toi".encode()}):
            for request in (("GET", "/health"), ("GET", "/nothing"), ("POST", "/documents/delete")):
                response = client.request(*request, headers=headers)
                assert response.status_code == 401
                assert response.headers["www-authenticate"] == "Bearer"
                assert response.json() == {"error": "expected the header Authorization: Bearer TOKEN"}
        right = {"authorization": "bearer sésame ouvre-toi".encode(), "host": "search.example"}
        assert client.get("/health", headers=right).status_code == 200


def test_without_a_token_another_name_of_this_machine_is_refused(client: httpx.Client) -> None:
    for host in ("rebound.example", "10.0.0.1:8765", "localhost.rebound.example", "[::", ""):
        response = client.get("/health", headers={"host": host})
        assert (response.status_code, list(response.json())) == (403, ["error"])
    for host in ("localhost", "LOCALHOST:80", "127.0.0.1:8765", "[::1]:8765"):
        assert client.get("/health", headers={"host": host}).status_code == 200


def test_bodies_that_are_too_long_are_not_read(client: httpx.Client) -> None:
    chunked = client.post("/search", content=iter([b"{}"]))
    assert (chunked.status_code, list(chunked.json())) == (413, ["error"])
    with socket.create_connection((client.base_url.host, client.base_url.port or 80), timeout=600) as connection:
        connection.sendall(b"POST /search HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999\r\n\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 413 ")


def test_bad_options(searcher: Searcher) -> None:
    with pytest.raises(ConfigError, match="max_characters = 0: expected at least 1"):
        make_app(searcher, max_characters=0)


SLOW_SERVER = """
import sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from toy_collection import WordEncoder
from jepakit.search.index import Index
from jepakit.retrieval.serving.searcher import Searcher
from jepakit.retrieval.serving.app import make_app
from jepakit.http import run_service

class Slow(WordEncoder):
    def encode(self, texts, kind):
        Path(sys.argv[4]).touch()
        time.sleep(1.5)
        return super().encode(texts, kind)

run_service(make_app(Searcher(Index.open(sys.argv[2]), Slow())), port=int(sys.argv[3]))
"""


def test_sigterm_ends_it_once_what_was_asked_is_answered(searcher: Searcher, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    begun = tmp_path / "begun"
    arguments = [str(Path(__file__).parents[1]), str(searcher.index.folder), str(port), str(begun)]
    command = [sys.executable, "-W", "error", "-c", SLOW_SERVER, *arguments]
    server = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=600) as client, ThreadPoolExecutor(1) as thread:
            wait_until(lambda: is_up(client), server)
            answer = thread.submit(client.post, "/search", json={"query": "d1 d2", "mode": "dense"})
            wait_until(begun.exists, server)
            server.send_signal(signal.SIGTERM)
            response = answer.result()
        expected = [[asdict(found) for found in searcher.search(["d1 d2"], mode="dense")[0]]]
        assert (response.status_code, response.json()) == (200, {"results": expected})
        _, log = server.communicate(timeout=600)
    finally:
        server.kill()
        server.wait()
    assert server.returncode == -signal.SIGTERM
    assert "Finished server process" in log
    assert "Traceback" not in log
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=600)


def wait_until(reached: Callable[[], bool], server: subprocess.Popen[str]) -> None:
    for _ in range(12_000):
        assert server.poll() is None
        if reached():
            return
        time.sleep(0.05)
    raise AssertionError("the server does not answer")


def is_up(client: httpx.Client) -> bool:
    try:
        return client.get("/health").status_code == 200
    except httpx.ConnectError:
        return False


def slowest_beside(client: httpx.Client, queries: list[str]) -> tuple[httpx.Response, float]:
    """The answer to a large request, and the longest that a second client waits for a small one meanwhile."""
    slowest = 0.0
    with ThreadPoolExecutor(1) as pool:
        large = pool.submit(client.post, "/search", json={"queries": queries, "mode": "fused"})
        while True:
            over, start = large.done(), time.monotonic()
            with httpx.Client(base_url=client.base_url, timeout=600) as other:
                assert other.post("/search", json={"query": "d1 d2", "k": 1}).status_code == 200
            slowest = max(slowest, time.monotonic() - start)
            if over:
                return large.result(), slowest


def test_a_large_request_is_refused_or_bounded_and_holds_nobody_up(tmp_path: Path) -> None:
    app = make_app(built(tmp_path / "index"), max_characters=90_000)
    text = "d1 d2 d3 d4 d5 " * 6000
    with serving(app) as client:
        refused, waited = slowest_beside(client, [text] * 256)
        assert refused.status_code == 422
        assert "queries: too long together (found 23040000); expected 450000 characters" in refused.json()["error"]
        assert waited < 10
        answered, waited = slowest_beside(client, [text[:9000]] * 50)
        assert answered.status_code == 200
        assert len(answered.json()["results"]) == 50
        assert waited < 10


def test_documents_that_are_added_bring_their_sentences(tmp_path: Path) -> None:
    dataset, encoder = collection(), WordEncoder()
    index = Index.build(
        tmp_path / "index",
        dataset.documents,
        encoder.encode(dataset.documents.passages, "document"),
        base=encoder.name,
        fingerprint=encoder.fingerprint,
        sentences=encode_sentences(dataset.documents, encoder),
    )
    searcher = Searcher(index, encoder, settings=SearchSettings(sentences=1.0))
    # The sentence that answers is one of many, in a document that is otherwise about d1 to d4.
    text = "d1 d2 d3 d4\n\nd2 d1 d4 d3\n\nd25 d26 d27 d28\n\nd3 d4 d1 d2"
    with serving(make_app(searcher)) as client:
        added = client.post("/documents", json={"documents": [{"id": "long", "text": text}]})
        assert added.status_code == 200
        (answer,) = client.post("/search", json={"query": "d25 d26 d27 d28", "k": 1}).json()["results"]
    assert [found["id"] for found in answer] == ["long"]
    assert answer[0]["score"] == pytest.approx(1, abs=1e-3)
