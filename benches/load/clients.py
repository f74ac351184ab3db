"""Own clients, for what wrk cannot do: an open loop at a fixed pace, and idle connections held.

The paced client sends at fixed times whatever the server does, and counts latency from the moment
a request was *due*, so a server that stalls is charged for everybody who would have waited. It
spins instead of sleeping: a wake-up would cost more than the latencies it measures. It needs a
processor of its own.
"""

from __future__ import annotations

import errno
import select
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from wire import Answer, Request, ResponseReader, Wire, WrongAnswer, check_answer

DRAIN_SECONDS = 5.0
CONNECTIONS_MAX = 1000


@dataclass(frozen=True)
class Kind:
    """One kind of request in the paced mix."""

    request: Request
    expected: Answer
    every: int
    """Every n-th request is of this kind; the first kind that matches is taken."""
    counted: bool


@dataclass
class Paced:
    """What a paced run has seen, of the counted kinds only."""

    latencies_ms: list[float] = field(default_factory=list)
    unanswered: int = 0
    lag_ms: list[float] = field(default_factory=list)
    """How late the client itself was with each request: large values void the run."""

    def percentile(self, share: float) -> float:
        """The latency in ms that `share` of the requests did not exceed."""
        return percentile(self.latencies_ms, share)


def percentile(values: Sequence[float], share: float) -> float:
    """The value that `share` (0 to 1) of the values do not exceed; 0 for none."""
    if not values:
        return 0.0
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


@dataclass
class _Turn:
    """One request on its way."""

    kind: Kind
    due: float
    reader: ResponseReader = field(default_factory=ResponseReader)


class PacedClient:
    """Sends a mix of requests at a fixed rate over as many connections as that needs."""

    def __init__(self, port: int, rate: float, kinds: Sequence[Kind]) -> None:
        """Prepare to send `rate` requests a second."""
        self._address = ("127.0.0.1", port)
        self._interval = 1.0 / rate
        self._kinds = [(kind, kind.request.encode()) for kind in kinds]
        self._poll = select.epoll()
        self._sockets: dict[int, socket.socket] = {}
        self._idle: list[int] = []
        self._turns: dict[int, _Turn] = {}
        self._unsent: dict[int, bytes] = {}
        self._result = Paced()

    def run(self, seconds: float, aside: Callable[[], None] = lambda: None) -> Paced:
        """Send for `seconds`, then wait for what is still on its way.

        `aside` is called once per turn of the loop and must not block. Raises WrongAnswer.
        """
        self._result = Paced()
        start = time.perf_counter()
        total = int(seconds / self._interval)
        sent = 0
        while sent < total:
            due = start + sent * self._interval
            if time.perf_counter() >= due:
                self._send(sent, due)
                sent += 1
            self._receive()
            aside()
        deadline = time.perf_counter() + DRAIN_SECONDS
        while self._turns and time.perf_counter() < deadline:
            self._receive()
            aside()
        self._give_up()
        return self._result

    def close(self) -> None:
        """Close every connection."""
        for fd in list(self._sockets):
            self._forget(fd)
        self._poll.close()

    def _send(self, number: int, due: float) -> None:
        kind, data = next(pair for pair in self._kinds if number % pair[0].every == 0)
        self._result.lag_ms.append((time.perf_counter() - due) * 1e3)
        if not self._idle and len(self._sockets) >= CONNECTIONS_MAX:
            self._count_unanswered(kind, due)
            return
        if self._idle:
            fd = self._idle.pop()
            self._turns[fd] = _Turn(kind, due)
            self._write(fd, data)
        else:
            fd = self._connect()
            self._turns[fd] = _Turn(kind, due)
            self._unsent[fd] = data

    def _connect(self) -> int:
        connection = socket.socket()
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        code = connection.connect_ex(self._address)
        if code not in (0, errno.EINPROGRESS):
            raise WrongAnswer(f"cannot connect: {errno.errorcode.get(code, code)}")
        fd = connection.fileno()
        self._sockets[fd] = connection
        self._poll.register(fd, select.EPOLLOUT)
        return fd

    def _write(self, fd: int, data: bytes) -> None:
        """Send a request; these are far smaller than a socket buffer."""
        try:
            self._sockets[fd].sendall(data)
        except (ConnectionError, BlockingIOError):
            self._restart(fd)

    def _restart(self, fd: int) -> None:
        """The server closed an idle connection under a request: try it on a new one (RFC 9112)."""
        turn = self._turns.pop(fd)
        self._forget(fd)
        turn.reader = ResponseReader()
        fresh = self._connect()
        self._turns[fresh] = turn
        self._unsent[fresh] = turn.kind.request.encode()

    def _receive(self) -> None:
        for fd, _event in self._poll.poll(0):
            if fd in self._unsent:
                data = self._unsent.pop(fd)
                self._poll.modify(fd, select.EPOLLIN)
                self._write(fd, data)
            elif fd in self._sockets:
                self._readable(fd)

    def _readable(self, fd: int) -> None:
        try:
            data = self._sockets[fd].recv(65536)
        except BlockingIOError:
            return
        except ConnectionError:
            data = b""
        turn = self._turns.get(fd)
        if turn is None:
            self._idle_readable(fd, data)
            return
        complete = turn.reader.feed(data) if data else turn.reader.end()
        if complete:
            self._finish(fd, turn)
        if not data:
            self._closed(fd, complete)
        elif complete:
            self._idle.append(fd)

    def _idle_readable(self, fd: int, data: bytes) -> None:
        if data:
            raise WrongAnswer("bytes without a request")
        self._idle.remove(fd)
        self._forget(fd)

    def _closed(self, fd: int, complete: bool) -> None:
        if complete:
            self._forget(fd)
        elif self._turns[fd].reader.status:
            raise WrongAnswer("the connection closed inside a response")
        else:
            self._restart(fd)

    def _finish(self, fd: int, turn: _Turn) -> None:
        elapsed = (time.perf_counter() - turn.due) * 1e3
        del self._turns[fd]
        check_answer(turn.reader, turn.kind.expected)
        if turn.kind.counted:
            self._result.latencies_ms.append(elapsed)

    def _count_unanswered(self, kind: Kind, due: float) -> None:
        """An unanswered request counts with the time it has waited, a lower bound."""
        if kind.counted:
            self._result.unanswered += 1
            self._result.latencies_ms.append((time.perf_counter() - due) * 1e3)

    def _give_up(self) -> None:
        for fd, turn in list(self._turns.items()):
            self._count_unanswered(turn.kind, turn.due)
            self._forget(fd)

    def _forget(self, fd: int) -> None:
        self._turns.pop(fd, None)
        self._unsent.pop(fd, None)
        self._poll.unregister(fd)
        self._sockets.pop(fd).close()


class IdleConnections:
    """Connections that have asked once and stay open."""

    def __init__(self, port: int, count: int, request: Request, expected: Answer) -> None:
        """Open them one after the other. Raises WrongAnswer."""
        self._wires: list[Wire] = []
        data = request.encode()
        try:
            for _ in range(count):
                wire = Wire(port)
                self._wires.append(wire)
                check_answer(wire.ask(data), expected)
        except OSError as error:
            self.close()
            opened = len(self._wires)
            raise WrongAnswer(f"no connection after the first {opened}: {error!r}") from error
        except WrongAnswer as error:
            opened = len(self._wires) - 1
            self.close()
            raise WrongAnswer(f"no answer while {opened} connections are idle: {error}") from error

    def still_open(self) -> int:
        """How many the server has not closed: a closed one is readable, an idle one is not."""
        poll = select.poll()
        for wire in self._wires:
            poll.register(wire.socket, select.POLLIN)
        return len(self._wires) - len(poll.poll(0))

    def close(self) -> None:
        """Close them all."""
        for wire in self._wires:
            wire.close()
