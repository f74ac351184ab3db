"""A worker's life, from the fork to its exit code.

The order is gunicorn's: signals, process title, stack dumps, privileges, reloader, application,
serving. `random` needs no reseeding here: workers are forked by `os.fork`, which runs the hooks of
`random`, `threading` and `logging`. The environment (`raw_env`) is inherited.

Exit codes: 0 after a shutdown, 3 if the worker could not boot, 4 if the specification names no
application, 255 for an error of ours after the boot.
"""

from __future__ import annotations

import gc
import os
import signal
import threading
import traceback
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from oxicorn import boot, gevent
from oxicorn._native import Config, Seed, Worker, log, settle_logs
from oxicorn.app import Loaded
from oxicorn.compat.loggers import renew
from oxicorn.configuration import Source
from oxicorn.errors import ApplicationError, ModuleMissing
from oxicorn.identity import Identity
from oxicorn.life import Life, say_goodbye
from oxicorn.observer import Observer
from oxicorn.reload import Reloader, failure_page
from oxicorn.title import set_title

if TYPE_CHECKING:
    from oxicorn.asgi import Site

__all__ = ["run", "run_preloaded"]

CRASHED = 255


def run(source: Source, seed: Seed, identity: Identity, observer: Observer) -> int:
    """Boots and serves in a process that the arbiter has just forked; returns its exit code."""
    life = Life.of(observer, seed.id, seed.generation)

    def import_it(worker: Worker) -> Loaded:
        begin = partial(life.begin, worker) if life else _nothing
        renew_log = partial(renew, observer.server.log, seed.config)
        boot.prepare(source, seed.config, seed.generation, identity, renew_log, begin)
        worker.begin()
        if life:
            life.listen(boot.dump_stacks_on_abort)
        return _load(source, seed.config, worker, life)

    return _live(seed, import_it, life)


def run_preloaded(seed: Seed, application: Loaded, observer: Observer) -> int:
    """Serves in a process forked from a stem, which has loaded `application` and done all else."""
    life = Life.of(observer, seed.id, seed.generation)

    def found(worker: Worker) -> Loaded:
        if life:
            life.begin(worker)
        worker.begin()
        _restore_handlers()
        if life:
            life.listen(boot.dump_stacks_on_abort)
        return application

    return _live(seed, found, life)


def _nothing() -> None:
    """There are no hooks."""


def _live(seed: Seed, application: Callable[[Worker], Loaded], life: Life | None) -> int:
    pid = os.getpid()
    try:
        return _serve_until_the_end(seed, application, life)
    finally:
        # What the application has forked comes by as well.
        if os.getpid() == pid:
            say_goodbye()
        if life:
            life.end()
        settle_logs()


def _serve_until_the_end(
    seed: Seed, application: Callable[[Worker], Loaded], life: Life | None
) -> int:
    config, booted = seed.config, False
    worker = None
    try:
        # A stem has done it for its workers, but for what belongs to this process.
        gevent.patch(config)
        worker = Worker(config, seed)
        set_title("worker", config)
        loaded = application(worker)
        if life:
            life.loaded(loaded)
        # What is loaded now stays: the garbage collector need not look at it again and again.
        gc.collect()
        gc.freeze()
        loaded, site = _started(config, loaded)
        _tell(seed, site)
        _start(worker, loaded, life)
        booted = True
        # What the application forks is not a server.
        os.register_at_fork(after_in_child=worker.forked)
        if site is None:
            _serve(config, worker)
        else:
            site.serve(worker)
        if life and worker.interrupted:
            life.interrupt()
        return worker.exit_code
    except Exception as error:
        if booted:
            log("critical", f"Exception in worker process\n{traceback.format_exc().rstrip()}")
            return CRASHED
        return boot.failure(error, "worker", worker.unready if worker else None)


def _start(worker: Worker, loaded: Loaded, life: Life | None) -> None:
    """The worker gets ready for requests; only here is it decided whether anybody watches them."""
    if life is None:
        return worker.start(loaded.application, loaded.asynchronous)
    if life.farewell:
        worker.call_before_parting(life.farewell)
    if loaded.asynchronous:
        return worker.start(life.observed(loaded.application), True)
    worker.start(loaded.application, False, life.observer)


def _started(config: Config, loaded: Loaded) -> tuple[Loaded, Site | None]:
    """What is to be served; under `--reload` also a page about a start-up that failed."""
    try:
        return loaded, _site(config, loaded)
    except ApplicationError as error:
        if not config.reload:
            raise
        log("error", f"The application could not be started. {error}")
        return Loaded(failure_page(str(error))), None


def _site(config: Config, loaded: Loaded) -> Site | None:
    """The loop of an ASGI application, which has started up; none for a WSGI application."""
    if not loaded.asynchronous:
        return None
    # Neither the arbiter nor a worker without it pays for asyncio.
    from oxicorn.asgi import Site

    site = Site(config, loaded.application)
    site.start()
    return site


def _tell(seed: Seed, site: Site | None) -> None:
    """What the banner could not know: what the application, now that it is there, is served by."""
    if seed.id == 1 and boot.interface(seed.config) != "wsgi":
        kind = site.kind if site else seed.config.worker_class
        log("info", f"Using worker: {kind}")


def _restore_handlers() -> None:
    """The stem took the signals away from the application, which may have set handlers for some."""
    nobodys = (None, signal.SIG_DFL, signal.default_int_handler)
    for number in signal.valid_signals():
        handler = signal.getsignal(number)
        if handler not in nobodys:
            signal.signal(number, handler)


def _load(source: Source, config: Config, worker: Worker, life: Life | None) -> Loaded:
    if config.reload:
        return _load_watched(source, config, worker, life)
    return boot.application(source, config, lambda text: log("info", text))


def _load_watched(source: Source, config: Config, worker: Worker, life: Life | None) -> Loaded:
    """Under `--reload` an application that fails to load is a page, until the next save."""

    def changed(path: str) -> None:
        log("info", f"Worker reloading: {path} modified")
        try:
            if life:
                life.interrupt()
        finally:
            worker.stop(graceful=True)

    log("warning", "Reloader is on. Use in development only!")
    reloader = Reloader(
        config.reload_extra_files,
        changed,
        config.reload_delay,
        config.reload_exclude,
        config.reload_engine,
    )
    reloader.start()
    try:
        loaded = boot.application(source, config, lambda text: log("info", text))
        reloader.remember()
    except ModuleMissing:
        raise
    except ApplicationError as error:
        log("error", f"The application could not be loaded. {error}")
        reloader.remember(error.files)
        loaded = Loaded(failure_page(str(error)))
    return loaded


def _serve(config: Config, worker: Worker) -> None:
    """Returns at shutdown. Alone, the main thread leads; else it only runs signal handlers."""
    if config.worker_class == "gevent":
        gevent.serve(worker)
        return
    if config.threads == 1:
        worker.lead()
        return
    for number in range(1, config.threads + 1):
        name = f"oxicorn-{number}"
        threading.Thread(target=worker.lead, name=name, daemon=True).start()
    worker.watch()
