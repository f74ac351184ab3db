"""Clients that keep their connection and never try again, so that nothing a restart does to them
goes unnoticed. Standard library only; all of them live in one event loop.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

HOST = "127.0.0.1"
POST_EVERY = 4
"""One request in so many is an order (POST), which must be executed exactly once."""
ANSWER_SECONDS = 10.0
"""A response that takes longer has failed."""


@dataclass
class Tally:
    """What happened to all clients together."""

    opened: int = 0
    """Connections made."""
    closed: int = 0
    """Connections that the server ended or announced to end."""
    answered: int = 0
    failures: list[str] = field(default_factory=list)
    orders: list[str] = field(default_factory=list)
    """Orders that were answered."""
    bodies: Counter[str] = field(default_factory=Counter)
    """Answers to GET."""
    steady: list[float] = field(default_factory=list)
    """Seconds to each answer while nothing happened."""
    restarting: list[float] = field(default_factory=list)
    """Seconds to each answer while a restart was under way."""


def percentile(seconds: list[float], share: float) -> float:
    """The value that so large a share of them do not exceed, in milliseconds."""
    ordered = sorted(seconds)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] * 1000 if ordered else 0.0


async def answers(port: int) -> str:
    """Asks once. The socket listens before the workers have booted, so this waits for the first."""
    reader, writer = await asyncio.open_connection(HOST, port)
    writer.write(_request(""))
    body, _ = await _response(reader)
    writer.close()
    return body


class Fleet:
    """Clients under way, from `async with` to the end of its block."""

    def __init__(self, port: int, clients: int = 60, rate: float = 12.0) -> None:
        """Plan `clients` connections to `port` with `rate` requests a second on each."""
        self.tally = Tally()
        self.is_restarting = False
        """Set it around a restart: it sorts the latencies."""
        self._port = port
        self._clients = clients
        self._pause = 1 / rate
        self._over = False
        self._begun = asyncio.Event()
        """Each client has its connection, or one has failed."""
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Fleet:
        """Open all connections."""
        self._tasks = [asyncio.create_task(self._client(n)) for n in range(self._clients)]
        await self._begun.wait()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Let each client finish the request it is at."""
        self._over = True
        await asyncio.gather(*self._tasks)

    async def _client(self, number: int) -> None:
        """The life of one client; after a failure it begins anew, and the failure stays counted."""
        await asyncio.sleep(random.random() * self._pause)
        while not self._over:
            try:
                await self._connection(number)
            except (OSError, EOFError, ValueError, asyncio.TimeoutError) as error:
                self.tally.failures.append(f"client {number}: {error!r}")
                self._begun.set()
                await asyncio.sleep(self._pause)

    async def _connection(self, number: int) -> None:
        """Ask on one connection until it ends."""
        reader, writer = await asyncio.open_connection(HOST, self._port)
        self.tally.opened += 1
        if self.tally.opened >= self._clients:
            self._begun.set()
        try:
            due = time.perf_counter()
            asked = 0
            while not self._over:
                if await self._ask(reader, writer, number, asked) == "close":
                    self.tally.closed += 1
                    return
                asked += 1
                due = max(due + self._pause, time.perf_counter() - self._pause)
                await asyncio.sleep(max(0.0, due - time.perf_counter()))
        except (OSError, EOFError):
            self.tally.closed += 1
            raise
        finally:
            writer.close()

    async def _ask(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        number: int,
        asked: int,
    ) -> str:
        """One request and its answer; what the answer says about the connection."""
        order = f"{number}-{self.tally.opened}-{asked}" if asked % POST_EVERY == 0 else ""
        restarting = self.is_restarting
        start = time.perf_counter()
        writer.write(_request(order))
        body, connection = await asyncio.wait_for(_response(reader), ANSWER_SECONDS)
        seconds = time.perf_counter() - start
        late = restarting or self.is_restarting
        (self.tally.restarting if late else self.tally.steady).append(seconds)
        self.tally.answered += 1
        if order:
            if body != f"done {order}":
                raise ValueError(f"another answer to order {order}: {body}")
            self.tally.orders.append(order)
        else:
            self.tally.bodies[body] += 1
        return connection


def _request(order: str) -> bytes:
    method = "POST" if order else "GET"
    return (
        f"{method} / HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(order)}\r\n\r\n{order}"
    ).encode()


async def _response(reader: asyncio.StreamReader) -> tuple[str, str]:
    """Body and Connection field of a response with status 200."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    if not head[0].startswith("HTTP/1.1 200 "):
        raise ValueError(f"answered {head[0]}")
    pairs = (line.partition(":") for line in head[1:] if line)
    fields = {name.lower(): value.strip() for name, _, value in pairs}
    body = await reader.readexactly(int(fields["content-length"]))
    return body.decode(), fields.get("connection", "")


class Relay:
    """Delays every byte, and every end, by the same time in each direction: a distant network."""

    def __init__(self, port: int, seconds: float) -> None:
        """Plan a relay to `port` with a delay of `seconds` each way."""
        self._target = port
        self._seconds = seconds
        self._server: asyncio.Server | None = None
        self._pairs: set[asyncio.Task[None]] = set()
        self.port = 0

    async def __aenter__(self) -> Relay:
        """Listen on a free port."""
        self._server = await asyncio.start_server(self._relay, HOST, 0, backlog=1024)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close every connection."""
        if self._server:
            self._server.close()
        for pair in self._pairs:
            pair.cancel()
        await asyncio.gather(*self._pairs, return_exceptions=True)

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._pairs.add(task)
        try:
            there = await asyncio.open_connection(HOST, self._target)
        except OSError:
            writer.transport.abort()
            return
        try:
            await asyncio.gather(self._pipe(reader, there[1]), self._pipe(there[0], writer))
        except asyncio.CancelledError:
            # The relay closes; the streams' own callback takes this for an error.
            return
        finally:
            writer.close()
            there[1].close()
            self._pairs.discard(task)

    async def _pipe(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Passes on what comes, later; also how it ends."""
        loop = asyncio.get_running_loop()

        def later(act: Callable[..., None], *arguments: object) -> None:
            loop.call_later(self._seconds, act, *arguments)

        ended = asyncio.Event()
        while not writer.transport.is_closing():
            try:
                data = await reader.read(65536)
            except OSError:
                later(writer.transport.abort)
                break
            if not data:
                later(_end, writer)
                break
            later(writer.write, data)
        later(ended.set)
        await ended.wait()


def _end(writer: asyncio.StreamWriter) -> None:
    if not writer.transport.is_closing() and writer.can_write_eof():
        writer.write_eof()
