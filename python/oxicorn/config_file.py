"""The configuration file: Python that is executed, and the names that it leaves behind; or TOML.

A source is `PATH`, `file:PATH` or `python:MODULE`. A file in Python becomes the module
`__config__`; it is compiled afresh each time, so that neither a stale nor a new `__pycache__` is
ever involved.
What ends in `.toml` is TOML, in which every name is meant as a setting.

Not for: finding the default file, or judging values. `oxicorn._native` knows the settings; here
only names are picked.
"""

from __future__ import annotations

import importlib
import os
import sys
import types
from collections.abc import Mapping
from importlib.machinery import SourcelessFileLoader
from typing import NamedTuple

from oxicorn._native import ConfigError, read_toml
from oxicorn.errors import OperatorError, traceback_of, user_frames

__all__ = ["ConfigFile", "Layer", "load", "plain"]

_MODULE_NAME = "__config__"
_TOML = ".toml"

Layer = tuple[str, dict[str, object], bool]
"""Settings from one place: what to call it, names and values, whether it is a program."""


class ConfigFile(NamedTuple):
    """What a configuration file says."""

    label: str
    """The file as the person named it: where error messages point to."""
    values: dict[str, object]
    warning: str | None = None

    @property
    def layer(self) -> Layer:
        """The same among the sources of settings."""
        return self.label, self.values, not self.label.endswith(_TOML)


def load(source: str) -> ConfigFile:
    """Executes the source and returns its names; an `OperatorError` says what went wrong."""
    if source.startswith("python:"):
        return ConfigFile(source, _settings(vars(_import(source.removeprefix("python:")))))
    path = source.removeprefix("file:")
    if path.endswith(_TOML):
        return ConfigFile(path, _read_toml(path))
    return ConfigFile(path, _settings(vars(_execute(path))), _suffix_warning(path))


def _import(name: str) -> types.ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name == name and user_frames(error) is None:
            raise OperatorError(
                f"The configuration module {name!r} does not exist (looked in: {sys.path[0]} "
                "and the rest of sys.path)."
            ) from None
        raise _failed(f"python:{name}", error) from None
    except (Exception, SystemExit) as error:
        raise _failed(f"python:{name}", error) from None


def _execute(path: str) -> types.ModuleType:
    module = types.ModuleType(_MODULE_NAME)
    module.__file__ = os.path.abspath(path)
    sys.modules[_MODULE_NAME] = module
    try:
        exec(_compile(module.__file__), vars(module))
    except OperatorError:
        raise
    except (Exception, SystemExit) as error:
        raise _failed(path, error) from None
    return module


def _compile(file: str) -> types.CodeType:
    if file.endswith(".pyc"):
        code = SourcelessFileLoader(_MODULE_NAME, file).get_code(_MODULE_NAME)
        assert code is not None
        return code
    source = _bytes_of(file)
    return compile(source, file, "exec", dont_inherit=True)


def _read_toml(path: str) -> dict[str, object]:
    file = os.path.abspath(path)
    try:
        return read_toml(path, _bytes_of(file).decode())
    except UnicodeDecodeError as error:
        raise OperatorError(f"The configuration file {file!r} is not in UTF-8: {error}.") from None
    except ConfigError as error:
        raise OperatorError(f"The configuration file {path!r} cannot be used: {error}.") from None


def _bytes_of(file: str) -> bytes:
    try:
        with open(file, "rb") as stream:
            return stream.read()
    except FileNotFoundError:
        raise OperatorError(f"The configuration file {file!r} does not exist.") from None
    except OSError as error:
        reason = error.strerror
        raise OperatorError(f"The configuration file {file!r} cannot be read: {reason}.") from None


def _failed(source: str, error: BaseException) -> OperatorError:
    return OperatorError(f"The configuration file {source!r} failed:\n{traceback_of(error)}")


def _suffix_warning(path: str) -> str | None:
    if path.endswith((".py", ".pyc")):
        return None
    return f"The configuration file {path!r} has no .py suffix; it was read as Python all the same."


def _settings(names: Mapping[str, object]) -> dict[str, object]:
    return {name: plain(name, value) for name, value in names.items() if _is_setting(name, value)}


def plain(name: str, value: object) -> object:
    """A worker class of gunicorn's, of ours or of uvicorn's by its name, which stands for it."""
    if name == "worker_class" and isinstance(value, type):
        module = value.__module__
        if module.startswith(("gunicorn.", "uvicorn.", "uvicorn_worker.", "oxicorn.compat.")):
            return f"{module}.{value.__qualname__}".replace("oxicorn.compat.", "gunicorn.", 1)
    return value


def _is_setting(name: str, value: object) -> bool:
    """Settings are lower-case; what the file imported to compute them is not a setting."""
    return (
        name == name.lower()
        and not name.startswith("_")
        and not isinstance(value, types.ModuleType)
    )
