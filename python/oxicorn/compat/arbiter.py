"""gunicorn's `arbiter`: what runs a `BaseApplication`.

The arbiter itself is native. What hooks see of it is `oxicorn.compat.server`.
"""

from __future__ import annotations

from typing import Any, NoReturn

from oxicorn import embedding
from oxicorn.compat.absent import missing
from oxicorn.compat.server import Server

__all__ = ["Arbiter"]


class Arbiter:
    """The server of an application, before it runs."""

    WORKER_BOOT_ERROR = Server.WORKER_BOOT_ERROR
    APP_LOAD_ERROR = Server.APP_LOAD_ERROR
    SIGNALS = Server.SIGNALS

    def __init__(self, app: embedding.Embedded) -> None:
        """`app` is usually a `BaseApplication`."""
        self.app = app
        self.cfg: Any = app.cfg

    def run(self) -> NoReturn:
        """Serves; ends the process when the server is stopped."""
        embedding.run(self.app)

    def __getattr__(self, name: str) -> NoReturn:
        missing(self, name, {"start": "call run()", "setup": "call run()"})
