"""The server of a program that embeds it as gunicorn is embedded: an object says everything.

The object is a `BaseApplication` (`oxicorn.compat.app.base`): its `cfg` has the settings, `wsgi`
loads the application, and `reload` reads the settings anew.

Invariant: `wsgi` is called only in processes that serve.
"""

from __future__ import annotations

import os
import sys
from typing import Any, NoReturn, Protocol

from oxicorn import script
from oxicorn._native import CommandLine
from oxicorn.config_file import Layer
from oxicorn.configuration import Script, Source
from oxicorn.errors import OperatorError

__all__ = ["Embedded", "run"]


class Embedded(Protocol):
    """What a program hands over."""

    cfg: Any

    def wsgi(self) -> Any:
        """The application."""

    def reload(self) -> None:
        """Brings `cfg` up to date."""


def run(application: Embedded) -> NoReturn:
    """Serves until the server is stopped, and ends the process."""
    name = f"{type(application).__name__}.run()"
    sys.exit(script.launch(lambda: _Source(application), name))


class _Source(Source):
    """The settings of such an object, which has them already when it is run."""

    def __init__(self, application: Embedded) -> None:
        environ = dict(os.environ)
        name = getattr(application, "app_uri", None) or f"{type(application).__name__}.load"
        command_line = CommandLine.from_arguments(name, {}, environ)
        super().__init__(command_line, environ, Script(application.wsgi, makes=True))
        self.embedded = application
        self._is_current = True

    def _layers(self) -> tuple[list[Layer], list[str]]:
        if not self._is_current:
            self._reload()
        self._is_current = False
        return self.embedded.cfg.layers(), []

    def _reload(self) -> None:
        try:
            self.embedded.reload()
        except SystemExit as end:
            reason = end.__cause__ or f"it ended with SystemExit({end.code!r})"
            raise OperatorError(f"{type(self.embedded).__name__}.reload(): {reason}") from None
