"""The log of the hooks' objects: gunicorn's `Logger`, into the server's own error log.

Not for requests: the access log is native. Where Python writes the logs, there is a real `Logger`
(`glogging`) in its place.
"""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import Mapping
from types import TracebackType
from typing import Any, NoReturn

from oxicorn import _native
from oxicorn.compat.absent import missing

__all__ = ["Log"]

_LEVELS = {
    logging.DEBUG: "debug",
    logging.INFO: "info",
    logging.WARNING: "warning",
    logging.ERROR: "error",
    logging.CRITICAL: "critical",
}
_INSTEAD = {
    "access": "the server writes the access log itself; see access_log_format",
    "access_log": "the server writes the access log itself; see accesslog",
    "atoms": "see access_log_format",
    "logfile": "see errorlog",
    "setup": "the log follows the configuration",
}

ExcInfo = bool | BaseException | tuple[Any, Any, TracebackType | None] | None


class Log:
    """Messages with `%` arguments, as `logging` takes them."""

    def __init__(self, level: str = "debug") -> None:
        """What is said to the logger of gunicorn's name goes to the error log as well.

        Applications look there for handlers and for the level, which is `level`.
        """
        self.error_log = logging.getLogger("gunicorn.error")
        self.error_log.setLevel(getattr(logging, level.upper()))
        if not any(isinstance(handler, Forward) for handler in self.error_log.handlers):
            self.error_log.addHandler(Forward())
            self.error_log.propagate = False

    def critical(self, message: object, *arguments: object, **how: Any) -> None:
        """Writes a message."""
        _write("critical", message, arguments, **how)

    def error(self, message: object, *arguments: object, **how: Any) -> None:
        """Writes a message."""
        _write("error", message, arguments, **how)

    def warning(self, message: object, *arguments: object, **how: Any) -> None:
        """Writes a message."""
        _write("warning", message, arguments, **how)

    def info(self, message: object, *arguments: object, **how: Any) -> None:
        """Writes a message."""
        _write("info", message, arguments, **how)

    def debug(self, message: object, *arguments: object, **how: Any) -> None:
        """Writes a message."""
        _write("debug", message, arguments, **how)

    def exception(self, message: object, *arguments: object, **how: Any) -> None:
        """Writes an error, with the traceback of the exception that is being handled."""
        _write("error", message, arguments, **{"exc_info": True, **how})

    def log(self, level: int | str, message: object, *arguments: object, **how: Any) -> None:
        """Writes a message of a level of `logging`, or of that name."""
        _write(_name_of(level), message, arguments, **how)

    def reopen_files(self) -> None:
        """Opens the logs of this process anew, after a rotation."""
        _native.reopen_logs()

    def close_on_exec(self) -> None:
        """They are."""

    def __getattr__(self, name: str) -> NoReturn:
        missing(self, name, _INSTEAD)


class Forward(logging.Handler):
    """From a logger of Python's to the error log, which adds time and process itself."""

    def emit(self, record: logging.LogRecord) -> None:
        """Writes one record."""
        _native.log(_name_of(record.levelno), self.format(record))


def _name_of(level: int | str) -> str:
    if isinstance(level, str):
        return level.lower() if level.lower() in _LEVELS.values() else "info"
    known = [name for number, name in _LEVELS.items() if number <= level]
    return known[-1] if known else "debug"


def _write(
    level: str,
    message: object,
    arguments: tuple[object, ...],
    exc_info: ExcInfo = None,
    stack_info: bool = False,
    extra: Mapping[str, object] | None = None,
    **_: object,
) -> None:
    if extra:
        _send(extra)
    if not message and extra:
        return
    text = str(message)
    if arguments:
        first = arguments[0]
        named = len(arguments) == 1 and isinstance(first, Mapping) and first
        text = text % (first if named else arguments)
    if stack_info:
        text += "\nStack (most recent call last):\n" + "".join(traceback.format_stack()).rstrip()
    if error := _error_of(exc_info):
        text += "\n" + "".join(traceback.format_exception(error)).rstrip()
    _native.log(level, text)


def _send(extra: Mapping[str, object]) -> None:
    """The number that a message may bring, as gunicorn's `Statsd` has it."""
    metric, value, kind = (extra.get(key) for key in ("metric", "value", "mtype"))
    if metric and value is not None:
        _native.send_metric(str(metric), str(value), str(kind))


def _error_of(exc_info: ExcInfo) -> BaseException | None:
    match exc_info:
        case BaseException():
            return exc_info
        case (_, BaseException() as error, _):
            return error
        case _:
            return sys.exc_info()[1] if exc_info else None
