"""A raw HTTP/1 client: it sends exactly the bytes it is given and reads one response at a time.

It is strict where a browser is lenient, and it tells how a response ended, so that a truncated or
badly framed one is never taken for a good one. It knows no redirects, cookies or retries.
"""

from __future__ import annotations

import json
import select
import socket
import ssl
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from .wait import PATIENCE

Address = tuple[str, int] | str
"""Host and port, or the path of a unix socket."""


@dataclass
class Response:
    """One response, as it came over the wire."""

    version: str
    status: int
    reason: str
    headers: list[tuple[str, str]]
    body: bytes = b""
    chunks: list[bytes] = field(default_factory=list)
    complete: bool = True
    """False if the connection ended before the framing said that the body was over."""
    interim: list[int] = field(default_factory=list)
    """Status codes of the 1xx responses before this one."""

    def all(self, name: str) -> list[str]:
        """Every value of the header `name`."""
        return [value for key, value in self.headers if key.lower() == name.lower()]

    def header(self, name: str) -> str | None:
        """The only value of the header `name`; a repeated one is an error."""
        values = self.all(name)
        assert len(values) <= 1, f"{name} is repeated: {values}"
        return values[0] if values else None

    @property
    def text(self) -> str:
        """The body as UTF-8."""
        return self.body.decode()

    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


class Ended(Exception):
    """The server closed the connection where a response, or more of one, was due."""


class Connection:
    """One connection to the server."""

    def __init__(
        self,
        address: Address,
        timeout: float = PATIENCE,
        receive_buffer: int = 0,
        tls: ssl.SSLContext | None = None,
        session: ssl.SSLSession | None = None,
    ):
        family = socket.AF_UNIX if isinstance(address, str) else _family(address[0])
        self.socket = socket.socket(family, socket.SOCK_STREAM)
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(timeout)
        self.socket.connect(address)
        if family != socket.AF_UNIX:
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls is not None:
            self.socket = tls.wrap_socket(self.socket, server_hostname="localhost", session=session)
        self._buffer = bytearray()
        self.versions: tuple[str, ...] = ("HTTP/1.1", "HTTP/1.0")
        """What a response may say that it is."""

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def tls(self) -> ssl.SSLSocket:
        """The socket of an encrypted connection."""
        assert isinstance(self.socket, ssl.SSLSocket)
        return self.socket

    def close(self) -> None:
        """Closes the socket; the server sees the end."""
        self.socket.close()

    def abort(self) -> None:
        """Closes with a reset instead of an orderly end."""
        self.socket.setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, (1).to_bytes(4, "little") + bytes(4)
        )
        self.socket.close()

    def finish_sending(self) -> None:
        """Ends our direction only."""
        self.socket.shutdown(socket.SHUT_WR)

    def send(self, data: bytes) -> Connection:
        """Sends the bytes as they are."""
        self.socket.sendall(data)
        return self

    def send_pieces(self, pieces: Iterable[bytes]) -> Connection:
        """Sends each piece in a packet of its own; stops quietly if the server has closed."""
        try:
            for piece in pieces:
                self.socket.sendall(piece)
        except (BrokenPipeError, ConnectionResetError):
            pass
        return self

    def request(self, target: str = "/", method: str = "GET", **how: Any) -> Response:
        """Sends a well-formed request (see `head`) and reads its response."""
        self.send(message(target, method, **how))
        return self.receive(method)

    def receive(self, method: str = "GET") -> Response:
        """Reads the next response; 1xx ones are collected into it. `Ended` if there is none."""
        interim = []
        while True:
            response = self._head()
            if response.status >= 200 or response.status == 101:
                break
            interim.append(response.status)
        response.interim = interim
        self._body(response, method)
        return response

    def receive_interim(self) -> int:
        """Reads the head of one 1xx response and returns its status."""
        return self._head().status

    def readable(self, seconds: float) -> bool:
        """Whether bytes (or the end) arrive within `seconds`."""
        return bool(self._buffer) or bool(select.select([self.socket], [], [], seconds)[0])

    def rest(self) -> bytes:
        """Every byte until the server closes; a reset counts as closing."""
        while self._fill():
            pass
        rest, self._buffer = bytes(self._buffer), bytearray()
        return rest

    def is_closed(self) -> bool:
        """Waits for the server to close and checks that it sends nothing before that."""
        rest = self.rest()
        assert rest == b"", f"bytes before the end: {rest[:200]!r}"
        return True

    def read_some(self, size: int) -> bytes:
        """At least one byte, at most `size`; empty at the end."""
        if not self._buffer and not self._fill():
            return b""
        some = bytes(self._buffer[:size])
        del self._buffer[:size]
        return some

    def rest_of_chunks(self) -> bytes:
        """The raw bytes up to the end of the last chunk."""
        while not self._buffer.endswith(b"\r\n0\r\n\r\n") and self._fill():
            pass
        rest, self._buffer = bytes(self._buffer), bytearray()
        return rest

    def _fill(self) -> bool:
        try:
            data = self.socket.recv(65536)
        except (ConnectionResetError, BrokenPipeError):
            return False
        self._buffer += data
        return bool(data)

    def _line(self) -> bytes:
        while (end := self._buffer.find(b"\r\n")) < 0:
            if not self._fill():
                raise Ended(f"after {bytes(self._buffer)!r}")
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 2]
        return line

    def take(self, size: int) -> bytes:
        """So many bytes; fewer only if the server closes before."""
        while len(self._buffer) < size and self._fill():
            pass
        data = bytes(self._buffer[:size])
        del self._buffer[:size]
        return data

    def _head(self) -> Response:
        version, status, reason = (self._line().decode("latin-1") + " ").split(" ", 2)
        assert version in self.versions, version
        headers = []
        while line := self._line():
            name, colon, value = line.decode("latin-1").partition(":")
            assert colon and name and name == name.strip(), line
            headers.append((name, value.strip(" \t")))
        return Response(version, int(status), reason[:-1], headers)

    def _body(self, response: Response, method: str) -> None:
        if method == "HEAD" or response.status in (101, 204, 304):
            return
        length = response.header("Content-Length")
        coding = response.header("Transfer-Encoding")
        assert length is None or coding is None, response.headers
        if coding is not None:
            assert coding == "chunked", coding
            response.complete = self._chunked(response)
        elif length is not None:
            response.body = self.take(int(length))
            response.complete = len(response.body) == int(length)
        else:
            response.body = self.rest()

    def _chunked(self, response: Response) -> bool:
        try:
            while size := int(self._line(), 16):
                chunk = self.take(size)
                response.chunks.append(chunk)
                response.body += chunk
                if len(chunk) < size or self._line() != b"":
                    return False
            return self._line() == b""
        except Ended:
            return False


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def message(
    target: str = "/",
    method: str = "GET",
    headers: Iterable[tuple[str, str]] = (),
    body: bytes | None = None,
    version: str = "HTTP/1.1",
    host: str | None = "test.example",
) -> bytes:
    """A well-formed request; `Content-Length` is added if there is a body."""
    lines = [f"{method} {target} {version}"]
    if host is not None:
        lines.append(f"Host: {host}")
    if body is not None:
        lines.append(f"Content-Length: {len(body)}")
    lines += [f"{name}: {value}" for name, value in headers]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + (body or b"")


def chunked(parts: Iterable[bytes]) -> bytes:
    """A chunked body with its last chunk."""
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


def bytewise(data: bytes) -> Iterator[bytes]:
    """The data in pieces of one byte."""
    return (data[i : i + 1] for i in range(len(data)))


def elapsed(since: float) -> float:
    """Seconds of monotonic time since `since`."""
    return time.monotonic() - since
