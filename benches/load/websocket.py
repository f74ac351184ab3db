"""A client for WebSocket: on each connection one message at a time, sent again when it is back.

Knows of RFC 6455 what that takes: the handshake, and small text frames. All messages are the same,
so a frame is bytes to send and bytes to expect. It polls, as the paced client does, and needs a
processor of its own.
"""

from __future__ import annotations

import base64
import hashlib
import select
import socket
import time

from wire import TIMEOUT_SECONDS, WrongAnswer

KEY = base64.b64encode(b"0123456789abcdef")
ACCEPT = base64.b64encode(hashlib.sha1(KEY + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
"""RFC 6455 §4.2.2."""
HANDSHAKE = (
    b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: " + KEY + b"\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
TEXT = b"0123456789abcdef" * 2
MASK = b"mask"
MASKED = bytes(byte ^ MASK[index % 4] for index, byte in enumerate(TEXT))
SENT = bytes([0x81, 0x80 | len(TEXT)]) + MASK + MASKED
EXPECTED = bytes([0x81, len(TEXT)]) + TEXT


class EchoClient:
    """Open WebSockets that keep sending."""

    def __init__(self, port: int, connections: int) -> None:
        """Open them one after the other. Raises WrongAnswer."""
        self._sockets: dict[int, socket.socket] = {}
        self._poll = select.epoll()
        try:
            for _ in range(connections):
                opened = _open(port)
                self._sockets[opened.fileno()] = opened
                self._poll.register(opened.fileno(), select.EPOLLIN)
        except BaseException:
            self.close()
            raise

    def run(self, seconds: float) -> list[float]:
        """Send for `seconds`; the time that each message took, in ms. Raises WrongAnswer."""
        latencies: list[float] = []
        end = time.perf_counter() + seconds
        sent = {}
        for fd, connection in self._sockets.items():
            sent[fd] = time.perf_counter()
            connection.sendall(SENT)
        deadline = end + TIMEOUT_SECONDS
        while sent:
            now = time.perf_counter()
            if now > deadline:
                raise WrongAnswer(f"{len(sent)} messages did not come back")
            for fd, _event in self._poll.poll(0):
                self._expect(fd)
                back = time.perf_counter()
                latencies.append((back - sent.pop(fd)) * 1e3)
                if back < end:
                    sent[fd] = back
                    self._sockets[fd].sendall(SENT)
        return latencies

    def _expect(self, fd: int) -> None:
        found = _exactly(self._sockets[fd], len(EXPECTED))
        if found != EXPECTED:
            raise WrongAnswer(f"a frame {found[:20]!r} instead of {EXPECTED[:20]!r}")

    def close(self) -> None:
        """Close every connection, without the farewell of the protocol."""
        self._poll.close()
        for connection in self._sockets.values():
            connection.close()


def _open(port: int) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_SECONDS)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        connection.sendall(HANDSHAKE)
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += _exactly(connection, 1)
        status = head.split(b" ", 2)[1].decode("latin-1")
        if status != "101":
            raise WrongAnswer(f"no WebSocket: status {status} instead of 101")
        if ACCEPT not in head:
            raise WrongAnswer("no WebSocket: Sec-WebSocket-Accept is wrong or missing")
    except BaseException:
        connection.close()
        raise
    return connection


def _exactly(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        try:
            piece = connection.recv(size - len(data))
        except OSError as error:
            raise WrongAnswer(f"no message: {error!r}") from error
        if not piece:
            raise WrongAnswer("the connection closed")
        data += piece
    return data
