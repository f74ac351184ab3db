"""Workers of the class gevent: patching the standard library, and the hub's side of the driver.

Patching comes first in the process that imports the application, a worker or a stem: whatever is
imported later finds sockets, locks and `time.sleep` that let other greenlets go on.

Invariant: nothing in the arbiter is patched, and gevent is imported in no process but these.
"""

from __future__ import annotations

import importlib
import os
import sys
import warnings
from collections.abc import Callable, Iterable
from typing import Any

from oxicorn._native import Config, HubPump, Worker, log
from oxicorn.errors import OperatorError

__all__ = ["Board", "patch", "serve"]

_READ = 1
_OURS = ("oxicorn", "gevent", "greenlet")


def patch(config: Config) -> None:
    """In a process that was just forked, before anything else: patches, if this is the class."""
    if config.worker_class != "gevent":
        return
    try:
        monkey = importlib.import_module("gevent.monkey")
    except ImportError as error:
        raise OperatorError(
            f"worker_class = 'gevent': gevent cannot be imported: {error}"
        ) from None
    with warnings.catch_warnings(record=True) as complaints:
        warnings.simplefilter("always")
        monkey.patch_all()
    # The configuration may have run a hub, whose loop belongs to the process that was forked from.
    importlib.import_module("gevent").reinit()
    for complaint in complaints:
        log("warning", f"gevent: {complaint.message}")
    if early := _too_early(monkey.saved):
        log(
            "warning",
            "gevent: imported too early to be patched, so they block all requests: "
            f"{', '.join(early)}. Import them in the application, not in the configuration.",
        )


def serve(worker: Worker) -> None:
    """Runs the hub until the worker has served its last request."""
    Board().run(worker)


class Board:
    """What the native driver calls; all but `waker`'s result is called on the hub's thread."""

    def __init__(self) -> None:
        gevent = importlib.import_module("gevent")
        self._hub: Any = gevent.get_hub()
        self._exit: type[BaseException] = gevent.GreenletExit
        self._watcher: Any = None
        self._pump: HubPump | None = None
        self._over: Any = importlib.import_module("gevent.event").Event()
        self.greenlet: Any = type("Request", (gevent.Greenlet,), {"spawning_stack_limit": 0})
        """Makes the greenlet of a request, not yet started: the hub does, so there is no stack."""
        self.switch: Callable[[], object] = self._hub.switch
        """Lets others go on, until somebody switches back."""
        self.current: Callable[[], Any] = gevent.getcurrent

    def run(self, worker: Worker) -> None:
        """For the main greenlet."""
        pump = self._pump = worker.hub_pump(self)
        self._watcher = self._hub.loop.io(pump.fileno(), _READ)
        self._watcher.start(pump)
        os.register_at_fork(after_in_child=pump.forked)
        # What has happened before anybody watched.
        self.schedule()
        self._over.wait()
        self._watcher.stop()
        self._watcher.close()

    def resume(self, greenlet: Any) -> None:
        """For the hub: goes on with a greenlet; what comes back is an error of whoever ends."""
        try:
            greenlet.switch()
        except self._exit:
            # The hub's own end.
            raise
        except BaseException:
            self._hub.handle_error(greenlet, *sys.exc_info())

    def waker(self) -> Callable[[], None]:
        """What goes on with the calling greenlet, soon, from whichever thread."""
        loop, switch = self._hub.loop, self.current().switch
        return lambda: loop.run_callback_threadsafe(switch)

    def schedule(self) -> None:
        """The pump is called soon."""
        self._hub.loop.run_callback(self._pump)

    def cut(self, greenlets: Iterable[Any]) -> None:
        """Ends these, wherever they wait; `finally` and `with` of the application are run."""
        for greenlet in greenlets:
            greenlet.kill(block=False)

    def abandon(self) -> None:
        """In a child that the application forked: its hub goes on without the server."""
        self._watcher.stop()

    def leave(self) -> None:
        """The worker has served its last request."""
        self._over.set()


def _too_early(saved: dict[str, dict[str, object]]) -> list[str]:
    """What holds a function or a class that was replaced: `MODULE.NAME` for each."""
    originals = {id(it) for module in saved.values() for it in module.values() if callable(it)}
    return sorted(
        f"{name}.{attribute}"
        for name, module in tuple(sys.modules.items())
        if not name.startswith(_OURS) and name.partition(".")[0] not in sys.stdlib_module_names
        for attribute, value in tuple(getattr(module, "__dict__", {}).items())
        if id(value) in originals
    )
