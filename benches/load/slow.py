"""Slow clients: request heads, request bodies and response readers that crawl, many at once.

They run beside the paced client, in its loop: each call of `step` moves at most one of them, so
that they disturb the server and not the client that measures it.
"""

from __future__ import annotations

import errno
import heapq
import socket
import time

STEP_SECONDS = 1.0
"""Each connection moves once in this time."""
OPEN_SECONDS = 2.0
"""The connections are opened evenly over this time: slow is the test, not a burst."""
READER_BUFFER = 4096
BODY_LENGTH = 10240

OPENINGS = {
    "heads": b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Slow: ",
    "bodies": b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % BODY_LENGTH,
    "readers": b"GET /big HTTP/1.1\r\nHost: localhost\r\n\r\n",
}


class SlowClients:
    """A fixed number of slow connections; one that the server closes is replaced."""

    def __init__(self, port: int, count: int, kinds: tuple[str, ...]) -> None:
        """Plan `count` connections, as many of each of `kinds`; `step` opens them."""
        self._kinds = kinds
        self._address = ("127.0.0.1", port)
        self._sockets: dict[int, socket.socket | None] = dict.fromkeys(range(count))
        self._unopened: set[int] = set()
        self._schedule: list[tuple[float, int]] = []
        self.closed_by_server = 0
        start = time.perf_counter()
        for slot in range(count):
            heapq.heappush(self._schedule, (start + OPEN_SECONDS * slot / count, slot))

    def step(self) -> None:
        """Move the next connection, if its time has come."""
        now = time.perf_counter()
        if self._schedule[0][0] > now:
            return
        _, slot = heapq.heappop(self._schedule)
        self._move(slot)
        heapq.heappush(self._schedule, (now + STEP_SECONDS, slot))

    def connected(self) -> int:
        """How many connections the server has accepted and not closed at this moment."""
        standing = sum(connection is not None for connection in self._sockets.values())
        return standing - len(self._unopened)

    def close(self) -> None:
        """Close them all."""
        for slot in self._sockets:
            self._drop(slot)

    def _kind(self, slot: int) -> str:
        return self._kinds[slot % len(self._kinds)]

    def _open(self, slot: int) -> None:
        connection = socket.socket()
        if self._kind(slot) == "readers":
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, READER_BUFFER)
        connection.setblocking(False)
        code = connection.connect_ex(self._address)
        self._sockets[slot] = connection
        if code in (0, errno.EINPROGRESS):
            self._begin(slot)
        else:
            self._drop(slot)

    def _begin(self, slot: int) -> None:
        """Send the opening; a full accept queue leaves that to a later move."""
        self._unopened.discard(slot)
        if not self._attempt(slot, OPENINGS[self._kind(slot)]):
            self._unopened.add(slot)

    def _move(self, slot: int) -> None:
        connection = self._sockets[slot]
        if connection is None:
            self._open(slot)
        elif slot in self._unopened:
            self._begin(slot)
        elif self._kind(slot) == "readers":
            self._read(slot, 1024)
        else:
            self._attempt(slot, b"x" * 4)
            self._read(slot, 1024)

    def _attempt(self, slot: int, data: bytes) -> bool:
        """Send a few bytes; False if the connection takes none now."""
        connection = self._sockets[slot]
        try:
            if connection is not None:
                connection.send(data)
        except BlockingIOError:
            return False
        except OSError:
            self._lost(slot)
        return True

    def _read(self, slot: int, size: int) -> None:
        connection = self._sockets[slot]
        try:
            if connection is not None and not connection.recv(size):
                self._lost(slot)
        except BlockingIOError:
            return
        except OSError:
            self._lost(slot)

    def _lost(self, slot: int) -> None:
        """The server closed it, which is its right: another comes at the next move."""
        self.closed_by_server += 1
        self._drop(slot)

    def _drop(self, slot: int) -> None:
        connection = self._sockets[slot]
        if connection is not None:
            connection.close()
            self._sockets[slot] = None
            self._unopened.discard(slot)
