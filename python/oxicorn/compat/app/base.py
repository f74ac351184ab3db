"""gunicorn's `app.base`: what a program that embeds the server makes a subclass of.

`load_config` says the settings (`self.cfg.set(name, value)`), `load` returns the application, and
`run` serves it. `load` is called where the application is served: in each worker, or, with
`preload_app`, once before they are forked. A restart (`HUP`) calls `load_config` and `load` anew.

Invariant: what is wrong with the settings at the start ends the process with 1, as with gunicorn;
at a restart it changes nothing.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping
from typing import Any, NoReturn

from oxicorn import _native, config_file, embedding
from oxicorn.compat.config import Config

__all__ = ["Application", "BaseApplication"]


class BaseApplication:
    """A server of one application, whose settings the program says."""

    def __init__(self, usage: str | None = None, prog: str | None = None) -> None:
        """Loads the settings; the process ends if they cannot be used."""
        self.usage = usage
        self.cfg: Any = None
        self.callable: Any = None
        self.prog = prog
        self.logger: Any = None
        self.do_load_config()

    def do_load_config(self) -> None:
        """Loads the settings, or ends the process."""
        try:
            self.load_default_config()
            self.load_config()
            self.cfg.validate()
        except Exception as error:
            print(f"\nError: {error}", file=sys.stderr, flush=True)
            raise SystemExit(1) from error

    def load_default_config(self) -> None:
        """Makes `cfg`, in which nothing is set."""
        self.cfg = Config(self.usage, prog=self.prog)

    def init(self, parser: argparse.ArgumentParser, opts: argparse.Namespace, args: Any) -> Any:
        """Looks at the command line; returns settings of the program's own."""
        raise self._missing("init")

    def load(self) -> Any:
        """Returns the application: to be supplied."""
        raise self._missing("load")

    def load_config(self) -> None:
        """Says the settings: to be supplied."""
        raise self._missing("load_config")

    def _missing(self, method: str) -> NotImplementedError:
        # That it raises is gunicorn's contract; which method it is, gunicorn does not say.
        name = type(self).__name__
        return NotImplementedError(f"{name} has no {method}(): a subclass has to define it")

    def reload(self) -> None:
        """Loads the settings anew, for a restart."""
        self.do_load_config()

    def wsgi(self) -> Any:
        """The application, loaded once."""
        if self.callable is None:
            self.callable = self.load()
        return self.callable

    def run(self) -> NoReturn:
        """Serves; ends the process when the server is stopped."""
        embedding.run(self)


class Application(BaseApplication):
    """The same with a configuration file and a command line."""

    def chdir(self) -> None:
        """Goes to the directory of the settings, and imports from there."""
        os.chdir(self.cfg.chdir)
        if self.cfg.chdir not in sys.path:
            sys.path.insert(0, self.cfg.chdir)

    def get_config_from_filename(self, filename: str) -> Mapping[str, object]:
        """The names of a configuration file."""
        return config_file.load(filename).values

    def get_config_from_module_name(self, module_name: str) -> Mapping[str, object]:
        """The names of a configuration module."""
        return config_file.load(f"python:{module_name}").values

    def load_config_from_module_name_or_filename(self, location: str) -> Mapping[str, object]:
        """Sets what `PATH`, `file:PATH` or `python:MODULE` says."""
        file = config_file.load(location)
        self.cfg.add_file(file.layer)
        return file.values

    def load_config_from_file(self, filename: str) -> Mapping[str, object]:
        """The same."""
        return self.load_config_from_module_name_or_filename(location=filename)

    def load_config(self) -> None:
        """From the weakest to the strongest: `init`, the file, `GUNICORN_CMD_ARGS`, the words."""
        parser = self.cfg.parser()
        typed = parser.parse_args()
        own = self.init(parser, typed, typed.args) or {}
        self.chdir()
        self._set(type(self).__name__, own)
        pieces = parser.parse_args(self.cfg.get_cmd_args_from_env())
        if source := typed.config or pieces.config or _default_file():
            self.load_config_from_file(source)
        self._set("GUNICORN_CMD_ARGS", _typed(pieces))
        self._set("command line", _typed(typed))
        self.chdir()

    def _set(self, label: str, values: Mapping[str, object]) -> None:
        with self.cfg.said_by(label):
            for name, value in values.items():
                self.cfg.set(name.lower(), value)


def _typed(options: argparse.Namespace) -> dict[str, object]:
    found = vars(options).items()
    return {name: value for name, value in found if value is not None and name != "args"}


def _default_file() -> str | None:
    found = _native.CommandLine([], {}).config_file
    return None if found is None else found[0]
