"""A stem's life (`preload_app`): imports the application once, and forks the workers by order.

The arbiter has one for each generation, so that a restart loads new code although it is imported
before the workers are forked, and so that workers of the old generation can be forked from memory
when the old code is gone from the disk.

Invariant: everything that a worker would otherwise do before it imports the application is done
here, once; a stem that waits for orders does nothing.
"""

from __future__ import annotations

import gc
import os
import sys
from functools import partial

from oxicorn import boot, gevent, worker
from oxicorn._native import Config, Stem, log
from oxicorn.app import Loaded
from oxicorn.compat.loggers import renew
from oxicorn.configuration import Source
from oxicorn.identity import Identity
from oxicorn.observer import Observer
from oxicorn.title import set_title

__all__ = ["run"]


def run(source: Source, stem: Stem, identity: Identity, observer: Observer) -> int:
    """Boots and forks in a process just forked; returns its exit code, and that of each worker."""
    config = stem.config
    try:
        gevent.patch(config)
        set_title("stem", config)
        renew_log = partial(renew, observer.server.log, config)
        boot.prepare(source, config, stem.generation, identity, renew_log)
        stem.begin()
        os.register_at_fork(after_in_child=stem.forked)
        application = _load(source, config)
        stem.ready()
    except Exception as error:
        return boot.failure(error, "stem", stem.unready)
    # After a rotation of the logs: later workers inherit what is open here.
    before = partial(observer.before_fork, generation=stem.generation)
    seed = stem.grow(partial(boot.open_outputs, config), before)
    return 0 if seed is None else worker.run_preloaded(seed, application, observer)


def _load(source: Source, config: Config) -> Loaded:
    application = boot.application(source, config, lambda text: log("info", text))
    if threads := boot.lost_threads():
        log("warning", f"preload_app: threads started by the import end at the fork: {threads}")
    # What exists now is never collected by the workers, so its pages stay shared.
    gc.collect()
    gc.freeze()
    # What the import printed must not be in every worker's buffer.
    sys.stdout.flush()
    sys.stderr.flush()
    return application
