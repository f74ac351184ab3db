"""A service manager's end of `sd_notify(3)`: what a server tells it, in order."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

from .wait import PATIENCE

Message = dict[str, str]


class Manager:
    """Listens where `NOTIFY_SOCKET` says."""

    def __init__(self, folder: Path, abstract: bool = False):
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        name = f"@oxicorn-{id(self)}" if abstract else str(folder / "notify")
        self._socket.bind(f"\0{name[1:]}" if abstract else name)
        self.variables = {"NOTIFY_SOCKET": name}
        self.told: list[Message] = []
        """Every message so far."""
        self.store: dict[str, socket.socket] = {}
        """The sockets that were given to keep, by name."""

    def __enter__(self) -> Manager:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()
        for kept in self.store.values():
            kept.close()

    def next(self, seconds: float = PATIENCE) -> Message:
        """The next message: each line a variable."""
        self._socket.settimeout(seconds)
        data, descriptors, _, _ = socket.recv_fds(self._socket, 65536, 4)
        message = dict(line.split("=", 1) for line in data.decode().split("\n"))
        if "FDNAME" in message and descriptors:
            self.store[message["FDNAME"]] = socket.socket(fileno=descriptors[0])
        self.told.append(message)
        return message

    def wait_for(self, name: str) -> Message:
        """The next message that has this variable; those before it are passed over."""
        while name not in (message := self.next()):
            pass
        return message

    def rest(self) -> Iterator[Message]:
        """What was said and not yet read."""
        while True:
            try:
                yield self.next(0.001)
            except TimeoutError:
                return
