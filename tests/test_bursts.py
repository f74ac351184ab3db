"""Blocks of a response that come in quick succession: they may leave together, and none waits for
what the application does next.
"""

from __future__ import annotations

import contextlib
import os
import random
from pathlib import Path

import pytest

from apps.bursts import numbered
from conftest import Serve
from harness.client import Connection, message
from harness.server import Server

BURSTS = "apps.bursts:application"


@pytest.fixture(params=["1", "2"])
def bursts(request: pytest.FixtureRequest, shared: Serve) -> Server:
    """One worker, with as many threads."""
    return shared(BURSTS, "--threads", request.param)


class Later:
    """What the application does behind its blocks, until it is let go on."""

    def __init__(self, folder: Path, then: str):
        self.base = folder / "burst"
        self.query = f"then={then}&file={self.base}"
        self.keeps = then == "keep"
        os.mkfifo(f"{self.base}.fifo")
        # Open as long as the test runs, so that what is written waits for its reader.
        self.fifo = open(f"{self.base}.fifo", "r+b", buffering=0)  # noqa: SIM115

    def __enter__(self) -> Later:
        return self

    def __exit__(self, *_: object) -> None:
        self.fifo.close()

    def go_on(self) -> None:
        if self.keeps:
            self.fifo.write(b"!")
        else:
            Path(f"{self.base}.open").touch()

    def again(self) -> None:
        """The next request waits as this one did."""
        Path(f"{self.base}.open").unlink(missing_ok=True)


END = b"0\r\n\r\n"


def read_block(connection: Connection, number: int) -> None:
    """Reads until the block of this number is there, and checks that the body does not end."""
    block, seen = numbered(number, 10) + b"\r\n", b""
    while block not in seen:
        some = connection.read_some(100_000)
        assert some, seen
        seen += some
    assert seen.endswith(block)


@pytest.mark.parametrize("before", [0, 0.05], ids=["at-once", "after-a-while"])
@pytest.mark.parametrize("then", ["wait", "compute", "keep"])
@pytest.mark.parametrize("via", ["yield", "write"])
def test_the_last_block_of_a_burst_arrives_whatever_the_application_does_next(
    bursts: Server, tmp_path: Path, via: str, then: str, before: float
) -> None:
    with Later(tmp_path, then) as later, bursts.connect() as connection:
        for count in (1, 2, 3, 7):
            connection.send(message(f"/?count={count}&via={via}&before={before}&{later.query}"))
            read_block(connection, count - 1)
            later.go_on()
            assert connection.take(len(END)) == END
            later.again()


@pytest.mark.parametrize("size", [1, 100, 4096, 8192, 8193, 20_000, 70_000])
@pytest.mark.parametrize("via", ["yield", "write"])
def test_blocks_arrive_whole_and_in_their_order(bursts: Server, via: str, size: int) -> None:
    wanted = [numbered(number, max(size, len(str(number)))) for number in range(50)]
    response = bursts.request(f"/?count=50&size={size}&via={via}")
    assert response.chunks == wanted


def test_a_slow_reader_gets_every_block(bursts: Server) -> None:
    with bursts.connect(receive_buffer=32768) as connection:
        connection.send(message("/?count=4000&size=700"))
        response = connection.receive()
    assert response.chunks == [numbered(number, 700) for number in range(4_000)]


def test_a_burst_before_an_error_arrives_and_the_connection_ends(bursts: Server) -> None:
    response = bursts.request("/?count=5&raise=1")
    assert not response.complete
    assert response.body == b"".join(numbered(number, 10) for number in range(5))


def test_bursts_on_many_connections_at_once(bursts: Server) -> None:
    chance = random.Random(1)
    sizes = [chance.randrange(1, 9000) for _ in range(200)]
    connections = [bursts.connect() for _ in sizes]
    for connection, size in zip(connections, sizes, strict=True):
        connection.send(message(f"/?count=9&size={size}") * 2)
    for connection, size in zip(connections, sizes, strict=True):
        for _ in range(2):
            wanted = [numbered(number, size) for number in range(9)]
            assert connection.receive().chunks == wanted
        connection.close()


def test_a_client_that_leaves_within_a_burst_disturbs_nobody(
    bursts: Server, tmp_path: Path
) -> None:
    for _ in range(20):
        with bursts.connect() as connection:
            connection.send(message("/?count=1000&size=5000"))
            connection.read_some(1)
            connection.abort()
    with Later(tmp_path, "wait") as later, bursts.connect() as connection:
        connection.send(message(f"/?count=3&{later.query}"))
        read_block(connection, 2)
        later.go_on()
        assert connection.take(len(END)) == END


def test_two_streams_keep_their_pace_beside_each_other(shared: Serve, tmp_path: Path) -> None:
    server = shared(BURSTS, "--threads", "2")
    folders = [tmp_path / name for name in ("one", "two")]
    for folder in folders:
        folder.mkdir()
    with contextlib.ExitStack() as stack:
        laters = [stack.enter_context(Later(folder, "wait")) for folder in folders]
        connections = [stack.enter_context(server.connect()) for _ in laters]
        for connection, later in zip(connections, laters, strict=True):
            connection.send(message(f"/?count=4&{later.query}"))
            read_block(connection, 3)
        for connection, later in zip(connections, laters, strict=True):
            later.go_on()
            assert connection.take(len(END)) == END
