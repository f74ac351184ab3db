"""Ten thousand requests of each kind leave nothing behind in the worker.

Compared before and after: the objects the collector knows, the blocks of the allocator, open
descriptors (told by the application), and resident memory (told by the kernel).
"""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from conftest import Serve
from harness import processes
from harness.client import chunked, message
from harness.server import Server
from harness.wait import until

ROUND = 50
AT_ONCE = 10
WARM = 1_000
COUNT = 10_000

BODY = message("/body", "POST", body=b"b" * 2000)
KINDS = {
    "hello": message("/"),
    "environ": message("/environ"),
    "head": message("/", "HEAD"),
    "not-found": message("/none"),
    "stream": message("/stream?count=3&size=50"),
    "body": BODY,
    "chunked-body": message("/body", "POST", headers=[("Transfer-Encoding", "chunked")])
    + chunked([b"one", b"two"]),
    "unread-body": message("/unread", "POST", body=b"b" * 500),
    "file": message("/file?path={file}"),
    "memory-file": message("/memory-file?size=100"),
    "large": message("/bytes?size=100000"),
    "many-fields": message("/", headers=[(f"X-Field-{n}", "value") for n in range(50)]),
}


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("leaks") / "file"
    path.write_bytes(b"f" * 5000)
    return path


@pytest.fixture(params=["1", "2"], ids=["one-thread", "two-threads"])
def server(request: pytest.FixtureRequest, shared: Serve) -> Server:
    options = ("--threads", request.param, "--access-logfile", "/dev/null")
    return shared("apps.probe:application", *options)


def send_many(server: Server, data: bytes, count: int) -> None:
    """So many of the same request, pipelined in rounds."""
    method = data.split(b" ")[0].decode()
    with server.connect() as connection:
        for _ in range(count // ROUND):
            connection.send(data * ROUND)
            for _ in range(ROUND):
                connection.receive(method)


def held(server: Server) -> dict[str, Any]:
    """What the worker holds now."""
    facts = server.request("/process").json()
    return {**facts, "resident": processes.resident(server.worker)}


def check_flat(server: Server, before: dict[str, Any]) -> None:
    after = held(server)
    assert after["pid"] == before["pid"]
    assert after["objects"] - before["objects"] < 300
    assert after["blocks"] - before["blocks"] < 2000
    assert after["resident"] - before["resident"] < 2048
    until(
        lambda: held(server)["descriptors"] <= before["descriptors"],
        f"{before['descriptors']} descriptors again, not {after['descriptors']}",
    )


@pytest.mark.parametrize("kind", KINDS)
def test_ten_thousand(server: Server, file: Path, kind: str) -> None:
    data = KINDS[kind].replace(b"{file}", str(file).encode())
    send_many(server, data, WARM)
    before = held(server)
    send_many(server, data, COUNT)
    check_flat(server, before)


@pytest.mark.parametrize("target", ["/raise", "/raise-base?kind=SystemExit", "/breaks?name=x"])
def test_two_thousand_errors(server: Server, target: str) -> None:
    fail_many(server, target, 300)
    before = held(server)
    fail_many(server, target, 2_000)
    check_flat(server, before)


def fail_many(server: Server, target: str, count: int) -> None:
    for _ in range(count // AT_ONCE):
        with ExitStack() as stack:
            clients = [stack.enter_context(server.connect()) for _ in range(AT_ONCE)]
            for client in clients:
                client.send(message(target))
            for client in clients:
                response = client.receive()
                assert response.status == 500 or not response.complete


BROKEN = {
    "refused": b"GET / HTTP/1.1\r\n\r\n",
    "half-head": b"GET / HTTP/1.1\r\nHost: ",
    "half-body": BODY[:-1],
    "half-large-body": message("/body", "POST", body=b"b" * 100_000)[:-1],
    "closed-inside-the-answer": message("/stream?count=50&size=20000"),
    "closed-inside-a-kept-answer": message("/bytes?size=1000000"),
    "nothing": b"",
}


@pytest.mark.parametrize("kind", BROKEN)
def test_two_thousand_connections_that_end_badly(server: Server, kind: str) -> None:
    break_many(server, BROKEN[kind], 300)
    before = held(server)
    break_many(server, BROKEN[kind], 2_000)
    check_flat(server, before)


def break_many(server: Server, data: bytes, count: int) -> None:
    for number in range(count):
        connection = server.connect()
        connection.send_pieces([data])
        if number % 2 and data:
            connection.readable(0.001)
        connection.close()
        if number % 50 == 0:
            server.request("/")


HOOKS = """
accesslog = "/dev/null"
def pre_request(worker, req):
    req.note = worker.nr, dict(req.headers)
def post_request(worker, req, environ, resp):
    assert req.note[0] <= worker.nr and resp.headers is not None
"""


def test_requests_with_hooks_leave_nothing_behind(serve: Serve, tmp_path: Path) -> None:
    config = tmp_path / "hooks.conf.py"
    config.write_text(HOOKS)
    server = serve("apps.probe:application", "--config", str(config))
    kinds = [KINDS["hello"], KINDS["body"], KINDS["stream"], KINDS["not-found"]]
    for data in kinds:
        send_many(server, data, WARM)
    before = held(server)
    for data in kinds:
        send_many(server, data, COUNT // len(kinds))
    check_flat(server, before)
    assert "Exception in post_request" not in server.log
