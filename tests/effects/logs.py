"""What the settings of logs and metrics do that write elsewhere, or through Python's `logging`."""

from __future__ import annotations

import json
import re
import socket
from pathlib import Path

from harness.server import Server
from harness.wait import until

from .lives import TCP
from .stage import Stage, act, shows

LOGGER = """
from gunicorn import glogging

class Logger(glogging.Logger):
    def info(self, message, *arguments, **how):
        super().info("own: " + message, *arguments, **how)
"""

INI = """
[loggers]
keys=root,gunicorn.error
[handlers]
keys=file
[formatters]
keys=generic
[logger_root]
level=WARNING
handlers=file
[logger_gunicorn.error]
level=INFO
handlers=file
propagate=0
qualname=gunicorn.error
[handler_file]
class=FileHandler
formatter=generic
args=('{path}',)
[formatter_generic]
format=by the file: %(message)s
"""


def _dictionary(path: Path, start: str) -> dict[str, object]:
    """What `dictConfig` takes."""
    handler = {"class": "logging.FileHandler", "formatter": "own", "filename": str(path)}
    logger = {
        "level": "INFO",
        "handlers": ["file"],
        "propagate": False,
        "qualname": "gunicorn.error",
    }
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "root": {"level": "WARNING", "handlers": ["file"]},
        "formatters": {"own": {"format": f"{start}: %(message)s"}},
        "handlers": {"file": handler},
        "loggers": {"gunicorn.error": logger},
    }


def _writes(stage: Stage, name: str, config: str, start: str) -> None:
    """With this configuration the server's lines begin so, in a file of it."""
    folder = stage.folder(name)
    server = stage.launch(folder, TCP + config, app="site_app:app")
    log = folder / "by-python.log"
    line = f"{start}: Booting worker with pid: "
    until(lambda: log.exists() and line in log.read_text(), "the line is there")
    server.destroy()


@shows("logconfig")
def logconfig(stage: Stage) -> None:
    folder = stage.folder("by-ini")
    (folder / "log.ini").write_text(INI.format(path=folder / "by-python.log"))
    _writes(stage, "by-ini", 'logconfig = "log.ini"\n', "by the file")


@shows("logconfig_dict")
def logconfig_dict(stage: Stage) -> None:
    found = _dictionary(stage.folder("by-dict") / "by-python.log", "by the dictionary")
    _writes(stage, "by-dict", f"logconfig_dict = {found!r}\n", "by the dictionary")


@shows("logconfig_json")
def logconfig_json(stage: Stage) -> None:
    folder = stage.folder("by-json")
    found = _dictionary(folder / "by-python.log", "by the text")
    (folder / "log.json").write_text(json.dumps(found))
    _writes(stage, "by-json", 'logconfig_json = "log.json"\n', "by the text")


@shows("logger_class")
def logger_class(stage: Stage) -> None:
    folder = stage.folder("by-class")
    (folder / "own_logger.py").write_text(LOGGER)
    config = TCP + 'logger_class = "own_logger.Logger"\n'
    server = stage.launch(folder, config, app="site_app:app")
    server.wait_for_log(r"\[INFO\] own: Booting worker with pid: \d+")


# Over UDP.


class Listener:
    """Gathers what is sent to a port."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self._socket.settimeout(0.05)
        self.port = self._socket.getsockname()[1]
        self._text = ""

    def has(self, pattern: str) -> bool:
        """Whether this has come by now."""
        try:
            while True:
                self._text += self._socket.recv(65536).decode() + "\n"
        except TimeoutError:
            return re.search(pattern, self._text) is not None

    def wait_for(self, pattern: str) -> None:
        """Waits for it."""
        until(lambda: self.has(pattern), f"{pattern!r} is sent (so far: {self._text})")


LISTENERS: dict[str, Listener] = {}

SYSLOG = """
syslog = True
syslog_addr = "udp://127.0.0.1:{port}"
syslog_prefix = "shop"
syslog_facility = "daemon"
"""


def _told(stage: Stage, folder: Path, config: str) -> Server:
    LISTENERS[folder.name] = listener = Listener()
    config = TCP + config.format(port=listener.port)
    server = stage.launch(folder, config, app="site_app:app").wait_accepting()
    assert server.request("/sent").status == 200
    return server


@act("syslog")
def syslog(stage: Stage, folder: Path) -> Server:
    return _told(stage, folder, SYSLOG)


@act("syslog-without-access")
def syslog_without_access(stage: Stage, folder: Path) -> Server:
    return _told(stage, folder, SYSLOG + "disable_redirect_access_to_syslog = True\n")


@shows("syslog", "syslog_addr", "syslog_prefix", "syslog_facility")
def is_logged(stage: Stage) -> None:
    """Info of a daemon is 3 · 8 + 6."""
    stage.server("syslog")
    listener = LISTENERS["syslog"]
    listener.wait_for(r"<30>\S*corn\.shop\.error: \[\d+\] Booting worker with pid: \d+")
    listener.wait_for(r"<30>\S*corn\.shop\.access: .*GET /sent HTTP/1\.1")


@shows("disable_redirect_access_to_syslog")
def disable_redirect_access_to_syslog(stage: Stage) -> None:
    server = stage.server("syslog-without-access")
    server.stop()
    listener = LISTENERS["syslog-without-access"]
    listener.wait_for("Shutting down: Master")
    assert not listener.has(r"\.access: ")


@act("statsd")
def statsd(stage: Stage, folder: Path) -> Server:
    config = (
        'statsd_host = "127.0.0.1:{port}"\n'
        'statsd_prefix = "shop"\ndogstatsd_tags = "a:b,c"\nenable_backlog_metric = True\n'
    )
    return _told(stage, folder, config)


@shows("statsd_host", "statsd_prefix", "dogstatsd_tags")
def is_counted(stage: Stage) -> None:
    stage.server("statsd")
    for pattern in (
        r"shop\.gunicorn\.requests:1\|c\|@1\.0\|#a:b,c",
        r"shop\.gunicorn\.request\.duration:[\d.]+\|ms\|#a:b,c",
        r"shop\.gunicorn\.request\.status\.200:1\|c\|@1\.0\|#a:b,c",
        r"shop\.gunicorn\.workers:1\|g\|#a:b,c",
    ):
        LISTENERS["statsd"].wait_for(pattern)


@shows("enable_backlog_metric")
def enable_backlog_metric(stage: Stage) -> None:
    stage.server("statsd")
    LISTENERS["statsd"].wait_for(r"shop\.gunicorn\.\S*backlog:\d+\|h")
