"""A worker's life, from the fork to its exit code.

The order is gunicorn's: signals, process title, stack dumps, privileges, reloader, application,
serving. `random` needs no reseeding here: workers are forked by `os.fork`, which runs the hooks of
`random`, `threading` and `logging`. The environment (`raw_env`) is inherited.

Exit codes: 0 after a shutdown, 3 if the worker could not boot, 4 if the specification names no
application, 255 for an error of ours after the boot.
"""

from __future__ import annotations

import contextlib
import faulthandler
import gc
import os
import sys
import threading
import traceback

from oxicorn._native import Config, Seed, Worker, log
from oxicorn.app import Application, load
from oxicorn.configuration import Source
from oxicorn.errors import ApplicationError, ModuleMissing, OperatorError
from oxicorn.identity import Identity
from oxicorn.output import capture
from oxicorn.reload import Reloader, failure_page
from oxicorn.title import set_title

__all__ = ["run"]

BOOT_FAILED = 3
CRASHED = 255


def run(source: Source, seed: Seed, application: Application | None, identity: Identity) -> int:
    """Boots and serves in a process just forked; returns its exit code.

    `application` is what was loaded before the fork, if anything was (`preload_app`). A worker of
    a later generation has a configuration that the arbiter has not entered.
    """
    config, booted = seed.config, False
    worker = None
    try:
        worker = Worker(config, seed)
        set_title("worker", config)
        _dump_stacks_on_abort(config.errorlog)
        if config.capture_output:
            capture(config.errorlog)
        if seed.generation > 1:
            source.enter_again(config)
        identity.assume()
        application = application or _load(config, worker)
        # What is loaded now stays: the garbage collector need not look at it again and again.
        gc.collect()
        gc.freeze()
        worker.start(application)
        booted = True
        # What the application forks is not a server.
        os.register_at_fork(after_in_child=worker.forked)
        _serve(config, worker)
        return worker.exit_code
    except OperatorError as error:
        log("error", str(error))
        _excuse(worker, str(error))
        return BOOT_FAILED
    except ApplicationError as error:
        log("error", f"The application could not be loaded. {error}")
        _excuse(worker, error.reason)
        return error.exit_code
    except Exception as error:
        log("critical", f"Exception in worker process\n{traceback.format_exc().rstrip()}")
        _excuse(worker, f"{type(error).__name__}: {error}")
        return CRASHED if booted else BOOT_FAILED


def _excuse(worker: Worker | None, reason: str) -> None:
    """Tells the arbiter why this worker ends, if it still listens; the log has the details."""
    if worker is not None:
        with contextlib.suppress(OSError):
            worker.unready(" ".join(reason.split()))


def _dump_stacks_on_abort(errorlog: str) -> None:
    """Makes SIGABRT, which the arbiter sends to a hung worker, write all threads' stacks.

    faulthandler writes from the signal handler itself, so it works while C code holds the
    interpreter lock; afterwards SIGABRT's own action ends the process.
    """
    standard = {"/dev/stdout": sys.stdout, "/dev/stderr": sys.stderr, "-": sys.stderr}
    try:
        stream = standard.get(errorlog or "-") or open(errorlog, "ab", buffering=0)  # noqa: SIM115
    except OSError:
        # For example a socket, which can be written to but not opened.
        stream = sys.stderr
    faulthandler.enable(stream)


def _load(config: Config, worker: Worker) -> Application:
    if config.reload:
        return _load_watched(config, worker)
    return load(config.app or "", lambda text: log("info", text))


def _load_watched(config: Config, worker: Worker) -> Application:
    """Under `--reload` an application that fails to load is a page, until the next save."""

    def changed(path: str) -> None:
        log("info", f"Worker reloading: {path} modified")
        worker.stop(graceful=True)

    log("warning", "Reloader is on. Use in development only!")
    reloader = Reloader(config.reload_extra_files, changed)
    reloader.start()
    try:
        application = load(config.app or "", lambda text: log("info", text))
        reloader.remember()
    except ModuleMissing:
        raise
    except ApplicationError as error:
        log("error", f"The application could not be loaded. {error}")
        reloader.remember(error.files)
        application = failure_page(str(error))
    return application


def _serve(config: Config, worker: Worker) -> None:
    """Returns at shutdown. Alone, the main thread leads; else it only runs signal handlers."""
    if config.threads == 1:
        worker.lead()
        return
    for number in range(1, config.threads + 1):
        name = f"oxicorn-{number}"
        threading.Thread(target=worker.lead, name=name, daemon=True).start()
    worker.watch()
