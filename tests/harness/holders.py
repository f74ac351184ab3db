"""Which worker has a connection: whoever answers on it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from .client import Connection, Response
from .server import Server
from .wait import until


def holder(connection: Connection) -> int:
    """Who answers on it."""
    pid: int = connection.request("/process").json()["pid"]
    return pid


@contextmanager
def connections_of(server: Server, worker: int, count: int) -> Iterator[list[Connection]]:
    """So many connections that this worker has answered on."""
    kept: list[Connection] = []
    others: list[Connection] = []

    def found() -> bool:
        batch = [server.connect() for _ in range(8)]
        for connection in batch:
            (kept if holder(connection) == worker else others).append(connection)
        return len(kept) >= count

    try:
        until(found, f"{count} connections of worker {worker}")
        others += kept[count:]
        for connection in others:
            connection.close()
        yield kept[:count]
    finally:
        for connection in kept + others:
            connection.close()


def ask_all(connections: list[Connection], request: bytes) -> list[Response]:
    """Sends the request on all of them, and waits for all answers."""
    for connection in connections:
        connection.send(request)
    return [connection.receive() for connection in connections]
