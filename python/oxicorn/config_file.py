"""The configuration file: Python that is executed, and the names that it leaves behind.

A source is `PATH`, `file:PATH` or `python:MODULE`. A file becomes the module `__config__`; it is
compiled afresh each time, so that neither a stale nor a new `__pycache__` is ever involved.

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

from oxicorn.errors import OperatorError, traceback_of, user_frames

__all__ = ["ConfigFile", "load"]

_MODULE_NAME = "__config__"


class ConfigFile(NamedTuple):
    """What a configuration file says."""

    label: str
    """The file as the person named it: where error messages point to."""
    values: dict[str, object]
    warning: str | None = None


def load(source: str) -> ConfigFile:
    """Executes the source and returns its names; an `OperatorError` says what went wrong."""
    if source.startswith("python:"):
        return ConfigFile(source, _settings(vars(_import(source.removeprefix("python:")))))
    path = source.removeprefix("file:")
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
    try:
        with open(file, "rb") as stream:
            source = stream.read()
    except FileNotFoundError:
        raise OperatorError(f"The configuration file {file!r} does not exist.") from None
    except OSError as error:
        reason = error.strerror
        raise OperatorError(f"The configuration file {file!r} cannot be read: {reason}.") from None
    return compile(source, file, "exec", dont_inherit=True)


def _failed(source: str, error: BaseException) -> OperatorError:
    return OperatorError(f"The configuration file {source!r} failed:\n{traceback_of(error)}")


def _suffix_warning(path: str) -> str | None:
    if path.endswith((".py", ".pyc")):
        return None
    return f"The configuration file {path!r} has no .py suffix; it was read as Python all the same."


def _settings(names: Mapping[str, object]) -> dict[str, object]:
    return {name: value for name, value in names.items() if _is_setting(name, value)}


def _is_setting(name: str, value: object) -> bool:
    """Settings are lower-case; what the file imported to compute them is not a setting."""
    return (
        name == name.lower()
        and not name.startswith("_")
        and not isinstance(value, types.ModuleType)
    )
