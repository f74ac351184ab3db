"""What the settings of asynchronous applications do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from harness.server import Server
from harness.websocket import WebSocket

from .stage import Stage, act, shows

CONFIG = """
bind = "127.0.0.1:0"
worker_class = "asgi"
asgi_loop = "asyncio"
root_path = "/root"
websocket_max_message_size = 1000
"""


@act("asgi")
def asgi(stage: Stage, folder: Path) -> Server:
    config = CONFIG + 'asgi_lifespan = "on"\n'
    return stage.launch(folder, config, app="site_app:asgi").wait_accepting()


def told(server: Server) -> Any:
    return server.request().json()


@shows("asgi_loop", "root_path")
def asgi_loop(stage: Stage) -> None:
    seen = told(stage.server("asgi"))
    assert (seen["loop"], seen["root_path"]) == ("asyncio", "/root")


@shows("asgi_lifespan")
def asgi_lifespan(stage: Stage) -> None:
    assert told(stage.server("asgi"))["started"] is True
    folder = stage.folder("no-lifespan")
    config = CONFIG + 'asgi_lifespan = "off"\n'
    server = stage.launch(folder, config, app="site_app:asgi").wait_accepting()
    assert told(server)["started"] is False


@shows("websocket_max_message_size")
def websocket_max_message_size(stage: Stage) -> None:
    with stage.server("asgi").connect() as connection:
        one = WebSocket(connection, "/")
        assert one.send("x" * 1000).receive() == "received"
        one.send("x" * 1001)
        assert one.end()[0] == 1009
