"""Real server processes: start, watch, signal and end them.

A server runs in a session of its own, so that after its end the harness can prove that no process
is left. Its output goes to a file that is printed when a test fails. `OXICORN_TEST_SERVER` names
another module to run with the same command line (`gunicorn`), to try a test against it.
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import signal
import ssl
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from . import control, processes
from .client import Address, Connection, Response
from .wait import PATIENCE, until

TESTS = Path(__file__).resolve().parent.parent
PROGRAM = os.environ.get("OXICORN_TEST_SERVER", "oxicorn")
_ALWAYS = ["-k", "gthread"] if PROGRAM == "gunicorn" else []
"""gunicorn's default worker knows no keep-alive connections."""
RUNNING: list[Server] = []
"""Servers that live now; their logs are shown when a test fails."""


class Server:
    """One server: its arbiter process and everything below it."""

    def __init__(
        self,
        folder: Path,
        app: str = "apps.probe:application",
        options: Iterable[str] = (),
        bind: str | None = "127.0.0.1:0",
        env: dict[str, str] | None = None,
        cwd: Path = TESTS,
        tls: ssl.SSLContext | None = None,
        under: Iterable[str] = (),
    ):
        """`under`: a command that ends in executing the words behind it."""
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.path = folder / "server.log"
        self.bind = bind
        self.tls = tls
        """What clients speak TLS with, if they do."""
        self.shown = 0
        """How much of the log earlier tests have already produced."""
        where = ["--bind", bind] if bind else []
        words = [sys.executable, "-m", PROGRAM, *_ALWAYS, *where, *options, app]
        self.command = [*under, *words]
        # The path of a Unix socket is short, and that of a test's folder may be long.
        self.runtime = TemporaryDirectory(prefix="oxi-")
        runtime = {"XDG_RUNTIME_DIR": self.runtime.name}
        self.env = {**clean_environment(), **runtime, **(env or {})}
        self.cwd = cwd
        self.pass_fds: tuple[int, ...] = ()
        """Descriptors that the process inherits."""
        self._process: subprocess.Popen[bytes] | None = None
        self._port: int | None = None

    # life

    def launch(self) -> Server:
        """Starts the process and returns at once."""
        with self.path.open("ab") as log:
            self._process = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.cwd,
                env=self.env,
                start_new_session=True,
                pass_fds=self.pass_fds,
            )
        RUNNING.append(self)
        return self

    def start(self) -> Server:
        """Starts the server and waits until all its workers serve."""
        return self.launch().wait_serving()

    def wait_serving(self) -> Server:
        """Waits until as many workers serve as the server wants."""
        self.wait_for_log(r"Listening at: ")
        until(self._serves, "all workers serve")
        return self

    def wait_accepting(self) -> Server:
        """Waits until a connection can be made; maybe nobody serves it yet."""
        until(self._accepts, "the server accepts connections")
        return self

    def _serves(self) -> bool:
        self._still_runs("booting")
        # What is said before the first worker is forked has been said when there is one.
        place = self._control_socket()
        workers = [] if place else self.workers()
        place = place or (self._control_socket() if workers else None)
        if place is None:
            return bool(workers) and all(map(processes.has_epoll, workers)) and self._accepts()
        try:
            seen = control.status(place)
        except OSError:
            self._still_runs("answering")
            return False
        serving = [worker for worker in seen["workers"] if worker["state"] == "serving"]
        return bool(serving) and len(serving) >= int(seen["target"])

    def _control_socket(self) -> Path | None:
        place = re.search(r'Control socket listening at unix:([^\s"]+)', self.log)
        return Path(place[1]) if place else None

    def _accepts(self) -> bool:
        try:
            self.connect().close()
        except OSError:
            self._still_runs("connecting")
            return False
        return True

    def _still_runs(self, doing: str) -> None:
        code = self.process.poll()
        assert code is None, f"the server ended with {code} while {doing}:\n{self.log}"

    def stop(self) -> None:
        """Ends the server by TERM: exit code 0, and no process is left."""
        if self.process.poll() is None:
            self.signal(signal.SIGTERM)
        self.expect_exit(0)

    def expect_exit(self, code: int, seconds: float = PATIENCE) -> None:
        """Waits for the end; checks the exit code and that no process of it is left."""
        assert self.wait(seconds) == code, f"exit code {self.process.returncode}, not {code}"
        until(lambda: not processes.family(self.pid), "no process of the server is left")

    def wait(self, seconds: float = PATIENCE) -> int:
        """Waits for the arbiter's end and returns its exit code, negative for a signal."""
        descriptor = os.pidfd_open(self.pid)
        try:
            ended, _, _ = select.select([descriptor], [], [], seconds)
        finally:
            os.close(descriptor)
        assert ended, f"the server has not ended within {seconds:g} s"
        return self.process.wait()

    def destroy(self) -> None:
        """Ends whatever is left, by force. For clean-up only."""
        if self in RUNNING:
            RUNNING.remove(self)
        if self._process is not None and (self._process.poll() is None or self.family()):
            for pid in [*self.family(), self.pid]:
                _kill(pid)
            self._process.wait()
        self.runtime.cleanup()

    # facts

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The arbiter's process."""
        assert self._process is not None, "the server was not launched"
        return self._process

    @property
    def pid(self) -> int:
        """The arbiter's pid, and the id of its session and group."""
        return self.process.pid

    def family(self) -> list[int]:
        """All processes of the server's session."""
        return processes.family(self.pid)

    def workers(self) -> list[int]:
        """Pids of the living workers, oldest first."""
        children = processes.children(self.pid)
        return [pid for pid in children if not is_stem(processes.title(pid))]

    def stems(self) -> list[int]:
        """Pids of the processes that fork workers (`preload_app`), oldest first."""
        return [pid for pid in processes.children(self.pid) if is_stem(processes.title(pid))]

    @property
    def worker(self) -> int:
        """The pid of the only worker."""
        return self.wait_for_workers(1)[0]

    def wait_for_workers(self, count: int) -> list[int]:
        """Waits until exactly `count` workers live."""
        until(lambda: len(self.workers()) == count, f"{count} workers (now {self.workers()})")
        return self.workers()

    def wait_for_successor(self, worker: int) -> None:
        """Waits until that worker has left, and another one is there."""

        def replaced() -> bool:
            now = self.workers()
            return bool(now) and worker not in now

        until(replaced, f"another worker instead of {worker}")

    @property
    def port(self) -> int:
        """The port that was chosen, from the log."""
        if self._port is None:
            line = self.wait_for_log(r"Listening at: \S*:(\d+)")
            self._port = int(line.group(1))
        return self._port

    @property
    def address(self) -> Address:
        """Where to connect to."""
        if self.bind and self.bind.startswith("unix:"):
            return self.bind.removeprefix("unix:")
        return ("::1", self.port) if self.bind and "[" in self.bind else ("127.0.0.1", self.port)

    # the log

    @property
    def log(self) -> str:
        """Everything the server has printed, standard output included."""
        return self.path.read_text(errors="replace")

    def wait_for_log(self, pattern: str, count: int = 1, since: int = 0) -> re.Match[str]:
        """Waits for the `count`-th match of the regular expression, from offset `since` on."""

        def found() -> re.Match[str] | None:
            over = self.process.poll() is not None
            matches = list(re.finditer(pattern, self.log[since:]))
            if over and len(matches) < count:
                self._still_runs(f"waiting for {pattern!r}")
            return matches[count - 1] if len(matches) >= count else None

        result = until(found, f"{count} × {pattern!r} in the log")
        assert result is not None
        return result

    def mark(self) -> int:
        """The present length of the log, for `since`."""
        return len(self.log)

    # talking

    def signal(self, number: signal.Signals) -> None:
        """Sends a signal to the arbiter."""
        os.kill(self.pid, number)

    def connect(self, **how: Any) -> Connection:
        """A new connection."""
        return Connection(self.address, **{"tls": self.tls, **how})

    def refuses(self) -> bool:
        """Nobody listens."""
        try:
            self.connect().close()
        except OSError:
            return True
        return False

    def request(self, target: str = "/", method: str = "GET", **how: Any) -> Response:
        """One request on a connection of its own."""
        with self.connect() as connection:
            return connection.request(target, method, **how)

    def send(self, data: bytes, method: str = "GET") -> Response:
        """Sends raw bytes on a connection of their own and reads one response."""
        with self.connect() as connection:
            return connection.send(data).receive(method)


def is_stem(title: str) -> bool:
    """Whether a process calls itself one."""
    return title.startswith("oxicorn: stem")


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def clean_environment() -> dict[str, str]:
    """Our environment without anything that configures a server."""
    configures = ("GUNICORN_", "OXICORN_")
    names = ("PORT", "WEB_CONCURRENCY", "FORWARDED_ALLOW_IPS", "SENDFILE", "SCRIPT_NAME")
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(configures) and name not in names
    }
    always = {
        "PYTHONPATH": str(TESTS),
        "PYTHONUNBUFFERED": "1",
        # Two versions of a file that are made within a second and are of one size share their
        # bytecode: the second would not be seen.
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    return {**kept, **always}
