"""HTTP/1.1 as a client needs it here: requests to bytes, bytes to responses, answers checked.

Not a general client: it reads what servers under test send and refuses the rest. Framing is read
strictly, because a wrong answer must not be measured.
"""

from __future__ import annotations

import socket
import time
from dataclasses import dataclass

TIMEOUT_SECONDS = 10.0


class WrongAnswer(Exception):
    """The server's answer is not the one the application gave."""


@dataclass(frozen=True)
class Request:
    """A request to send over and over."""

    method: str = "GET"
    path: str = "/"
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""

    def encode(self) -> bytes:
        """The request as bytes, with Host and, for a body, Content-Length."""
        lines = [f"{self.method} {self.path} HTTP/1.1", "Host: localhost"]
        lines += [f"{name}: {value}" for name, value in self.headers]
        if self.body:
            lines.append(f"Content-Length: {len(self.body)}")
        return "\r\n".join([*lines, "", ""]).encode() + self.body


@dataclass(frozen=True)
class Answer:
    """What must come back."""

    body: bytes
    content_type: str = "text/plain"
    status: int = 200


class ResponseReader:
    """Takes the bytes of one response as they come and says when it is complete (RFC 9112 §6.3)."""

    def __init__(self) -> None:
        """Wait for a status line."""
        self.status = 0
        self.headers: dict[str, str] = {}
        self.body = b""
        self.until_close = False
        self._raw = bytearray()
        self._head_length = 0

    def feed(self, data: bytes) -> bool:
        """Take more bytes; True once the response is complete."""
        self._raw += data
        if not self._head_length and not self._read_head():
            return False
        return self._read_body()

    def end(self) -> bool:
        """The server closed the connection; True if that completes the response."""
        if self._head_length and self.until_close:
            self.body = bytes(self._raw[self._head_length :])
            return True
        return False

    def body_bytes_so_far(self) -> int:
        """Bytes received after the head, framing included."""
        return len(self._raw) - self._head_length if self._head_length else 0

    def _read_head(self) -> bool:
        end = self._raw.find(b"\r\n\r\n")
        if end < 0:
            return False
        lines = self._raw[:end].decode("latin-1").split("\r\n")
        self.status = int(lines[0].split(" ", 2)[1])
        for line in lines[1:]:
            name, _, value = line.partition(":")
            self.headers[name.lower()] = value.strip()
        self._head_length = end + 4
        return True

    def _read_body(self) -> bool:
        if self.headers.get("transfer-encoding", "").lower() == "chunked":
            return self._read_chunks()
        if "content-length" in self.headers:
            length = int(self.headers["content-length"])
            return self._finish_at(self._head_length + length)
        self.until_close = True
        return False

    def _finish_at(self, end: int) -> bool:
        if len(self._raw) < end:
            return False
        self.body = bytes(self._raw[self._head_length : end])
        self._refuse_surplus(end)
        return True

    def _read_chunks(self) -> bool:
        if not self._raw.endswith(b"0\r\n\r\n"):
            return False
        body = bytearray()
        at = self._head_length
        while True:
            line_end = self._raw.find(b"\r\n", at)
            if line_end < 0:
                return False
            size = int(self._raw[at:line_end].split(b";")[0], 16)
            at = line_end + 2
            if len(self._raw) < at + size + 2:
                return False
            body += self._raw[at : at + size]
            at += size + 2
            if size == 0:
                break
        self.body = bytes(body)
        self._refuse_surplus(at)
        return True

    def _refuse_surplus(self, end: int) -> None:
        if len(self._raw) > end:
            raise WrongAnswer(f"{len(self._raw) - end} bytes after the end of the response")


class Wire:
    """One blocking connection, for checks outside the measured time."""

    def __init__(self, port: int) -> None:
        """Connect, with TIMEOUT_SECONDS for everything that follows."""
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_SECONDS)

    def ask(self, request: bytes) -> ResponseReader:
        """Send a request and read its response. Raises WrongAnswer if none comes."""
        reader = ResponseReader()
        try:
            self.socket.sendall(request)
            while True:
                data = self.socket.recv(65536)
                if reader.feed(data) if data else reader.end():
                    return reader
                if not data:
                    raise WrongAnswer("the connection closed before the response was complete")
        except (OSError, ValueError, IndexError) as error:
            raise WrongAnswer(f"no proper response: {error!r}") from error

    def close(self) -> None:
        """Close the connection."""
        self.socket.close()


def check_answer(response: ResponseReader, expected: Answer) -> None:
    """Compare a response with what the application said. Raises WrongAnswer."""
    if response.status != expected.status:
        raise WrongAnswer(f"status {response.status} instead of {expected.status}")
    content_type = response.headers.get("content-type")
    if content_type != expected.content_type:
        raise WrongAnswer(f"content type {content_type!r} instead of {expected.content_type!r}")
    if response.body != expected.body:
        raise WrongAnswer(
            f"a body of {len(response.body)} bytes {response.body[:20]!r} instead of "
            f"{len(expected.body)} bytes {expected.body[:20]!r}"
        )


def check_server(port: int, request: Request, expected: Answer) -> list[str]:
    """Ask twice on one connection and return remarks about the answers.

    Raises WrongAnswer. A server that closes after its first answer is asked again on a second
    connection: it is slower for that, not wrong.
    """
    remarks = []
    wire = Wire(port)
    try:
        first = wire.ask(request.encode())
        check_answer(first, expected)
        if "date" not in first.headers:
            remarks.append("no Date header")
        try:
            second = wire.ask(request.encode())
        except WrongAnswer:
            remarks.append("closes after each response")
            wire.close()
            wire = Wire(port)
            second = wire.ask(request.encode())
        check_answer(second, expected)
    finally:
        wire.close()
    return remarks


def check_closes(port: int, request: Request, expected: Answer) -> list[str]:
    """Check an answer to `Connection: close`, and that the server then closes."""
    wire = Wire(port)
    try:
        check_answer(wire.ask(request.encode()), expected)
        if wire.socket.recv(1):
            raise WrongAnswer("bytes after the response to Connection: close")
    except TimeoutError as error:
        raise WrongAnswer("the connection stays open after Connection: close") from error
    finally:
        wire.close()
    return []


def closes(port: int) -> bool:
    """Whether the server calls the response's `close()` (PEP 3333).

    The application's answer to `/probe` notes that it is closed, and `/closed` tells how many were.
    """
    _ask_once(port, "/probe")
    return _ask_once(port, "/closed").body != b"0"


def _ask_once(port: int, path: str) -> ResponseReader:
    wire = Wire(port)
    try:
        return wire.ask(Request(path=path).encode())
    finally:
        wire.close()


def streams(port: int, path: str, pause: float, blocks: int, block_size: int) -> bool:
    """Whether the server sends a response block by block.

    The application behind `path` waits `pause` seconds before each block but the first. A server
    streams if each block arrives well before the application makes the next one.
    """
    wire = Wire(port)
    reader = ResponseReader()
    arrivals: list[float] = []
    try:
        wire.socket.sendall(Request(path=path).encode())
        complete = False
        while not complete:
            data = wire.socket.recv(65536)
            complete = reader.feed(data) if data else reader.end()
            while len(arrivals) < min(blocks, reader.body_bytes_so_far() // block_size):
                arrivals.append(time.monotonic())
            if not data and not complete:
                raise WrongAnswer("the streamed response ended early")
    except OSError as error:
        raise WrongAnswer(f"the streamed response failed: {error!r}") from error
    finally:
        wire.close()
    lateness = [(arrivals[-1] - at) - pause * (blocks - 1 - n) for n, at in enumerate(arrivals)]
    return min(lateness) > -pause / 2
