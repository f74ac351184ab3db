"""The event loop of a worker that serves an ASGI application, and the application's lifespan.

Requests are the native pump's business: the loop only watches its descriptor.

Invariant: the lifespan's start-up is over before the worker says that it is ready; its shutdown
begins when the last request is over, background work included.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
from typing import Any

from oxicorn._native import Config, Worker, log
from oxicorn.app import Application, imported
from oxicorn.errors import (
    ApplicationError,
    ApplicationRaised,
    OperatorError,
    StartupFailed,
    traceback_of,
)

__all__ = ["Lifespan", "Site"]


class Site:
    """One application on its loop."""

    def __init__(self, config: Config, application: Application):
        self.loop = _tornados(config) if _is_tornados(config) else _new_loop(config.asgi_loop)
        self.lifespan = Lifespan(application, config.asgi_lifespan)
        self._class = "tornado" if _is_tornados(config) else "asgi"

    def start(self) -> None:
        """Runs the start-up; raises what a boot fails with."""
        asyncio.set_event_loop(self.loop)
        self.loop.run_until_complete(self.lifespan.start_up())

    @property
    def kind(self) -> str:
        """The kind of worker that it makes, with its loop: `asgi (uvloop)`, `tornado (asyncio)`."""
        loop = type(self.loop).__module__.partition(".")[0]
        return f"{self._class} ({loop})"

    def serve(self, worker: Worker) -> None:
        """Serves until the worker has answered its last request; then shuts down."""
        pump = worker.pump(self.loop, self.lifespan.state)
        self.loop.add_reader(pump.fileno(), pump)
        # What has happened before anybody watched.
        self.loop.call_soon(pump)
        while not pump.over:
            # What a request raises to end a process ends the request.
            with contextlib.suppress(SystemExit, KeyboardInterrupt):
                self.loop.run_forever()
        self.loop.remove_reader(pump.fileno())
        self._shut_down()

    def _shut_down(self) -> None:
        try:
            self.loop.run_until_complete(self.lifespan.shut_down())
            self._cancel_tasks()
            self.loop.run_until_complete(self.loop.shutdown_asyncgens())
            self.loop.run_until_complete(self.loop.shutdown_default_executor())
        finally:
            asyncio.set_event_loop(None)
            self.loop.close()

    def _cancel_tasks(self) -> None:
        tasks = asyncio.all_tasks(self.loop)
        for task in tasks:
            task.cancel()
        if tasks:
            self.loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))


class Lifespan:
    """The lifespan protocol of ASGI, in one of the modes `auto`, `on` and `off`."""

    def __init__(self, application: Application, mode: str):
        self.mode = mode
        self.state: dict[str, Any] = {}
        """What the start-up leaves for the requests."""
        self._application = application
        self._task: asyncio.Task[None] | None = None
        self._received: asyncio.Queue[dict[str, str]] = asyncio.Queue()
        self._step = asyncio.Event()
        """The application has ended one of its two phases, or itself."""
        self._failure: str | None = None
        self._raised: BaseException | None = None
        self._answered = False

    async def start_up(self) -> None:
        """Runs the start-up, if there is to be one."""
        if self.mode == "off":
            return
        self._task = asyncio.create_task(self._run())
        await self._enter("startup")
        if self._failure is not None:
            raise StartupFailed(f"Its start-up failed: {self._failure or 'no reason was given'}")
        if self._answered:
            return
        if self.mode == "on":
            raise self._not_supported()
        log("info", "ASGI 'lifespan' protocol appears unsupported.")

    async def shut_down(self) -> None:
        """Runs the shutdown, if the start-up was completed."""
        if self._task is None or self._task.done():
            return
        await self._enter("shutdown")
        if self._failure is not None:
            log("error", f"The application's shutdown failed: {self._failure}")
        elif self._raised is not None:
            log("error", f"The application's shutdown failed:\n{traceback_of(self._raised)}")

    async def _enter(self, phase: str) -> None:
        self._step.clear()
        self._received.put_nowait({"type": f"lifespan.{phase}"})
        await self._step.wait()

    def _not_supported(self) -> Exception:
        if self._raised is not None:
            return ApplicationRaised("Its start-up (lifespan) failed:", self._raised)
        return StartupFailed("It returned from its start-up without completing it (lifespan).")

    async def _run(self) -> None:
        scope = {
            "type": "lifespan",
            "asgi": {"version": "3.0", "spec_version": "2.0"},
            "state": self.state,
        }
        try:
            await self._application(scope, self._received.get, self._send)
        except BaseException as error:
            self._raised = error
            if isinstance(error, asyncio.CancelledError):
                raise
        finally:
            self._step.set()

    async def _send(self, message: dict[str, Any]) -> None:
        kind = message["type"]
        match kind.split("."):
            case ["lifespan", "startup" | "shutdown", "complete"]:
                self._answered = True
            case ["lifespan", "startup" | "shutdown", "failed"]:
                self._failure = message.get("message", "")
            case _:
                raise RuntimeError(f"{kind!r} is not a message of the lifespan.")
        self._step.set()


def _is_tornados(config: Config) -> bool:
    return config.worker_class == "tornado"


def _tornados(config: Config) -> asyncio.AbstractEventLoop:
    from oxicorn import tornado

    # A loop that a stem has used cannot be shared with the other workers.
    return tornado.event_loop(inherited=config.preload_app and not config.reload)


def _new_loop(kind: str) -> asyncio.AbstractEventLoop:
    if ":" in kind:
        return _made_loop(kind)
    if kind != "asyncio":
        try:
            loop = importlib.import_module("uvloop").new_event_loop()
        except ImportError:
            if kind == "uvloop":
                raise OperatorError("asgi_loop is uvloop, which is not installed.") from None
        else:
            assert isinstance(loop, asyncio.AbstractEventLoop)
            return loop
    return asyncio.new_event_loop()


def _made_loop(path: str) -> asyncio.AbstractEventLoop:
    try:
        make = imported(path)
    except ApplicationError as error:
        raise OperatorError(f"asgi_loop = {path!r}: {error}") from None
    if not callable(make):
        raise OperatorError(f"asgi_loop = {path!r} is neither a function nor a class.")
    try:
        loop = make()
    except Exception as error:
        raise OperatorError(f"asgi_loop = {path!r} failed:\n{traceback_of(error)}") from None
    if not isinstance(loop, asyncio.AbstractEventLoop):
        what = type(loop).__name__
        raise OperatorError(f"asgi_loop = {path!r} made an object of type {what}, not a loop.")
    return loop
