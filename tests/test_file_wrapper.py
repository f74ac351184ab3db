"""wsgi.file_wrapper: real files, parts of them, and things that can only `read`."""

from __future__ import annotations

import hashlib
from pathlib import Path
from urllib.parse import urlencode

import pytest

from conftest import Serve
from harness import processes
from harness.client import Response
from harness.server import Server
from harness.wait import until


@pytest.fixture(scope="module")
def letters(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("files") / "letters"
    path.write_bytes(b"abcdefghijklmnopqrstuvwxyz" * 1000)
    return path


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("files") / "large"
    path.write_bytes(b"".join(i.to_bytes(4, "big") * 256 for i in range(20 * 1024)))
    return path


def fetch(server: Server, path: Path, method: str = "GET", **query: object) -> Response:
    return server.request(f"/file?{urlencode({'path': path, **query})}", method)


def test_a_file_arrives_whole(probe: Server, letters: Path) -> None:
    assert fetch(probe, letters).body == letters.read_bytes()


def test_a_file_of_known_length_arrives_whole(probe: Server, letters: Path) -> None:
    response = fetch(probe, letters, length=26_000)
    assert response.header("Content-Length") == "26000"
    assert response.body == letters.read_bytes()


def test_a_file_is_sent_from_its_position(probe: Server, letters: Path) -> None:
    assert fetch(probe, letters, offset=25_990).body == b"qrstuvwxyz"


def test_a_part_of_a_file_can_be_sent(probe: Server, letters: Path) -> None:
    assert fetch(probe, letters, offset=2, length=5).body == b"cdefg"


def test_without_sendfile_the_same_arrives(shared: Serve, letters: Path) -> None:
    plain = shared("apps.probe:application", "--no-sendfile")
    assert fetch(plain, letters).body == letters.read_bytes()
    assert fetch(plain, letters, offset=2, length=5).body == b"cdefg"


def test_the_connection_lives_on_after_a_part_of_a_file(probe: Server, letters: Path) -> None:
    with probe.connect() as connection:
        query = urlencode({"path": letters, "length": 3})
        assert connection.request(f"/file?{query}").body == b"abc"
        assert connection.request("/").body == b"Hello, world!\n"


def test_an_empty_file_is_an_empty_body(probe: Server, tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    with probe.connect() as connection:
        response = connection.request(f"/file?path={tmp_path}/empty")
        assert (response.status, response.body, response.complete) == (200, b"", True)
        assert connection.request("/").status == 200


def test_a_file_at_its_end_is_an_empty_body(probe: Server, letters: Path) -> None:
    response = fetch(probe, letters, offset=26_000)
    assert (response.body, response.complete) == (b"", True)


def test_a_file_shorter_than_its_length_ends_the_connection(probe: Server, letters: Path) -> None:
    with probe.connect() as connection:
        query = urlencode({"path": letters, "offset": 25_997, "length": 10})
        response = connection.request(f"/file?{query}")
        assert (response.body, response.complete) == (b"xyz", False)
        assert connection.is_closed()


def test_20_mb_arrive_unchanged_and_are_not_held_in_memory(probe: Server, large: Path) -> None:
    probe.request("/")
    before = processes.peak(probe.worker)
    response = fetch(probe, large)
    assert len(response.body) == 20 * 1024 * 1024
    assert _hash(response.body) == _hash(large.read_bytes())
    assert processes.peak(probe.worker) - before < 8 * 1024


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_a_slow_reader_gets_the_whole_file(probe: Server, large: Path) -> None:
    with probe.connect(receive_buffer=4096) as slow:
        slow.send(f"GET /file?path={large}&length=20971520 HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert slow.readable(10)
        assert fetch(probe, large, length=10).body == large.read_bytes()[:10]
        assert _hash(slow.receive().body) == _hash(large.read_bytes())


def test_head_of_a_file_sends_no_body(probe: Server, letters: Path) -> None:
    with probe.connect() as connection:
        query = urlencode({"path": letters, "length": 26_000, "name": "head-of-file"})
        response = connection.request(f"/file?{query}", "HEAD")
        assert response.header("Content-Length") == "26000"
        assert connection.request("/").body == b"Hello, world!\n"
    assert probe.request("/events?name=head-of-file").json() == ["close head-of-file"]


def test_http_1_0_gets_the_file_and_the_end(probe: Server, letters: Path) -> None:
    with probe.connect() as connection:
        response = connection.request(f"/file?path={letters}", version="HTTP/1.0")
        assert response.body == letters.read_bytes()
        assert connection.is_closed()


def test_the_file_is_closed_once(probe: Server, letters: Path) -> None:
    fetch(probe, letters, name="whole-file")
    until(lambda: probe.request("/events?name=whole-file").json(), "the file is closed")
    assert probe.request("/events?name=whole-file").json() == ["close whole-file"]


def test_the_file_is_closed_when_the_client_leaves(probe: Server, large: Path) -> None:
    with probe.connect(receive_buffer=4096) as connection:
        connection.send(f"GET /file?path={large}&name=left HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert connection.read_some(10)
    until(lambda: probe.request("/events?name=left").json(), "the file is closed")


def test_what_can_only_read_is_sent_too(probe: Server) -> None:
    assert probe.request("/memory-file?size=100000").body == b"m" * 100_000


def test_middleware_may_iterate_over_the_wrapper(probe: Server, letters: Path) -> None:
    response = probe.request(f"/upper-file?path={letters}")
    assert response.body == letters.read_bytes().upper()


def test_a_pipe_is_sent_until_its_end(probe: Server) -> None:
    assert probe.request("/pipe-file?text=through-a-pipe").body == b"through-a-pipe"
