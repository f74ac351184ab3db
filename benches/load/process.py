"""A server as a running process: started pinned, awaited with a deadline, ended by its group.

Knows nothing of what the server is or what will be asked of it.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

from measure import session_pids

START_SECONDS = 15.0
STOP_SECONDS = 5.0
LOG_LINES = 15


class StartError(Exception):
    """A server did not come up; the text ends with its last log lines."""


def free_port() -> int:
    """A loopback port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Running:
    """A started server; a context manager that ends it."""

    def __init__(
        self, command: Sequence[str], port: int, cpu: int, cwd: Path, env: Mapping[str, str]
    ) -> None:
        """Start `command` pinned to processor `cpu`, its output going to a file."""
        self.port = port
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 (closed by `stop`)
        self._process = subprocess.Popen(
            ["taskset", "-c", str(cpu), *command],
            cwd=cwd,
            env={**os.environ, **env},
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    @property
    def session(self) -> int:
        """The session that holds every process of this server."""
        return self._process.pid

    def log_tail(self) -> str:
        """The last lines the server printed."""
        self._log.seek(0)
        lines = self._log.read().decode(errors="replace").splitlines()
        return "\n".join(lines[-LOG_LINES:])

    def wait_ready(self) -> None:
        """Return once a connection is accepted. Raises StartError after START_SECONDS."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                raise StartError(f"ended with {self._process.returncode}\n{self.log_tail()}")
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1.0).close()
                return
            except OSError:
                time.sleep(0.02)
        raise StartError(f"accepted no connection in {START_SECONDS:.0f} s\n{self.log_tail()}")

    def exit_status(self) -> int | None:
        """The exit status of a server that has ended by itself."""
        return self._process.poll()

    def _signal(self, number: signal.Signals) -> None:
        try:
            os.killpg(self.session, number)
        except ProcessLookupError:
            return

    def stop(self) -> None:
        """End every process of the server: asked first, forced after STOP_SECONDS."""
        self._signal(signal.SIGTERM)
        deadline = time.monotonic() + STOP_SECONDS
        while time.monotonic() < deadline and self._alive():
            time.sleep(0.02)
        while self._alive():
            self._signal(signal.SIGKILL)
            time.sleep(0.02)
        self._process.wait()
        self._log.close()

    def _alive(self) -> bool:
        self._process.poll()
        return bool(session_pids(self.session))

    def __enter__(self) -> Running:
        """Wait until it serves; end it if it does not."""
        try:
            self.wait_ready()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End it."""
        self.stop()
