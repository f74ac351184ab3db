"""A worker's hooks, from the fork to the end of its process.

There is a life only where one of these hooks is set, or Python logs the requests; a worker without
knows nothing of it.

Invariant: `worker_exit` is called once, last of all, in whichever way the process ends by itself.
"""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
import traceback
from collections.abc import Callable
from typing import Any

from oxicorn import _native
from oxicorn._native import log
from oxicorn.app import Loaded
from oxicorn.compat.asgi import Observed
from oxicorn.compat.loggers import access_of
from oxicorn.compat.server import Server
from oxicorn.compat.turn import Turns
from oxicorn.compat.worker import Worker
from oxicorn.errors import HookRaised
from oxicorn.hooks import Hooks, complain
from oxicorn.observer import Observer

__all__ = ["Life", "say_goodbye"]

_HOOKS = (
    "post_fork",
    "post_worker_init",
    "worker_int",
    "worker_abort",
    "worker_exit",
    "pre_request",
    "post_request",
)
_ABORTED = 1
_CRASHED = 255


class Life:
    """The hooks of one worker, and what they are given."""

    @classmethod
    def of(cls, observer: Observer, age: int, generation: int) -> Life | None:
        """In a process that was just forked; `None` if no hook is set, and Python logs nothing."""
        worker, hooks = observer.born(age, generation)
        is_wanted = hooks.has(*_HOOKS) or access_of(worker.log) is not None
        return cls(observer.server, worker, hooks) if is_wanted else None

    def __init__(self, server: Server, worker: Worker, hooks: Hooks) -> None:
        """`worker` is this process, below `server`."""
        self._server, self._worker, self._hooks = server, worker, hooks
        self._ended = False

    def begin(self, native: _native.Worker) -> None:
        """Calls `post_fork`; the process has the rights of the arbiter."""
        self._worker.adopt(native)
        self._boot("post_fork", self._server, self._worker)

    def listen(self, dump: Callable[[], None]) -> None:
        """Calls the hooks of the end from now on, also while the worker boots.

        Later TERM, INT and QUIT are native. `dump` arranges for the stacks on SIGABRT, which come
        first: the handler that dumps passes the signal on to the one that was there before it.
        """
        if self.farewell:
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
                signal.signal(number, self._end_of_boot)
        if self._hooks.has("worker_abort", "worker_exit"):
            faulthandler.disable()
            signal.signal(signal.SIGABRT, self._abort)
            dump()

    def loaded(self, application: Loaded) -> None:
        """Calls `post_worker_init`; the application is imported."""
        self._worker.load(application.application, application.asynchronous)
        self._boot("post_worker_init", self._worker)
        self._worker.booted = True

    def interrupt(self) -> None:
        """Calls `worker_int`."""
        self._worker.ends()
        if hook := self._hooks.get("worker_int"):
            hook(self._worker)

    def end(self) -> None:
        """Calls `worker_exit`; not in a process that the application has forked."""
        over = self._ended or os.getpid() != self._worker.pid
        hook = None if over else self._hooks.get("worker_exit")
        self._ended = True
        self._worker.ends()
        if hook is None:
            return
        try:
            hook(self._server, self._worker)
        except Exception:
            log("warning", f"Exception during worker exit:\n{traceback.format_exc().rstrip()}")

    @property
    def farewell(self) -> Callable[[], None] | None:
        """What is to be called if the process ends while the application is busy."""
        return self._part if self._hooks.has("worker_int", "worker_exit") else None

    @property
    def observer(self) -> Turns | None:
        """What is to be called for each request of a WSGI application."""
        access = access_of(self._worker.log)
        if access is None and not self._hooks.has("pre_request", "post_request"):
            return None
        pre, post = self._hooks.get("pre_request"), self._hooks.get("post_request")
        return Turns(self._worker, pre, post, access)

    def observed(self, application: Any) -> Any:
        """An asynchronous application, with the hooks of its requests."""
        turns = self.observer
        return application if turns is None else Observed(application, turns)

    def _boot(self, name: str, *arguments: object) -> None:
        hook = self._hooks.get(name)
        if hook is None:
            return
        try:
            hook(*arguments)
        except Exception as error:
            raise HookRaised(name, error) from error

    def _part(self) -> None:
        """The threads of the application go on meanwhile."""
        if self._worker.interrupted and (code := self._last("worker_int")):
            self._leave(code)
        self.end()
        _flush()

    def _end_of_boot(self, number: int, _: object) -> None:
        """In the main thread, as below."""
        if number == signal.SIGTERM:
            self._leave(0)
        self._leave(self._last("worker_int"))

    def _abort(self, *_: object) -> None:
        """In the main thread, wherever it is: nothing of what it was at may go on."""
        self._worker.aborted = True
        self._leave(self._last("worker_abort") or _ABORTED)

    def _last(self, name: str) -> int:
        """Calls a hook of the end; the exit code if it raises, else 0."""
        self._worker.ends()
        try:
            if hook := self._hooks.get(name):
                hook(self._worker)
        except BaseException as error:
            complain(name, error)
            return _CRASHED
        return 0

    def _leave(self, code: int) -> None:
        say_goodbye()
        self.end()
        _flush()
        os._exit(code)


def say_goodbye() -> None:
    """The last line of a worker in the log, as gunicorn has it."""
    log("info", f"Worker exiting (pid: {os.getpid()})")


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            continue
