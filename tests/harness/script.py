"""A server that a script of the test starts, by `oxicorn.run`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from .server import Server

WSGI = """
import os
IMPORTED_BY = os.getpid()

def app(environ, start_response):
    start_response("200 OK", [])
    return [f"{os.getpid()} {os.getppid()} {IMPORTED_BY}".encode()]
"""

ASGI = """
import os
IMPORTED_BY = os.getpid()

async def app(scope, receive, send):
    assert scope["type"] == "http"
    await send({"type": "http.response.start", "status": 200, "headers": []})
    body = f"{os.getpid()} {os.getppid()} {IMPORTED_BY}".encode()
    await send({"type": "http.response.body", "body": body})
"""


class Scripts:
    """Scripts in one folder, and the servers that they are."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._made: list[Server] = []

    def write(self, name: str, text: str) -> None:
        (self.folder / name).write_text(text)

    def launch(self, text: str, *arguments: str, **how: Any) -> Server:
        """Runs `main.py`, which need not come up as a server."""
        self.write("main.py", text)
        server = Server(self.folder / f"server-{len(self._made)}", "", bind=None, **how)
        server.command = [sys.executable, "main.py", *arguments]
        server.cwd = self.folder
        self._made.append(server)
        return server.launch()

    def start(self, text: str, workers: int = 1, **how: Any) -> Server:
        """Runs `main.py`, and waits until it listens and has workers, which may still load."""
        server = self.launch(text, **how)
        server.wait_for_log(r"Listening at: ")
        server.wait_for_workers(workers)
        return server.wait_accepting()

    def destroy(self) -> None:
        """Ends whatever is left."""
        for server in self._made:
            server.destroy()
