"""A server whose application and configuration are files of the test, and `oxicornctl` for it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from . import processes
from .load import Load
from .server import Server
from .wait import PATIENCE, until

Start = Callable[..., Server]


class Deployment:
    """`text` is the application's module; `{version}` and `{before}` in it are filled in."""

    def __init__(self, folder: Path, runtime: Path, start: Start, text: str) -> None:
        self.folder = folder
        self.socket = runtime / "ctl"
        self._start = start
        self._text = text

    def write(self, version: str, before: str = "") -> None:
        """Deploys a version; `before` is executed when it is imported."""
        text = self._text.replace("{version}", version).replace("{before}", before)
        (self.folder / "site_app.py").write_text(text)

    def configure(self, text: str) -> None:
        """Writes the configuration file."""
        (self.folder / "gunicorn.conf.py").write_text(text)

    def launch(self, *options: str, **how: object) -> Server:
        """Starts the server, and does not wait until it serves."""
        if not (self.folder / "site_app.py").exists():
            self.write("one")
        place = ("--control-socket", str(self.socket))
        options = ("--observe-timeout", "0.5", "--log-level", "debug", *place, *options)
        return self._start("site_app:app", *options, cwd=self.folder, launch=True, **how)

    def start(self, *options: str, workers: int = 2, **how: object) -> Server:
        """Starts the server and waits until all its workers serve."""
        return self.launch("--workers", str(workers), *options, **how).wait_serving()

    def restart(self, *words: str) -> tuple[int, str]:
        """`oxicornctl restart --wait`: its exit code, and all that it printed."""
        return self.ctl("restart", "--wait", *words)

    def ctl(self, *words: str) -> tuple[int, str]:
        """`oxicornctl`: its exit code, and all that it printed."""
        where = ("--socket", str(self.socket), *words)
        done = subprocess.run(
            [sys.executable, "-m", "oxicorn.ctl", *where],
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            env=os.environ,
            check=False,
        )
        return done.returncode, done.stdout + done.stderr

    def fails_to_restart(self, server: Server, *words: str) -> str:
        """A restart fails with clients under way, none of whom notices, and nothing is left behind.

        What `oxicornctl` printed.
        """
        workers = server.workers()
        everybody = [server.pid, *workers]
        before = processes.descriptors(*everybody)
        with Load(server, clients=3) as load:
            load.wait_for("one", 20)
            code, printed = self.restart(*words)
            assert code != 0, printed
            until(lambda: server.workers() == workers, f"only {workers} are left")
            load.wait_for("one", 20)
            assert set(load.answers) == {"one"}
        assert sorted(server.family()) == sorted(everybody)
        processes.wait_for_no_more_than(before, lambda: everybody)
        return printed
