"""A WebSocket client that sees and decides about every byte."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable
from types import TracebackType
from typing import Any

from .client import Connection, Response, message

TEXT, BINARY, CLOSE, PING, PONG = 0x81, 0x82, 0x88, 0x89, 0x8A
COMPRESSED = 0x40
_MASK = b"\x37\xfa\x21\x3d"


def handshake(target: str = "/", headers: Iterable[tuple[str, str]] = (), **how: Any) -> bytes:
    """A request for a WebSocket."""
    fields = [
        ("Connection", "Upgrade"),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ]
    return message(target, headers=[*fields, *headers], **how)


def frame(first: int, payload: bytes = b"") -> bytes:
    """A masked frame."""
    size = len(payload)
    if size < 126:
        head = struct.pack("!BB", first, 0x80 | size)
    elif size < 1 << 16:
        head = struct.pack("!BBH", first, 0xFE, size)
    else:
        head = struct.pack("!BBQ", first, 0xFF, size)
    mask = int.from_bytes(_MASK * (size // 4 + 1), "big") >> 8 * (4 - size % 4)
    masked = int.from_bytes(payload, "big") ^ mask
    return head + _MASK + masked.to_bytes(size, "big")


def close_payload(code: int, reason: str = "") -> bytes:
    """What is in a close frame."""
    return struct.pack("!H", code) + reason.encode()


class WebSocket:
    """One WebSocket."""

    def __init__(self, connection: Connection, target: str, **how: Any):
        self.connection = connection
        self.response: Response = connection.send(handshake(target, **how)).receive()
        assert self.response.status == 101, self.response

    def __enter__(self) -> WebSocket:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self.connection.close()

    def send(self, what: str | bytes) -> WebSocket:
        """Sends a message."""
        if isinstance(what, str):
            self.connection.send(frame(TEXT, what.encode()))
        else:
            self.connection.send(frame(BINARY, what))
        return self

    def frame(self) -> tuple[int, bytes]:
        """The next frame: its first byte and its content."""
        first, size = self.connection.take(2)
        if size == 126:
            [size] = struct.unpack("!H", self.connection.take(2))
        elif size == 127:
            [size] = struct.unpack("!Q", self.connection.take(8))
        return first, self.connection.take(size)

    def receive(self) -> str | bytes:
        """The next message."""
        first, content = self.frame()
        assert first in (TEXT, BINARY), (first, content)
        return content.decode() if first == TEXT else content

    def json(self) -> Any:
        """The next message, which is JSON."""
        return json.loads(self.receive())

    def end(self) -> tuple[int, str]:
        """The close frame, which must be next: code and reason. It is answered."""
        first, content = self.frame()
        assert first == CLOSE, (first, content)
        self.connection.send_pieces([frame(CLOSE, content[:2])])
        [code] = struct.unpack("!H", content[:2])
        return code, content[2:].decode()

    def close(self, code: int = 1000, reason: str = "") -> bytes:
        """Closes it; all that came before the connection ended."""
        self.connection.send(frame(CLOSE, close_payload(code, reason)))
        return self.connection.rest()
