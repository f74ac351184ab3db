"""Request bodies on their way to the application: whole, in pieces, huge, refused, cut off."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

from conftest import Serve
from harness import processes
from harness.client import Response, bytewise, chunked, message
from harness.server import Server
from harness.wait import until

MB = 1024 * 1024
BLOCK = bytes(range(256)) * 256


def as_length(target: str, body: bytes) -> bytes:
    return message(target, "POST", body=body)


def as_chunks(target: str, body: bytes) -> bytes:
    parts = [body[i : i + 50_000] for i in range(0, len(body), 50_000)]
    head = message(target, "POST", headers=[("Transfer-Encoding", "chunked")])
    return head + chunked(parts)


Framing = Callable[[str, bytes], bytes]
both = pytest.mark.parametrize("framed", [as_length, as_chunks])


def arrived(response: Response, body: bytes) -> bool:
    seen = response.json()
    assert seen["size"] == len(body)
    assert seen["sha256"] == hashlib.sha256(body).hexdigest()
    return True


@both
@pytest.mark.parametrize("size", [1, 1000, 65535, 65536, 65537, 200_000, 3 * MB])
def test_a_body_of_any_size_arrives_whole(probe: Server, framed: Framing, size: int) -> None:
    body = (BLOCK * (size // len(BLOCK) + 1))[:size]
    assert arrived(probe.send(framed("/body", body)), body)


@both
def test_a_body_may_come_byte_by_byte(probe: Server, framed: Framing) -> None:
    body = b"in small pieces" * 20
    with probe.connect() as connection:
        connection.send_pieces(bytewise(framed("/body", body)))
        assert arrived(connection.receive(), body)


@both
def test_requests_with_bodies_may_be_pipelined(probe: Server, framed: Framing) -> None:
    bodies = [b"one", b"two" * 30_000, b"three"]
    with probe.connect() as connection:
        connection.send(b"".join(framed("/body", body) for body in bodies))
        assert all(arrived(connection.receive(), body) for body in bodies)


@both
def test_a_body_of_50_mb_does_not_grow_the_worker(serve: Serve, framed: Framing) -> None:
    server, body = serve(), BLOCK * 800
    server.request("/body", "POST", body=b"warm")
    before = processes.peak(server.worker)
    assert arrived(server.send(framed("/body", body)), body)
    assert processes.peak(server.worker) - before < 16 * 1024


def test_spooled_bodies_leave_nothing_behind(serve: Serve, tmp_path: Path) -> None:
    spool = tmp_path / "spool"
    spool.mkdir()
    server = serve(env={"OXICORN_TMP_UPLOAD_DIR": str(spool)})
    with server.connect() as connection:
        connection.send(message("/body", "POST", body=BLOCK * 20)[:-1])
        until(lambda: "(deleted)" in _open_files(server), "the body is spooled")
        assert list(spool.iterdir()) == []
        assert str(spool) in _open_files(server)
        connection.send(BLOCK[-1:])
        assert arrived(connection.receive(), BLOCK * 20)
    until(lambda: "(deleted)" not in _open_files(server), "the spool file is closed")


def _open_files(server: Server) -> str:
    folder = Path(f"/proc/{server.worker}/fd")
    return " ".join(str(path.readlink()) for path in folder.iterdir() if path.is_symlink())


@pytest.fixture
def limited(shared: Serve) -> Server:
    return shared("apps.probe:application", "--limit-request-body", "1000")


@both
def test_a_body_at_the_limit_is_taken(limited: Server, framed: Framing) -> None:
    assert arrived(limited.send(framed("/body", b"x" * 1000)), b"x" * 1000)


@both
def test_a_body_beyond_the_limit_is_answered_413(limited: Server, framed: Framing) -> None:
    with limited.connect() as connection:
        connection.send(framed("/body?name=too-large", b"x" * 1001))
        assert connection.receive().status == 413
        assert connection.is_closed()
    assert limited.request("/events?name=too-large").json() == []


def test_a_length_beyond_the_limit_is_refused_before_the_body_comes(limited: Server) -> None:
    with limited.connect() as connection:
        connection.send(message("/body", "POST", headers=[("Content-Length", "1001")]))
        assert connection.receive().status == 413


def test_a_client_that_waits_for_100_is_told_413_at_once(limited: Server) -> None:
    expecting = [("Content-Length", "1001"), ("Expect", "100-continue")]
    with limited.connect() as connection:
        response = connection.send(message("/body", "POST", headers=expecting)).receive()
        assert (response.status, response.interim) == (413, [])


# clients that leave


@both
def test_a_client_that_leaves_inside_a_body_is_not_served(probe: Server, framed: Framing) -> None:
    with probe.connect() as connection:
        connection.send(framed(f"/body?name=left-{framed.__name__}", b"half a body")[:-8])
    probe.request("/")
    assert probe.request(f"/events?name=left-{framed.__name__}").json() == []


@both
def test_ending_the_direction_inside_a_body_is_no_end_of_body(
    probe: Server, framed: Framing
) -> None:
    name = f"shut-{framed.__name__}"
    with probe.connect() as connection:
        connection.send(framed(f"/body?name={name}", b"half a body")[:-8])
        connection.finish_sending()
        answer = connection.rest()
        assert b" 200 " not in answer.split(b"\r\n")[0]
    assert probe.request(f"/events?name={name}").json() == []


def test_a_large_half_sent_body_is_given_back(serve: Serve) -> None:
    server = serve()
    open_before = processes.descriptors(server.worker)
    with server.connect() as connection:
        connection.send(message("/body", "POST", body=BLOCK * 20)[:-1])
        until(lambda: "(deleted)" in _open_files(server), "the body is spooled")
    processes.wait_for_no_more_than(open_before, lambda: [server.worker])


def test_a_client_that_only_ends_its_direction_is_answered(probe: Server) -> None:
    with probe.connect() as connection:
        connection.send(message("/body", "POST", body=b"complete"))
        connection.finish_sending()
        assert arrived(connection.receive(), b"complete")
        assert connection.is_closed()


# Expect: 100-continue

EXPECTING = [("Content-Length", "5"), ("Expect", "100-Continue")]


def test_100_is_sent_before_the_body_comes(probe: Server) -> None:
    with probe.connect() as connection:
        connection.send(message("/body", "POST", headers=EXPECTING))
        assert connection.receive_interim() == 100
        assert arrived(connection.send(b"hello").receive(), b"hello")


def test_100_is_not_sent_when_the_body_is_there(probe: Server) -> None:
    response = probe.send(message("/body", "POST", headers=EXPECTING) + b"hello")
    assert response.interim == []
    assert arrived(response, b"hello")


def test_100_is_sent_once_for_a_body_in_pieces(probe: Server) -> None:
    with probe.connect() as connection:
        connection.send(message("/body", "POST", headers=EXPECTING))
        assert connection.receive_interim() == 100
        response = connection.send_pieces(bytewise(b"hello")).receive()
        assert response.interim == []


def test_100_is_not_sent_to_http_1_0(probe: Server) -> None:
    with probe.connect() as connection:
        connection.send(message("/body", "POST", headers=EXPECTING, version="HTTP/1.0"))
        response = connection.send(b"hello").receive()
        assert response.interim == []
        assert arrived(response, b"hello")


def test_100_is_not_sent_for_a_request_without_a_body(probe: Server) -> None:
    response = probe.request("/", headers=[("Expect", "100-continue")])
    assert (response.status, response.interim) == (200, [])


def test_another_expectation_is_answered_417(probe: Server) -> None:
    with probe.connect() as connection:
        assert connection.request("/", headers=[("Expect", "a-miracle")]).status == 417
        assert connection.is_closed()
