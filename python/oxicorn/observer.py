"""What the arbiter tells Python: it keeps the hooks' `server` up to date, and calls its hooks.

The arbiter asks for nothing and waits for the answer: `None`, or the exit code and the reason of a
hook that failed. What follows from that is the arbiter's decision.

Invariant: only the process that calls a hook comes back from it.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from typing import Any

from oxicorn._native import Config, log
from oxicorn.compat.config import Cfg
from oxicorn.compat.loggers import renew
from oxicorn.compat.server import Listener, Server
from oxicorn.compat.worker import BOOTING, Worker
from oxicorn.errors import OperatorError, traceback_of
from oxicorn.hooks import Hooks, complain, summary
from oxicorn.title import set_title

__all__ = ["Answer", "Observer"]

Answer = tuple[int, str] | None

_FAILED = 1
"""What gunicorn ends with if a hook raises before or after its loop."""
_CRASHED = 255
"""The same inside its loop."""
_LONG = 1.0
"""Seconds after which a hook that keeps the arbiter from its work is named."""


class Observer:
    """The arbiter's hooks, those of the configuration that is in force."""

    def __init__(
        self,
        config: Config,
        start: tuple[str, list[str], dict[str, str], str],
        read: Callable[[], Config],
        journal: Any = None,
    ) -> None:
        """For a server that was started by the command `start`; `read`: the configuration, anew.

        `journal` is the log that hooks are given.
        """
        self._read = read
        self.server = Server(Cfg(config), start, journal)
        self.code = 0
        """What the process ends with if it is a hook that kept it from starting."""
        self._generations = {1: (config, Hooks(config))}
        self._generation = 1
        self._workers: dict[int, Worker] = {}
        self._before: tuple[int, int] | None = None
        """The generation and the number of workers that a failing restart comes back to."""

    # the arbiter's life

    def starting(self) -> Answer:
        """The server has its pidfile, and nothing else."""
        answer = self._change_workers(self.server.cfg.workers, code=_FAILED)
        answer = answer or self._call("on_starting", self.server, code=_FAILED)
        self.code = answer[0] if answer else 0
        return answer

    def bound(self, sockets: list[tuple[int, str]]) -> None:
        """The sockets listen; who took them over from another version was not starting."""
        self.server.LISTENERS = [Listener(*socket) for socket in sockets]
        if self.server.num_workers is None:
            self.server.num_workers = self.server.cfg.workers

    def ready(self) -> Answer:
        """The sockets listen; there is no worker yet."""
        return self._call("when_ready", self.server, code=_FAILED)

    def closed(self) -> Answer:
        """The arbiter does not listen any more; the numbers of its sockets are anybody's."""
        self.server.LISTENERS = []
        return None

    def workers_changed(self, new: int, old: int | None) -> Answer:
        """Another number of workers is wanted; of the first one and of a restart's it is known."""
        if old is None or new == self.server.num_workers:
            return None
        return self._change_workers(new)

    def configure(self, generation: int) -> Config:
        """Reads the configuration again; what this raises is why it will not be used."""
        config = self._read()
        if answer := self._reloaded(generation, config):
            raise OperatorError(f"{answer[1]}.")
        return config

    def _reloaded(self, generation: int, config: Config) -> Answer:
        self._before = (self._generation, self.server.num_workers or 0)
        self._generations[generation] = (config, Hooks(config))
        self._enter(generation)
        answer = self._change_workers(config.workers)
        answer = answer or self._call("on_reload", self.server)
        if answer:
            self.restart_ended(self._before[0], True)
        return answer

    def restart_ended(self, generation: int, failed: bool) -> Answer:
        """The generation that serves is this one."""
        before, self._before = self._before, None
        self._enter(generation)
        self._generations = {generation: self._generations[self._generation]}
        self._generation = generation
        if not failed:
            self._renew_log()
        if failed and before and before[1] != self.server.num_workers:
            return self._change_workers(before[1])
        return None

    @property
    def has_pre_exec(self) -> bool:
        """Whether a second arbiter's process has something to do before it becomes one."""
        return self._hooks.has("pre_exec")

    def before_exec(self) -> Answer:
        """In the process that becomes another arbiter."""
        return self._call("pre_exec", self.server)

    def promoted(self) -> Answer:
        """The arbiter that started this one has gone."""
        self.server.promote()
        set_title("master", self._of(self._generation)[0])
        return None

    def exiting(self) -> Answer:
        """The workers are gone, and so are the names."""
        return self._call("on_exit", self.server, code=_FAILED)

    # its workers' lives

    def before_fork(self, age: int, generation: int) -> Answer:
        """A worker is about to be forked from this process."""
        for other in [known for known, one in self._workers.items() if one.pid == BOOTING]:
            # It never was, or it is another process' child.
            del self._workers[other]
        config, hooks = self._of(generation)
        self._workers[age] = Worker(age, self.server, Cfg(config))
        self.server.worker_age = age
        return self._call("pre_fork", self.server, self._workers[age], hooks=hooks)

    def forked(self, age: int, pid: int) -> Answer:
        """It was; perhaps by a stem, or by the version before this one."""
        if age not in self._workers:
            self._workers[age] = Worker(age, self.server, self.server.cfg)
            self.server.worker_age = max(age, self.server.worker_age)
        self._workers[age].pid = pid
        self.server.WORKERS[pid] = self._workers[age]
        self._count_workers()
        return None

    def exited(self, age: int, code: int | None, number: int | None) -> Answer:
        """It was reaped."""
        worker = self._workers.pop(age, None)
        if worker is None:
            return None
        self.server.WORKERS.pop(worker.pid, None)
        self._count_workers()
        worker.ends()
        worker.aborted = number == signal.SIGABRT
        return self._call("child_exit", self.server, worker)

    def born(self, age: int, generation: int) -> tuple[Worker, Hooks]:
        """In a worker that was just forked: what its hooks are given, and its hooks."""
        config, hooks = self._of(generation)
        worker = self._workers.get(age) or Worker(age, self.server, Cfg(config))
        worker.pid = os.getpid()
        return worker, hooks

    # the log

    def measure(self) -> Answer:
        """Once a second, with `enable_backlog_metric`."""
        backlog = sum(listener.backlog for listener in self.server.LISTENERS)
        self._measure("gunicorn.backlog", backlog, "histogram", f"socket backlog: {backlog}")
        return None

    def _count_workers(self) -> None:
        count = len(self.server.WORKERS)
        self._measure("gunicorn.workers", count, "gauge", f"{count} workers")

    def _measure(self, metric: str, value: int, kind: str, text: str) -> None:
        extra = {"metric": metric, "value": value, "mtype": kind}
        try:
            self.server.log.debug(text, extra=extra)
        except Exception as error:
            log("error", f"The logger has failed\n{traceback_of(error)}")

    def _renew_log(self) -> None:
        """The new workers have done the same before, so that it hardly fails here."""
        try:
            renew(self.server.log, self._of(self._generation)[0])
        except OperatorError as error:
            log("error", str(error))

    # the hooks

    @property
    def _hooks(self) -> Hooks:
        return self._of(self._generation)[1]

    def _of(self, generation: int) -> tuple[Config, Hooks]:
        """After an upgrade there is one configuration, of whatever generation the workers are."""
        latest = self._generations[max(self._generations)]
        return self._generations.get(generation, latest)

    def _enter(self, generation: int) -> None:
        if generation not in self._generations:
            generation = max(self._generations)
        self._generation = generation
        self.server.configure(Cfg(self._generations[generation][0]))

    def _change_workers(self, new: int, code: int = _CRASHED) -> Answer:
        old, self.server.num_workers = self.server.num_workers, new
        return self._call("nworkers_changed", self.server, new, old, code=code)

    def _call(
        self, name: str, *arguments: object, hooks: Hooks | None = None, code: int = _CRASHED
    ) -> Answer:
        hook = (hooks or self._hooks).get(name)
        if hook is None:
            return None
        process, since = os.getpid(), time.monotonic()
        raised: BaseException | None = None
        try:
            hook(*arguments)
        except BaseException as error:
            raised = error
        if os.getpid() != process:
            # A process that the hook has forked came back from it.
            os._exit(_code_of(raised, code) if raised else 0)
        took = time.monotonic() - since
        if took >= _LONG and code == _CRASHED:
            log("warning", f"{name} took {took:.1f} s; the arbiter did nothing else meanwhile.")
        if raised is None:
            return None
        if not isinstance(raised, (SystemExit, KeyboardInterrupt)):
            complain(name, raised)
        return _code_of(raised, code), summary(name, raised)


def _code_of(raised: BaseException, code: int) -> int:
    match raised:
        case SystemExit(code=None):
            return 0
        case SystemExit(code=int(said)):
            return said & 0xFF
        case SystemExit():
            return _FAILED
        case KeyboardInterrupt():
            return 130
        case _:
            return code
