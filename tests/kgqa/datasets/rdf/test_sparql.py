"""SPARQL endpoints: a real query engine behind a server on this machine, in good and in bad states."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import parse_qs

import pytest
from pyoxigraph import QueryResultsFormat, RdfFormat, Store

from jepakit.errors import ConfigError, DataError
from jepakit.kgqa.data import KnowledgeGraph
from jepakit.kgqa.datasets import load_graph
from jepakit.kgqa.datasets.rdf.files import load_rdf
from jepakit.kgqa.datasets.rdf.sparql import SparqlConfig, load_sparql

TURTLE = """
@prefix : <http://example.org/> .
@prefix rdfs: <http://www.w3.org/2000/01/rdf-schema#> .
:kismet a :Film ; rdfs:label "Kismet" ; :directed_by :william ; :year 1944 .
:william rdfs:label "William \\"Bill\\"\\tDieterle" ; rdfs:comment "A director." ; :knows :william .
:directed_by rdfs:label "directed by" .
""" + "\n".join(f":f{i} :directed_by :d{i % 7} ." for i in range(40))

Reply = Callable[[BaseHTTPRequestHandler, bytes], None]


def send(handler: BaseHTTPRequestHandler, content: bytes, status: int = 200, size: int | None = None) -> None:
    handler.send_response(status)
    handler.send_header("Content-Type", "application/sparql-results+json")
    handler.send_header("Content-Length", str(len(content) if size is None else size))
    handler.end_headers()
    handler.wfile.write(content)


@contextmanager
def endpoint(reply: Reply = send, *, most_rows: int = 10_000, queries: list[str] | None = None) -> Iterator[str]:
    """The address of a server whose query engine has the triples above; it never gives more than ``most_rows`` rows."""
    store = Store()
    store.load(TURTLE.encode(), RdfFormat.TURTLE)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            (query,) = parse_qs(body)["query"]
            if queries is not None:
                queries.append(query)
            content = json.loads(bytes(store.query(query).serialize(format=QueryResultsFormat.JSON) or b""))
            del content["results"]["bindings"][most_rows:]
            reply(self, json.dumps(content).encode())

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/sparql"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def content_of(graph: KnowledgeGraph) -> tuple[object, object]:
    ids = graph.column("id")
    triples = {(ids[h], graph.relations[r].name, ids[t]) for h, r, t in graph.triples().tolist()}
    return triples, sorted(map(str, graph.entities.to_pylist()))


@pytest.mark.parametrize("literals", [False, True])
@pytest.mark.parametrize(("page", "most_rows"), [(1000, 1000), (7, 1000), (1000, 11)])
def test_an_endpoint_gives_the_graph_of_the_file(tmp_path: Path, page: int, most_rows: int, literals: bool) -> None:
    (tmp_path / "a.ttl").write_text(TURTLE, "utf-8")
    with endpoint(most_rows=most_rows) as url:
        graph = load_sparql(url, literals=literals, config=SparqlConfig(page=page))
    assert content_of(graph) == content_of(load_rdf(tmp_path / "a.ttl", literals=literals))
    assert graph.name == "127.0.0.1"


def test_pages_are_as_large_as_is_asked() -> None:
    queries: list[str] = []
    with endpoint(queries=queries) as url:
        by_name = load_graph(url)
        count = len(queries)
        load_sparql(url, config=SparqlConfig(page=10))
    assert by_name.num_triples == 42
    # Of the relations only one has more than a page: 41 triples.
    assert len(queries) - count == count + 4


def cut(handler: BaseHTTPRequestHandler, content: bytes) -> None:
    send(handler, content[: len(content) // 2], size=len(content))


def cut_without_size(handler: BaseHTTPRequestHandler, content: bytes) -> None:
    handler.send_response(200)
    handler.end_headers()
    handler.wfile.write(content[: len(content) // 2])


def html(handler: BaseHTTPRequestHandler, content: bytes) -> None:
    send(handler, b"<html>Welcome</html>")


def other_json(handler: BaseHTTPRequestHandler, content: bytes) -> None:
    send(handler, b'{"head": {}, "boolean": true}')


def failure(handler: BaseHTTPRequestHandler, content: bytes) -> None:
    send(handler, b"query too\n complex", status=503)


def silent(handler: BaseHTTPRequestHandler, content: bytes) -> None:
    time.sleep(1.6)


def dripping(handler: BaseHTTPRequestHandler, content: bytes) -> None:
    handler.send_response(200)
    handler.end_headers()
    try:
        for place in range(30):
            handler.wfile.write(content[place : place + 1])
            time.sleep(0.1)
    except OSError:
        pass


def gone(handler: BaseHTTPRequestHandler, content: bytes) -> None:
    handler.connection.close()


@pytest.mark.parametrize("reply", [cut, cut_without_size, html, other_json, failure, silent, dripping, gone])
def test_bad_replies_are_one_error_with_the_address(reply: Reply) -> None:
    with endpoint(reply) as url:
        started = time.monotonic()
        with pytest.raises(DataError) as error:
            load_sparql(url, config=SparqlConfig(timeout=1))
        assert time.monotonic() - started < 10
    assert error.value.file == url
    if reply is failure:
        assert "503" in str(error.value)
        assert error.value.value == "query too complex"


def test_an_endpoint_that_is_down() -> None:
    with endpoint() as url:
        pass
    with pytest.raises(DataError) as error:
        load_graph(url)
    assert error.value.file == url


def test_fewer_triples_than_were_counted_are_an_error() -> None:
    def first_only(handler: BaseHTTPRequestHandler, content: bytes) -> None:
        rows = json.loads(content)
        if "s" in rows["head"]["vars"]:
            rows["results"]["bindings"] = []
        send(handler, json.dumps(rows).encode())

    with endpoint(first_only) as url, pytest.raises(DataError) as error:
        load_sparql(url)
    assert (error.value.file, error.value.value) == (url, 0)


def test_sizes_are_bounded() -> None:
    with endpoint() as url:
        for config, value in ((SparqlConfig(largest=10), 47), (SparqlConfig(reply_bytes=100), None)):
            with pytest.raises(DataError) as error:
                load_sparql(url, config=config)
            assert (error.value.file, error.value.value) == (url, value)
    with pytest.raises(ConfigError):
        SparqlConfig(page=0)


@pytest.mark.parametrize("url", ["ftp://example.org/sparql", "http://", "mysql://host/db"])
def test_other_addresses_are_refused(url: str) -> None:
    with pytest.raises(ConfigError) as error:
        load_graph(url)
    assert error.value.value == url
