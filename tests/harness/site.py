"""A server whose application and configuration are files of the test, and its restarts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from signal import SIGHUP

from .load import Load
from .server import Server
from .wait import until

Serve = Callable[..., Server]

APP = """
{before}
import os

def app(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/die":
        os.kill(os.getpid(), 9)
    body = ("{version}" if path == "/" else os.environ.get(path[1:], "none")).encode()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]
"""

ASGI_APP = """
{before}
import asyncio

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        assert (await receive())["type"] == "lifespan.startup"
        scope["state"]["version"] = "{version}"
        await send({{"type": "lifespan.startup.complete"}})
        await receive()
        print("shutdown of {version}", flush=True)
        await send({{"type": "lifespan.shutdown.complete"}})
        return
    await asyncio.sleep(0.001)
    body = scope["state"]["version"].encode()
    headers = [(b"content-length", str(len(body)).encode())]
    await send({{"type": "http.response.start", "status": 200, "headers": headers}})
    await send({{"type": "http.response.body", "body": body}})
"""

MODES = ["hot", "phased", "regular"]


class Site:
    """A server whose application and configuration are files of the test."""

    def __init__(self, folder: Path, serve: Serve, *always: str, app: str = APP) -> None:
        """`always`: options of every server; `app`: the application's text."""
        self._app = app
        self.folder = folder
        self._serve = serve
        self._always = always

    def write(self, version: str, before: str = "") -> None:
        """Deploys a version; `before` is executed when it is imported."""
        text = self._app.format(version=version, before=before)
        (self.folder / "site_app.py").write_text(text)

    def configure(self, text: str) -> None:
        (self.folder / "gunicorn.conf.py").write_text(text)

    def launch(
        self, *options: str, workers: int = 2, configuration: str = "", before: str = ""
    ) -> Server:
        """A server of version one, which need not come up."""
        self.write("one", before)
        self.configure(f"workers = {workers}\nobserve_timeout = 0.5\n{configuration}")
        options = ("--log-level", "debug", *self._always, *options)
        return self._serve("site_app:app", *options, cwd=self.folder, launch=True)

    def start(self, *options: str, workers: int = 2, log: Path | None = None, **how: str) -> Server:
        """A server of version one that serves; `log`: where it logs to."""
        server = self.launch(*options, workers=workers, **how)
        server.path = log or server.path
        # Whatever is counted later is of a restart.
        server.wait_serving()
        assert server.request().text == "one"
        return server


def restart(server: Server) -> None:
    """Restarts and waits until the new generation is confirmed."""
    mark = server.mark()
    server.signal(SIGHUP)
    server.wait_for_log(r"Generation \d+ is confirmed", since=mark)


def deploy(site: Site, server: Server) -> None:
    """Version two of the code comes instead of one, by a restart that no client notices."""
    with Load(server) as load:
        load.wait_for("one", 20)
        site.write("two")
        restart(server)
        server.wait_for_log("It finished its work", 2)
        load.wait_for("two", 20)


def is_rolled_back(server: Server, mark: int) -> str:
    """Waits for the end of a restart that fails; its reason."""
    pattern = r"Restart rolled back, generation 1 goes on serving: (.*)"
    return server.wait_for_log(pattern, since=mark).group(1)


def fails(server: Server, load: Load, workers: list[int]) -> str:
    """A restart fails, and nobody but the log notices; the reason."""
    mark = server.mark()
    server.signal(SIGHUP)
    reason = is_rolled_back(server, mark)
    until(lambda: server.workers() == workers, f"only {workers} are left")
    load.wait_for("one", 20)
    assert set(load.answers) == {"one"}
    return reason
