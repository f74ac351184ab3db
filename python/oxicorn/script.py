"""The server of a script: what `oxicorn.run` does.

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
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import NoReturn

from oxicorn import cli
from oxicorn._native import CommandLine, ConfigError
from oxicorn.app import Application
from oxicorn.configuration import Script, Source
from oxicorn.errors import OperatorError

__all__ = ["serve"]


def serve(application: Application | str, settings: Mapping[str, object]) -> None:
    """Serves until the server is stopped; `SystemExit` if it could not start."""
    if threading.current_thread() is not threading.main_thread():
        raise RuntimeError("oxicorn.run() handles signals: call it from the main thread.")
    if _is_inside_a_loop():
        raise RuntimeError("oxicorn.run() cannot be called from a running event loop.")
    owner = os.getpid()
    try:
        with _signals_as_they_are():
            code = _serve(application, settings)
    except BaseException:
        if os.getpid() != owner:
            traceback.print_exc()
            _leave(cli.FAILED)
        raise
    if os.getpid() != owner:
        _leave(code)
    if code:
        sys.exit(code)


def _is_inside_a_loop() -> bool:
    asyncio = sys.modules.get("asyncio")
    return asyncio is not None and asyncio._get_running_loop() is not None


def _serve(application: Application | str, settings: Mapping[str, object]) -> int:
    try:
        return cli.serve(_source(application, settings), in_child=atexit._clear)
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


@contextmanager
def _signals_as_they_are() -> Iterator[None]:
    """The arbiter has handlers of its own, which Python does not know of."""
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    owner = os.getpid()
    try:
        yield
    finally:
        if os.getpid() == owner:
            for number in signal.valid_signals():
                handler = signal.getsignal(number)
                if handler is not None and number not in (signal.SIGKILL, signal.SIGSTOP):
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
