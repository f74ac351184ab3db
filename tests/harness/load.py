"""Clients that keep asking on keep-alive connections and never try again: whatever goes wrong is
counted, and nothing is forgiven but a close that the response before it had announced.
"""

from __future__ import annotations

import threading
import time
from collections import Counter

from .client import Connection
from .server import Server
from .wait import until

_PAUSE = 0.01


class Load:
    """Clients under way, from `with` to the end of its block; then none may have failed."""

    def __init__(self, server: Server, clients: int = 4, target: str = "/") -> None:
        self._server = server
        self._target = target
        self._over = threading.Event()
        self.answers: Counter[str] = Counter()
        """How often each body came."""
        self.failures: list[str] = []
        self.slowest = 0.0
        """Seconds."""
        self._threads = [threading.Thread(target=self._ask) for _ in range(clients)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()
        if kind is None:
            assert not self.failures, self.failures[:5]
            assert self.answers, "nothing was asked"

    def wait_for(self, body: str, more: int = 1) -> None:
        """Waits until `more` further answers have this body."""
        wanted = self.answers[body] + more
        until(lambda: self.answers[body] >= wanted or self.failures, f"{more} × {body!r}")

    def _ask(self) -> None:
        connection: Connection | None = None
        while not self._over.wait(_PAUSE):
            asked = time.monotonic()
            try:
                connection = connection or self._server.connect()
                response = connection.request(self._target)
            except Exception as error:
                self.failures.append(repr(error))
                return
            if response.status != 200:
                self.failures.append(f"{response.status} {response.text}")
                return
            self.answers[response.text] += 1
            self.slowest = max(self.slowest, time.monotonic() - asked)
            if response.header("Connection") == "close":
                connection.close()
                connection = None
        if connection:
            connection.close()
