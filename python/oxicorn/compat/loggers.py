"""The log that the hooks are given, and the way of the server's own messages to it.

Usually that is the native log. If the configuration names a logger class or configures Python's
logging, a `Logger` as gunicorn's writes both logs, in every process; native messages are brought to
it by `_native.relay_logs`.

Invariant: what the application does to all loggers (`disable_existing_loggers`) does not silence
the server's.
"""

from __future__ import annotations

import importlib
import logging
from collections.abc import Callable
from typing import Any

from oxicorn._native import Config, relay_logs
from oxicorn.compat.config import Cfg
from oxicorn.compat.log import Log
from oxicorn.errors import OperatorError, traceback_of

__all__ = ["Writer", "access_of", "check", "find_class", "open_log", "renew"]

_OURS = ("gunicorn.glogging.Logger", "oxicorn.compat.glogging.Logger", "simple")
_COUNTING = ("gunicorn.instrument.statsd.Statsd", "oxicorn.compat.statsd.Statsd")


def open_log(config: Config) -> Any:
    """The log of a server that is about to start; from here on its messages go there."""
    if not config.logs_through_python:
        return Log(config.loglevel)
    log = _made(config)
    log = log if hasattr(log, "error") else _unusable(config, log)
    relay_logs(Writer(log), _level_of(log), _counts(log))
    if config.log_format != "text":
        log.warning("log_format does nothing where Python writes the logs: set a formatter there.")
    return log


def check(config: Config) -> None:
    """Says what is wrong with it, as far as that is known without touching a logger."""
    find_class(config)
    if not config.logs_through_python:
        return
    from oxicorn.compat.glogging import configuration

    try:
        configuration(config)
    except RuntimeError as error:
        raise OperatorError(_complaint(error)) from error


def renew(log: Any, config: Config) -> None:
    """A restart has read the configuration again; raises if it cannot be used."""
    if isinstance(log, Log) or not config.logs_through_python:
        return
    try:
        log.setup(Cfg(config))
    except Exception as error:
        raise OperatorError(_complaint(error)) from error
    relay_logs(Writer(log), _level_of(log), _counts(log))


def access_of(log: Any) -> Callable[..., None] | None:
    """What is to be called for each request with what the log's `access` takes, if anything."""
    if isinstance(log, Log):
        return None
    if not _counts(log) and not getattr(log, "access_log_enabled", True):
        return None

    def access(*request: object) -> None:
        awaken(log)
        log.access(*request)

    return access


class Writer:
    """Takes the server's own messages; called natively."""

    def __init__(self, log: Any) -> None:
        """`log` writes them."""
        self._log = log

    def write(self, level: str, message: str) -> None:
        """Writes one."""
        awaken(self._log)
        getattr(self._log, level)(message)

    def reopen(self) -> None:
        """After a rotation."""
        self._log.reopen_files()


def awaken(log: Any) -> None:
    """Undoes what an application's `dictConfig` does to loggers that it does not know."""
    for name in ("error_log", "access_log"):
        logger = getattr(log, name, None)
        if isinstance(logger, logging.Logger):
            logger.disabled = False


def find_class(config: Config) -> Any:
    """The class that logs, as gunicorn finds it: with `statsd_host` the one that counts."""
    given = config.logger_class
    if not isinstance(given, str):
        return given
    if given in _OURS or given in _COUNTING:
        from oxicorn.compat.glogging import Logger
        from oxicorn.compat.statsd import Statsd

        counts = given in _COUNTING or (given != _OURS[1] and config.statsd_host)
        return Statsd if counts else Logger
    module, _, name = given.replace(":", ".").rpartition(".")
    if not module:
        raise OperatorError(f"logger_class = {given!r}: expected a dotted name.")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise OperatorError(f"logger_class = {given!r} cannot be imported: {error}.") from error
    except Exception as error:
        raise OperatorError(f"logger_class = {given!r} failed:\n{traceback_of(error)}") from error


def _made(config: Config) -> Any:
    made_by = find_class(config)
    try:
        if hasattr(made_by, "install"):
            made_by.install()
        return made_by(Cfg(config))
    except Exception as error:
        raise OperatorError(_complaint(error)) from error


def _complaint(error: Exception) -> str:
    """A `RuntimeError` is how a `Logger` says what is wrong with the configuration."""
    said = str(error) if isinstance(error, RuntimeError) else traceback_of(error)
    return f"The log cannot be set up: {said.removeprefix('Error: ')}"


def _unusable(config: Config, log: object) -> Any:
    raise OperatorError(f"logger_class = {config.logger_class!r} makes {log!r}, which cannot log.")


def _counts(log: Any) -> bool:
    """Whether it sends numbers of requests itself; also if it is an installed gunicorn's."""
    known = ("oxicorn.compat.statsd", "gunicorn.instrument.statsd")
    return any(base.__module__ in known for base in type(log).__mro__)


def _level_of(log: Any) -> str:
    """The least of what it writes; all, if that is not known."""
    logger = getattr(log, "error_log", None)
    if not isinstance(logger, logging.Logger):
        return "debug"
    least = logger.getEffectiveLevel()
    above = ("debug", "info", "warning", "error", "critical")
    return next((name for name in above if getattr(logging, name.upper()) >= least), "critical")
