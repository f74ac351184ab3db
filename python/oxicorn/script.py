"""The server of a script: what `oxicorn.run` does, and what `oxicorn.embedding` begins with.

The settings are arguments; everything else is as with the command. The script's process becomes
the arbiter, and the workers are forked from it, so an application needs no name to be served.

Invariant: only the process that called returns to the script. A forked one leaves from here, and
runs nothing that the script has put up for its own end (`finally`, `atexit`).
"""

from __future__ import annotations

import atexit
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from oxicorn import cli
from oxicorn._native import CommandLine, ConfigError
from oxicorn.app import Application
from oxicorn.configuration import Script, Source
from oxicorn.errors import OperatorError

__all__ = ["launch", "serve"]


def serve(application: Application | str, settings: Mapping[str, object]) -> None:
    """Serves until the server is stopped; `SystemExit` if it could not start."""
    if code := launch(lambda: _source(application, settings), "oxicorn.run()"):
        sys.exit(code)


def launch(source: Callable[[], Source], name: str) -> int:
    """Serves until the server is stopped: the exit code. Messages say that `name` was called."""
    if threading.current_thread() is not threading.main_thread():
        raise RuntimeError(f"{name} handles signals: call it from the main thread.")
    if _is_inside_a_loop():
        raise RuntimeError(f"{name} cannot be called from a running event loop.")
    forked = False

    def in_child() -> None:
        nonlocal forked
        forked = True
        atexit._clear()

    handlers, mask = _handlers(), signal.pthread_sigmask(signal.SIG_BLOCK, [])
    try:
        code = _serve(source, in_child)
    except BaseException:
        if forked:
            traceback.print_exc()
            _leave(cli.FAILED)
        raise
    if forked:
        _leave(code)
    _restore(handlers, mask)
    return code


def _is_inside_a_loop() -> bool:
    asyncio = sys.modules.get("asyncio")
    return asyncio is not None and asyncio._get_running_loop() is not None


def _serve(source: Callable[[], Source], in_child: Callable[[], None]) -> int:
    try:
        return cli.serve(source(), in_child)
    except (OperatorError, ConfigError) as error:
        print(f"Error: {error}", file=sys.stderr)
        return cli.FAILED
    except KeyboardInterrupt:
        return 0


def _source(application: Application | str, settings: Mapping[str, object]) -> Source:
    arguments = {name: _plain(value) for name, value in settings.items()}
    environ = dict(os.environ)
    command_line = CommandLine.from_arguments(_name(application), arguments, environ)
    if isinstance(application, str):
        return Source(command_line, environ, _script(application))
    return Source(command_line, environ, Script(application))


def _script(application: str) -> Script:
    directories = (os.path.join(sys.path[0] or os.getcwd(), ""), os.path.join(os.getcwd(), ""))
    ours = ("__main__", "__mp_main__", "oxicorn")
    modules = {name: one for name, one in sys.modules.items() if name.split(".")[0] not in ours}
    return Script(application, directories, modules)


def _name(application: Application | str) -> str:
    """What an application is called in messages and in the process title: `main.py:app`."""
    if isinstance(application, str):
        return application
    name = getattr(application, "__qualname__", None) or type(application).__name__
    return f"{os.path.basename(sys.argv[0]) or 'python'}:{name}"


def _plain(value: object) -> object:
    return os.fspath(value) if isinstance(value, os.PathLike) else value


_SIGNALS = ("CHLD", "HUP", "INT", "QUIT", "TERM", "TTIN", "TTOU", "USR1", "USR2", "WINCH")
"""Those that the arbiter has handlers for, which Python does not know of."""

_Handlers = dict[signal.Signals, Any]


def _handlers() -> _Handlers:
    numbers = [signal.Signals[f"SIG{name}"] for name in _SIGNALS]
    return {number: signal.getsignal(number) for number in numbers}


def _restore(handlers: _Handlers, mask: set[int]) -> None:
    for number, handler in handlers.items():
        # None is a handler of somebody else's, of whom Python does not know either.
        if handler is not None:
            signal.signal(number, handler)
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _leave(code: int) -> NoReturn:
    """Ends a forked process as the interpreter would: threads, what it put up itself, output."""
    try:
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
    except BaseException:
        traceback.print_exc()
        code = code or cli.FAILED
    finally:
        os._exit(code)
