"""The same scenario with gunicorn and with Oxicorn."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .server import Server

PROGRAMS = ["oxicorn", "gunicorn"]


def gunicorn(folder: Path, app: str, *options: str) -> Iterator[Server]:
    """For a fixture: gunicorn's own worker, beside ours, on a port; it must end cleanly."""
    server = Server(folder, app, [*options, "--no-control-socket"])
    server.command[2] = "gunicorn"
    try:
        yield server.launch().wait_accepting()
        server.stop()
    finally:
        server.destroy()


@contextmanager
def running(program: str, folder: Path, app: str, *options: str, **how: Any) -> Iterator[Server]:
    """A server of that program, on a Unix socket in `folder`, until it was stopped."""
    how = {"bind": f"unix:{folder}/socket", **how}
    server = Server(folder / program, app, options, **how)
    server.command[2] = program
    try:
        server.launch().wait_accepting()
        yield server
        server.signal(signal.SIGTERM)
        server.wait()
    finally:
        server.destroy()
