"""A worker as gunicorn's hooks see it: `worker`.

It is made before the fork. What a hook puts on it in one process, the others do not see.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

from oxicorn import _native
from oxicorn.compat.absent import missing
from oxicorn.compat.config import Cfg

if TYPE_CHECKING:
    from oxicorn.compat.server import Server

__all__ = ["BOOTING", "App", "Worker"]

BOOTING = "[booting]"
"""What gunicorn calls the process of a worker that is not yet forked."""

_RUNS = "the worker is native; send its signals to worker.pid"
_INSTEAD = {
    "tmp": "there are no heartbeat files; a request that hangs is seen by `timeout`",
    "max_requests": "see worker.cfg.max_requests",
    "wsgi": "the application is loaded in post_worker_init and later",
    "asgi": "the application is loaded in post_worker_init and later, and may not be asynchronous",
    "PIPE": _RUNS,
    "wait_fds": _RUNS,
    "run": _RUNS,
    "init_process": "use post_fork or post_worker_init",
    "init_signals": "use post_worker_init",
    "load_wsgi": "use post_worker_init",
    "handle_exit": _RUNS,
    "handle_quit": _RUNS,
    "handle_abort": _RUNS,
    "reloader": "see the setting `reload`",
}


class App:
    """What was to be loaded, and the application once it is."""

    def __init__(self, cfg: Cfg) -> None:
        """Not yet loaded."""
        self.cfg = cfg
        self.callable: Any = None

    @property
    def app_uri(self) -> str:
        """What names the application."""
        return str(self.cfg.wsgi_app)

    def wsgi(self) -> Any:
        """The application."""
        if self.callable is None:
            raise AttributeError("the application is loaded in post_worker_init and later")
        return self.callable


class Worker:
    """What there is to know of a worker."""

    def __init__(self, age: int, server: Server, cfg: Cfg) -> None:
        """The `age`-th worker of `server`, before it is forked."""
        self.age = age
        self.pid: int | str = BOOTING
        self.ppid = server.pid
        self.sockets = list(server.LISTENERS)
        self.cfg = cfg
        self.log = server.log
        self.app: Any = vars(server).get("app") or App(cfg)
        self.timeout = cfg.timeout / 2.0
        """Between two signs of life that gunicorn wants."""
        self.booted = False
        self.aborted = False
        self._alive = True
        self._native: _native.Worker | None = None

    def adopt(self, native: _native.Worker) -> None:
        """It is this process."""
        self._native = native

    def load(self, application: Any, asynchronous: bool) -> None:
        """Its application is there."""
        self.app.callable = application
        if asynchronous:
            self.asgi = application
        else:
            self.wsgi = application

    @property
    def alive(self) -> bool:
        """Whether it goes on taking requests."""
        leaves = self._native is not None and self._native.leaving
        return self._alive and not leaves

    @alive.setter
    def alive(self, alive: bool) -> None:
        """A worker that is set not to be alive leaves when it has served what it has."""
        self._alive = alive
        if not alive and self._native is not None and self.booted and not self._native.leaving:
            self._native.stop(graceful=True)

    def ends(self) -> None:
        """It is no longer alive, for whoever asks."""
        self._alive = False

    @property
    def nr(self) -> int:
        """How many requests the application was given."""
        return self._native.requests if self._native is not None else 0

    @property
    def interrupted(self) -> bool:
        """Whether INT or QUIT ends it."""
        return self._native is not None and self._native.interrupted

    def notify(self) -> None:
        """Does nothing: no sign of life is needed."""

    def __str__(self) -> str:
        return f"<Worker {self.pid}>"

    def __getattr__(self, name: str) -> NoReturn:
        missing(self, name, _INSTEAD)
