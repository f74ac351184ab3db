"""Oxicorn: a production server for Python web applications.

The server itself is the extension module `oxicorn._native`. This package is what has to be Python:
the command (`cli`), the server of a script (`run`, in `script`), the configuration file, finding
the application, and a worker's boot.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from oxicorn._native import __version__

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from oxicorn._settings import Arguments
    from oxicorn.app import Application

__all__ = ["__version__", "run"]


def run(app: Application | str, **settings: Unpack[Arguments]) -> None:
    """Serves `app` until the server is stopped.

    `app` is an application (WSGI or ASGI), or names one: `"main:app"`. Only by its name it is
    loaded anew, by a restart (`HUP`) and under `reload`. `settings` are settings by their names, or
    by uvicorn's names for them: `run("main:app", host="0.0.0.0", port=80, workers=2)`; None says
    nothing. They are stronger than the environment (`OXICORN_<NAME>`) and than a configuration
    file, which is read only if it is named (`config`).

    Returns after Ctrl-C and after `TERM`. Raises `SystemExit` if the server cannot start, with the
    command's exit code; `TypeError` if there is no such setting; `RuntimeError` outside the main
    thread.
    """
    # Who only wants the version, or `oxicornctl`, does not pay for the server.
    from oxicorn.script import serve

    serve(app, dict(settings))
