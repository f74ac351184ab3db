"""The arbiter as gunicorn's hooks see it: `server`.

In a worker it is what it was when the worker was forked.
"""

from __future__ import annotations

import os
import signal
import socket
import struct
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

from oxicorn.compat.absent import missing
from oxicorn.compat.config import Cfg
from oxicorn.compat.log import Log

if TYPE_CHECKING:
    from oxicorn.compat.worker import Worker

__all__ = ["Listener", "Pidfile", "Server"]

_WORKERS = "send SIGTTIN or SIGTTOU to server.pid, or use `oxicornctl workers N`"
_RUNS = "the arbiter is native; send its signals to server.pid"
_INSTEAD = {
    "app": "the arbiter never imports the application; see worker.app in a worker's hooks",
    "worker_class": "workers are no Python classes; see server.cfg.worker_class_str",
    "spawn_worker": _WORKERS,
    "spawn_workers": _WORKERS,
    "manage_workers": _WORKERS,
    "murder_workers": _RUNS,
    "reap_workers": _RUNS,
    "halt": _RUNS,
    "stop": _RUNS,
    "run": _RUNS,
    "start": _RUNS,
    "setup": "see on_reload",
    "wakeup": _RUNS,
    "reexec": "send SIGUSR2 to server.pid",
    "SIG_QUEUE": _RUNS,
}


_TCP_INFO = struct.Struct("=24xI")
"""The beginning of Linux' `tcp_info`, up to `tcpi_unacked`: a listening socket's queue."""


@dataclass(frozen=True)
class Listener:
    """A listening socket. It is the arbiter's: it can be looked at, not closed."""

    number: int
    url: str

    def fileno(self) -> int:
        """Its descriptor."""
        return self.number

    def getsockname(self) -> Any:
        """Its address, as `socket` has it."""
        with socket.socket(fileno=os.dup(self.number)) as same:
            return same.getsockname()

    @property
    def backlog(self) -> int:
        """How many connections wait to be accepted; 0 if it does not listen to TCP."""
        with socket.socket(fileno=os.dup(self.number)) as same:
            try:
                info = same.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO.size)
            except OSError:
                return 0
        return int(_TCP_INFO.unpack(info)[0]) if len(info) == _TCP_INFO.size else 0

    def __str__(self) -> str:
        return self.url

    def __getattr__(self, name: str) -> NoReturn:
        missing(self, name, {"sock": "see getsockname() and fileno()"})


@dataclass(frozen=True)
class Pidfile:
    """The file with the process id."""

    fname: str
    pid: int


class Server:
    """What there is to know of the arbiter."""

    SIGNALS: ClassVar = [
        getattr(signal, f"SIG{name}")
        for name in ("HUP", "QUIT", "INT", "TERM", "TTIN", "TTOU", "USR1", "USR2", "WINCH")
    ]
    app: Any
    """The object of a program that embeds the server; only there."""
    WORKER_BOOT_ERROR = 3
    APP_LOAD_ERROR = 4

    def __init__(
        self, cfg: Cfg, start: tuple[str, list[str], dict[str, str], str], log: Any = None
    ) -> None:
        """In the process of the arbiter, which was started by the command `start`."""
        self.log = log or Log()
        self.pid = os.getpid()
        self.master_pid = int(os.environ.get("GUNICORN_PID") or 0)
        """The arbiter that started this one, if that is there."""
        self.master_name = "Master.2" if self.master_pid else "Master"
        self.num_workers: int | None = None
        self.worker_age = 0
        self.WORKERS: dict[Any, Worker] = {}
        self.LISTENERS: list[Listener] = []
        program, arguments, environ, directory = start
        self.START_CTX = {"args": [program, *arguments], "cwd": directory, 0: sys.executable}
        self.env_orig = environ
        self.configure(cfg)

    def configure(self, cfg: Cfg) -> None:
        """Another configuration is in force."""
        self.cfg = cfg
        self.address = cfg.address
        self.timeout = cfg.timeout
        self.proc_name = cfg.proc_name + (".2" if self.master_pid else "")

    def promote(self) -> None:
        """The arbiter that started this one has gone."""
        self.master_pid, self.master_name = 0, "Master"
        self.proc_name = self.cfg.proc_name

    @property
    def pidfile(self) -> Pidfile | None:
        """The file with its process id, if there is to be one."""
        name = self.cfg.pidfile
        return Pidfile(name + (".2" if self.master_pid else ""), self.pid) if name else None

    def reload(self) -> None:
        """Asks for a restart, as by SIGHUP."""
        os.kill(self.pid, signal.SIGHUP)

    def kill_worker(self, pid: int, sig: int) -> None:
        """Sends a signal to a worker."""
        if pid in self.WORKERS:
            os.kill(pid, sig)

    def kill_workers(self, sig: int) -> None:
        """Sends a signal to every worker."""
        for pid in list(self.WORKERS):
            os.kill(pid, sig)

    def __getattr__(self, name: str) -> NoReturn:
        missing(self, name, _INSTEAD)
