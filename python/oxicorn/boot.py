"""What a process of a generation does before it imports the application; what its failing means.

For workers and stems alike. Not for the arbiter, which never imports the application.

Invariant: whatever code of the application runs, runs with the rights that were left to it.
"""

from __future__ import annotations

import contextlib
import faulthandler
import importlib.util
import os
import sys
import threading
import traceback
from collections.abc import Callable
from typing import BinaryIO, TextIO

from oxicorn import paste_file, shim
from oxicorn._native import Config, log
from oxicorn.app import Loaded, load, loaded
from oxicorn.configuration import Source
from oxicorn.errors import ApplicationError, HookRaised, OperatorError
from oxicorn.identity import Identity
from oxicorn.output import capture

__all__ = [
    "FAILED",
    "application",
    "check",
    "dump_stacks_on_abort",
    "failure",
    "interface",
    "lost_threads",
    "open_outputs",
    "prepare",
]

FAILED = 3
"""The exit code of a process that could not boot."""

_INTERFACES = {"asgi": "asgi", "gevent": "wsgi", "tornado": "tornado"}
"""Of worker classes that do not leave it to the application's looks."""

_stacks: BinaryIO | TextIO | None = None
"""Where the stacks go."""


def prepare(
    source: Source,
    config: Config,
    generation: int,
    identity: Identity,
    renew_log: Callable[[], None],
    with_all_rights: Callable[[], None] = lambda: None,
) -> None:
    """Makes a process just forked what its configuration says; the order is gunicorn's.

    The arbiter has entered only the configuration of the first generation. `renew_log` is
    called for later ones. `with_all_rights` is called before the rights are given up that the
    server was started with.
    """
    open_outputs(config)
    if generation > 1:
        source.enter_again(config)
        renew_log()
    elif config.reload:
        source.forget_modules()
    shim.announce(config.raw_env)
    with_all_rights()
    identity.assume()
    if config.spew:
        from oxicorn.compat.debug import spew

        spew()


def application(source: Source, config: Config, notice: Callable[[str], None]) -> Loaded:
    """The application: imported, handed over by a script, or described by a PasteDeploy file."""
    script = source.script
    if script is not None and not isinstance(script.application, str):
        makes = script.makes or config.factory
        return loaded(script.application, config.app or "", interface(config), makes)
    if config.paste:
        found = paste_file.load(config, source.directory)
        return loaded(found, config.paste, interface(config), factory=False)
    return load(config.app or "", notice, interface(config), config.factory)


def interface(config: Config) -> str:
    """What the application is called by: the setting, or what the worker class says."""
    by_class = {"asgi": "asgi", "gevent": "wsgi", "tornado": "tornado"}.get(
        config.worker_class, "auto"
    )
    return by_class if config.interface == "auto" else config.interface


def check(config: Config) -> None:
    """In any process: whether there is the package that workers of this class need."""
    needed = config.worker_class
    if needed in ("gevent", "tornado") and importlib.util.find_spec(needed) is None:
        raise OperatorError(f"worker_class = {needed!r} needs {needed}: pip install {needed}")


def open_outputs(config: Config) -> None:
    """Opens the files for stacks and for what the application prints, by their names."""
    dump_stacks_on_abort(_stack_stream(config.errorlog))
    if config.capture_output:
        capture(config.errorlog)


def failure(error: Exception, who: str, tell: Callable[[str], None] | None) -> int:
    """Says why the process `who` could not boot, and returns its exit code.

    The log has the details; `tell` is for the arbiter, if that can still be told.
    """
    code, reason = FAILED, str(error)
    match error:
        case OperatorError():
            log("error", str(error))
        case HookRaised():
            log("critical", str(error))
            reason = error.reason
        case ApplicationError():
            log("error", f"The application could not be loaded. {error}")
            code, reason = error.exit_code, error.reason
        case _:
            text = "".join(traceback.format_exception(error)).rstrip()
            log("critical", f"Exception in {who} process\n{text}")
            reason = f"{type(error).__name__}: {error}"
    if tell is not None:
        with contextlib.suppress(OSError):
            tell(" ".join(reason.split()))
    return code


def lost_threads() -> str:
    """The names of the threads that a fork of this process would end, with commas."""
    main = threading.main_thread()
    names = [thread.name for thread in threading.enumerate() if thread is not main]
    nameless = len(os.listdir("/proc/self/task")) - len(names) - 1
    if nameless > 0:
        names.append(f"{nameless} that Python does not know")
    return ", ".join(names)


def dump_stacks_on_abort(stream: BinaryIO | TextIO | None = None) -> None:
    """Makes SIGABRT, which the arbiter sends to a hung process, write all threads' stacks.

    faulthandler writes from the signal handler itself, so it works while C code holds the
    interpreter lock; afterwards the signal does what it did before: at first, end the process.
    Without a `stream` they go where they went.
    """
    global _stacks
    _stacks = stream or _stacks
    faulthandler.enable(_stacks or sys.stderr)


def _stack_stream(errorlog: str) -> BinaryIO | TextIO:
    standard = {"/dev/stdout": sys.stdout, "/dev/stderr": sys.stderr, "-": sys.stderr}
    try:
        return standard.get(errorlog or "-") or open(errorlog, "ab", buffering=0)
    except OSError:
        # For example a socket, which can be written to but not opened.
        return sys.stderr
