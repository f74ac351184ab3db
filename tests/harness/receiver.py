"""A socket for datagrams, and what came to it: a syslog daemon or a StatsD server of a test."""

from __future__ import annotations

import re
import socket
from pathlib import Path
from types import TracebackType

from .wait import until


class Receiver:
    """Listens on a port of its own, or at a path."""

    def __init__(self, path: Path | None = None):
        family = socket.AF_INET if path is None else socket.AF_UNIX
        self._socket = socket.socket(family, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0) if path is None else str(path))
        self._socket.setblocking(False)
        self._packets: list[str] = []

    @property
    def port(self) -> int:
        """Its port."""
        return int(self._socket.getsockname()[1])

    @property
    def packets(self) -> list[str]:
        """Everything that has come, in order."""
        while True:
            try:
                self._packets.append(self._socket.recv(1 << 20).decode())
            except BlockingIOError:
                return self._packets

    @property
    def lines(self) -> list[str]:
        """The same, where a datagram has several lines."""
        return [line for packet in self.packets for line in packet.split("\n")]

    def wait_for(self, pattern: str, count: int = 1) -> list[str]:
        """Waits until so many datagrams are this whole; those that are."""
        whole = re.compile(pattern, re.DOTALL)

        def found() -> list[str] | None:
            matching = [packet for packet in self.packets if whole.fullmatch(packet)]
            return matching if len(matching) >= count else None

        try:
            matching = until(found, f"{count} × {pattern!r}")
        except AssertionError as error:
            raise AssertionError(f"{error}; came: {self.packets}") from None
        assert matching
        return matching

    def wait_for_line(self, pattern: str) -> str:
        """Waits until a line is this whole; the first one."""

        def found() -> str | None:
            return next((line for line in self.lines if re.fullmatch(pattern, line)), None)

        try:
            line = until(found, repr(pattern))
        except AssertionError as error:
            raise AssertionError(f"{error}; came: {self.lines}") from None
        assert line is not None
        return line

    def close(self) -> None:
        """Nobody listens any more."""
        self._socket.close()

    def __enter__(self) -> Receiver:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
