"""The frame of a service, in a process of its own, asked through raw sockets where a client misbehaves."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import httpx
import pytest

from jepakit.errors import ConfigError
from jepakit.http import make_service, run_service

SERVER = """
import signal, sys, time
from pathlib import Path
from jepakit.errors import DataError, ModelError
from jepakit.http import ServiceLimits, json_response, make_service, run_service

# A shell that runs the tests in the background has its children ignore Ctrl-C.
signal.signal(signal.SIGINT, signal.default_int_handler)
port, begun, limits = int(sys.argv[1]), Path(sys.argv[2]), eval(sys.argv[3])
app = make_service("test", lambda: {"ready": True}, limits=ServiceLimits(**limits))

@app.post("/double/{kind}")
def double(kind: str, numbers: list[int]):
    return json_response([2 * number for number in numbers])

@app.get("/slow")
def slow(seconds: float):
    begun.touch()
    time.sleep(seconds)
    return json_response("done")

@app.get("/threads")
def threads():
    import numpy, torch
    from threadpoolctl import threadpool_info
    numpy.ones((2, 2)) @ numpy.ones((2, 2))
    pools = [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]
    return json_response({"torch": torch.get_num_threads(), "blas": pools})

@app.get("/fails")
def fails(how: str):
    raise {"data": DataError("bad"), "model": ModelError("changed"), "fault": KeyError("secret")}[how]

run_service(app, port=port)
"""
SHORT = {"head_seconds": 1.0, "body_seconds": 1.0}
HEAD = b"POST /double/a HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"


@contextmanager
def server(folder: Path, **limits: object) -> Iterator[tuple[httpx.Client, subprocess.Popen[str]]]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-W", "error", "-c", SERVER, str(port), str(folder / "begun"), repr(limits)]
    two_threads = {**os.environ, "OMP_NUM_THREADS": "2", "OPENBLAS_NUM_THREADS": "2"}
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=two_threads)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=120) as client:
            wait_for(lambda: answers(client), process)
            yield client, process
    finally:
        process.kill()
        process.communicate()


def wait_for(reached: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    for _ in range(2400):
        assert process.poll() is None
        if reached():
            return
        time.sleep(0.05)
    raise AssertionError("it did not happen")


def answers(client: httpx.Client) -> bool:
    try:
        return client.get("/health").json() == {"ready": True}
    except httpx.ConnectError:
        return False


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    with server(tmp_path_factory.mktemp("server"), **SHORT) as (client, _):
        yield client


def connected(client: httpx.Client) -> socket.socket:
    return socket.create_connection((client.base_url.host, client.base_url.port or 80), timeout=120)


def received(connection: socket.socket) -> bytes:
    """Everything until the server ends the connection."""
    parts = []
    while part := connection.recv(4096):
        parts.append(part)
    return b"".join(parts)


def metric(client: httpx.Client, line: str) -> float:
    values = [text.rpartition(" ")[2] for text in client.get("/metrics").text.splitlines() if text.startswith(line)]
    return float(values[0]) if values else 0.0


def test_a_request_is_computed_by_one_thread(client: httpx.Client) -> None:
    threads = client.get("/threads").json()
    assert threads["torch"] == 1
    assert threads["blas"]
    assert {*threads["blas"]} == {1}


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (("GET", "/nothing"), 404),
        (("GET", "/double/a"), 405),
        (("POST", "/double/a", "{"), 422),
        (("POST", "/double/a", '["a"]'), 422),
        (("GET", "/fails?how=data"), 422),
        (("GET", "/fails?how=model"), 409),
        (("GET", "/fails?how=fault"), 500),
    ],
    ids=["nowhere", "method", "no JSON", "type", "data", "model", "fault"],
)
def test_every_error_is_json_of_one_shape(client: httpx.Client, request_: tuple[str, ...], status: int) -> None:
    method, path, *body = request_
    headers = {"content-type": "application/json"}
    response = client.request(method, path, content=body[0] if body else None, headers=headers)
    assert response.status_code == status
    assert list(response.json()) == ["error"]
    assert "secret" not in response.text
    assert client.post("/double/a", json=[1, 2]).json() == [2, 4]


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (HEAD, 408),
        (HEAD + b"Content-Length: 3\r\n\r\n[1", 408),
        (b"", 408),
        (b"\x16\x03\x01 no HTTP \r\n\r\n", 400),
        (HEAD + b"Content-Length: 99999999999\r\n\r\n", 413),
    ],
    ids=["half a head", "half a body", "nothing", "no HTTP", "too long"],
)
def test_half_requests_are_cut_off(client: httpx.Client, sent: bytes, status: int) -> None:
    with connected(client) as connection:
        connection.sendall(sent)
        head, _, body = received(connection).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status)
    assert list(json.loads(body)) == ["error"]


@pytest.mark.parametrize("begin", [HEAD, HEAD + b"Content-Length: 9999\r\n\r\n"], ids=["head", "body"])
def test_a_trickle_does_not_move_the_deadline(client: httpx.Client, begin: bytes) -> None:
    """A byte now and then, as slow-loris sends it, is no progress."""
    with connected(client) as connection:
        connection.sendall(begin)
        connection.settimeout(0.1)
        for _ in range(1200):
            with suppress(TimeoutError):
                assert connection.recv(4096).startswith(b"HTTP/1.1 408 ")
                return
            connection.sendall(b"a")
    raise AssertionError("the connection was not cut off")


def test_the_second_request_of_a_connection_has_deadlines_too(client: httpx.Client) -> None:
    whole = HEAD + b"Content-Length: 3\r\n\r\n[1]"
    with connected(client) as connection:
        connection.sendall(whole)
        answer = b""
        while not answer.endswith(b"[2]"):
            answer += connection.recv(4096)
        connection.sendall(HEAD)
        assert received(connection).startswith(b"HTTP/1.1 408 ")


def test_a_method_that_is_not_supported_is_told_those_that_are(client: httpx.Client) -> None:
    answer = client.get("/double/a")
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")


def test_an_answer_does_not_wait_for_the_client_to_acknowledge_its_head(client: httpx.Client) -> None:
    seconds: list[float] = []
    for _ in range(30):
        began = time.perf_counter()
        assert client.post("/double/a", json=[1]).json() == [2]
        seconds.append(time.perf_counter() - began)
    # Such a wait is 40 ms on Linux.
    assert min(seconds) < 0.03


def test_300_half_requests_leave_the_server_answering(tmp_path: Path) -> None:
    with (
        server(tmp_path, head_seconds=600.0, body_seconds=600.0, stop_seconds=600) as (client, process),
        ExitStack() as stack,
    ):
        for number in range(300):
            connection = stack.enter_context(connected(client))
            connection.sendall(HEAD + (b"Content-Length: 3\r\n\r\n[" if number % 2 else b""))
        assert client.post("/double/a", json=[3]).json() == [6]
        wait_for(lambda: metric(client, "jepakit_http_requests_in_flight") == 151, process)
        # None of them is waited for at the end.
        process.send_signal(signal.SIGTERM)
        assert process.wait(120) == -signal.SIGTERM


def test_too_many_connections_are_refused_until_others_end(tmp_path: Path) -> None:
    with server(tmp_path, connections=3) as (client, process):
        with connected(client), connected(client), connected(client) as last:
            assert received(last).startswith(b"HTTP/1.1 503 ")
        wait_for(lambda: client.get("/health").status_code == 200, process)


def test_what_waits_is_bounded_and_does_not_hold_up_health(tmp_path: Path) -> None:
    with server(tmp_path, at_once=1, waiting=1) as (client, process), ThreadPoolExecutor(8) as threads:
        slow = [threads.submit(client.get, "/slow?seconds=5") for _ in range(4)]
        wait_for((tmp_path / "begun").exists, process)
        assert client.get("/health").status_code == 200
        statuses = sorted(answer.result().status_code for answer in slow)
        assert statuses == [200, 200, 503, 503]
        assert client.get("/slow?seconds=0").json() == "done"


def test_a_stop_finishes_what_has_begun(tmp_path: Path) -> None:
    with server(tmp_path) as (client, process), ThreadPoolExecutor(1) as thread:
        answer = thread.submit(client.get, "/slow?seconds=2")
        wait_for((tmp_path / "begun").exists, process)
        process.send_signal(signal.SIGINT)
        assert answer.result().json() == "done"
        assert process.wait(120) == -signal.SIGINT


def test_metrics_count_by_route_and_status(tmp_path: Path) -> None:
    with server(tmp_path) as (client, _):
        for kind in "abc":
            client.post(f"/double/{kind}", json=[1])
        client.post("/double/a", json="x")
        for path in ("/made", "/up", "/slow"):
            client.get(path)
        client.get("/slow?seconds=0.3")
        route = 'route="/double/{kind}"'
        assert metric(client, f'jepakit_http_requests_total{{method="POST",{route},status="200"}}') == 3
        assert metric(client, f'jepakit_http_requests_total{{method="POST",{route},status="422"}}') == 1
        assert metric(client, 'jepakit_http_requests_total{method="any",route="none",status="404"}') == 2
        assert metric(client, f"jepakit_http_request_seconds_count{{{route}}}") == 4
        slow = 'jepakit_http_request_seconds_bucket{route="/slow",le='
        assert (metric(client, f'{slow}"0.25"}}'), metric(client, f'{slow}"+Inf"}}')) == (1, 2)
        assert metric(client, 'jepakit_http_request_seconds_sum{route="/slow"}') > 0.3


def test_searchers_of_another_name_are_refused(client: httpx.Client) -> None:
    for host, status in (("rebound.example", 403), ("127.0.0.1.rebound.example", 403), ("localhost:1", 200)):
        assert client.get("/health", headers={"host": host}).status_code == status


def test_web_pages_of_another_machine_are_refused(client: httpx.Client) -> None:
    for origin, status in (
        ("https://evil.example", 403),
        ("https://localhost.evil.example", 403),
        ("https://evil.example//localhost", 403),
        ("null", 403),
        ("localhost", 403),
        ("http://localhost:3000", 200),
        ("http://[::1]", 200),
    ):
        assert client.get("/health", headers={"origin": origin}).status_code == status, origin


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "search.example", ""])
def test_without_a_token_only_this_machine_may_ask(host: str) -> None:
    with pytest.raises(ConfigError) as refused:
        run_service(make_service("test", dict), host=host)
    assert refused.value.field == "host"


def test_blank_tokens_and_taken_ports_are_refused() -> None:
    with pytest.raises(ConfigError) as refused:
        make_service("test", dict, token=" ")
    assert refused.value.field == "token"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        for port in (taken.getsockname()[1], 70_000):
            with pytest.raises(ConfigError) as refused:
                run_service(make_service("test", dict), port=port)
            assert refused.value.field == "port"
