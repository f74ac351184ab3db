"""What the settings do that say where the application comes from, and how it is watched."""

from __future__ import annotations

from pathlib import Path

from harness.client import Connection, Ended, message
from harness.front import free_port
from harness.server import Server
from harness.wait import until

from .lives import TCP, replaces_its_worker
from .stage import Stage, act, shows

PASTED = """
def make(global_conf, **settings):
    def app(environ, start_response):
        start_response("200 OK", [])
        return [f"{settings['greeting']} {global_conf['place']}".encode()]
    return app
"""

INI = """
[app:shop]
paste.app_factory = pasted:make
greeting = hello
"""


@act("pasted")
def pasted(stage: Stage, folder: Path) -> Server:
    (folder / "pasted.py").write_text(PASTED)
    (folder / "site.ini").write_text(INI)
    config = TCP + 'paste = "site.ini#shop"\nraw_paste_global_conf = ["place=world"]\n'
    options = ("--paste", "site.ini#shop", "--pythonpath", ".")
    return stage.launch(folder, config, *options).wait_accepting()


@shows("paste", "raw_paste_global_conf")
def paste(stage: Stage) -> None:
    assert stage.server("pasted").request().text == "hello world"


@shows("reuse_port")
def reuse_port(stage: Stage) -> None:
    """Two servers at one address, the second of which goes on alone."""
    port = free_port()
    config = f'bind = "127.0.0.1:{port}"\nreuse_port = True\n'
    first = stage.launch(stage.folder("shared"), config, app="site_app:app")
    until(lambda: _answers(port), "the first one answers")
    second = stage.launch(stage.folder("sharing"), config, app="site_app:app")
    second.wait_for_log("Booting worker")
    first.stop()
    until(lambda: _answers(port), "the second one answers")


def _answers(port: int) -> bool:
    try:
        with Connection(("127.0.0.1", port)) as connection:
            return connection.request("/facts").status == 200
    except (OSError, Ended):
        return False


@shows("spew")
def spew(stage: Stage) -> None:
    server = stage.launch(stage.folder("spewing"), TCP + "spew = True\n", app="site_app:app")
    server.wait_accepting()
    assert server.request("/facts").status == 200
    server.wait_for_log(r"site_app:\d+:? .*start_response")


@shows("asgi_disconnect_grace_period")
def asgi_disconnect_grace_period(stage: Stage) -> None:
    """What does not end by itself when its client has left is cancelled after a second."""
    folder = stage.folder("graceless")
    config = TCP + 'worker_class = "asgi"\nasgi_disconnect_grace_period = 1\n'
    server = stage.launch(folder, config, app="site_app:asgi").wait_accepting()
    with server.connect() as connection:
        connection.send(message("/hold"))
        until((folder / "held").exists, "the application holds it")
    until((folder / "cancelled").exists, "it is cancelled")


@shows("reload_engine")
def reload_engine(stage: Stage) -> None:
    replaces_its_worker(stage, "extra.txt")
