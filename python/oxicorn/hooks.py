"""The hooks: functions of the configuration that are called at certain moments, as gunicorn does.

Here they are found and checked; who calls which is in `observer` (the arbiter) and `life` (a
worker), what they are given in `compat`.

Invariant: a hook that cannot be called with its arguments is an error of the configuration, found
before anything is changed.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from typing import Any

from oxicorn._native import Config, log
from oxicorn.errors import OperatorError, traceback_of

__all__ = ["ARGUMENTS", "Hook", "Hooks", "complain", "summary"]

Hook = Callable[..., Any]

ARGUMENTS: dict[str, tuple[str, ...]] = {
    "on_starting": ("server",),
    "on_reload": ("server",),
    "when_ready": ("server",),
    "pre_fork": ("server", "worker"),
    "post_fork": ("server", "worker"),
    "post_worker_init": ("worker",),
    "worker_int": ("worker",),
    "worker_abort": ("worker",),
    "pre_exec": ("server",),
    "pre_request": ("worker", "req"),
    "post_request": ("worker", "req", "environ", "resp"),
    "child_exit": ("server", "worker"),
    "worker_exit": ("server", "worker"),
    "nworkers_changed": ("server", "new_value", "old_value"),
    "on_exit": ("server",),
}
"""What each hook is called with."""

_FEWEST = {"post_request": 2}
"""Hooks that may leave out their last arguments, and how many they have to take."""

_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


class Hooks:
    """The hooks of one configuration; those that are not set are not here."""

    def __init__(self, config: Config) -> None:
        """Imports those that were named; an `OperatorError` says which cannot be used."""
        given = {name: getattr(config, name) for name in ARGUMENTS}
        self._functions = {
            name: _usable(name, value) for name, value in given.items() if value is not None
        }

    def get(self, name: str) -> Hook | None:
        """The function, to be called with all arguments."""
        return self._functions.get(name)

    def has(self, *names: str) -> bool:
        """Whether one of these is set."""
        return any(name in self._functions for name in names)


def complain(name: str, error: BaseException) -> None:
    """Says in the log that a hook has raised."""
    log("error", f"Exception in {name} hook\n{traceback_of(error)}")


def summary(name: str, error: BaseException) -> str:
    """The same in a few words."""
    if isinstance(error, SystemExit):
        return f"{name} called sys.exit({error.code!r})"
    return f"{name} raised {type(error).__name__}: {error}"


def _usable(name: str, value: object) -> Hook:
    function = _imported(name, value) if isinstance(value, str) else value
    if not callable(function):
        raise OperatorError(f"{name} = {value!r}: it cannot be called; expected a function.")
    taken = _arity(name, function)
    words = ARGUMENTS[name]
    if not _FEWEST.get(name, len(words)) <= taken <= len(words):
        place = getattr(function, "__code__", None)
        where = f" ({place.co_filename}:{place.co_firstlineno})" if place else ""
        raise OperatorError(
            f"{name}{where} takes {taken} arguments; it is called with {len(words)}: "
            f"def {name}({', '.join(words)})."
        )
    if taken == len(words):
        return function
    return lambda *all_of_them: function(*all_of_them[:taken])


def _imported(name: str, path: str) -> object:
    module, _, attribute = path.rpartition(".")
    if not module:
        raise OperatorError(f"{name} = {path!r}: expected a dotted name, such as 'project.{name}'.")
    try:
        return getattr(importlib.import_module(module), attribute)
    except AttributeError:
        raise OperatorError(f"{name} = {path!r}: {module!r} has no {attribute!r}.") from None
    except ImportError as error:
        raise OperatorError(f"{name} = {path!r} cannot be imported: {error}.") from None
    except Exception as error:
        raise OperatorError(f"{name} = {path!r} failed:\n{traceback_of(error)}") from None


def _arity(name: str, function: Hook) -> int:
    """As gunicorn counts: arguments by position, also those with a default."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except ValueError:
        raise OperatorError(f"{name}: it is not known how {function!r} is to be called.") from None
    return sum(parameter.kind in _POSITIONAL for parameter in parameters)
