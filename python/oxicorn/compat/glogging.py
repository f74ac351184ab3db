"""gunicorn's `Logger`: both logs through Python's `logging`.

It is there for logger classes that derive from it, and for `logconfig`, `logconfig_dict` and
`logconfig_json`; without those the native log is in its place. The loggers are `gunicorn.error` and
`gunicorn.access`.

`capture_output` is the server's own affair.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import fcntl
import json
import logging
import logging.handlers
import os
import socket
import sys
import threading
import time
import traceback
from collections.abc import Iterable, Mapping
from datetime import timedelta
from logging.config import dictConfig, fileConfig
from typing import Any, ClassVar, TextIO

__all__ = [
    "CONFIG_DEFAULTS",
    "SYSLOG_FACILITIES",
    "Logger",
    "SafeAtoms",
    "loggers",
    "parse_syslog_address",
]

SYSLOG_FACILITIES = {
    "auth": 4,
    "authpriv": 10,
    "cron": 9,
    "daemon": 3,
    "ftp": 11,
    "kern": 0,
    "lpr": 6,
    "mail": 2,
    "news": 7,
    "security": 4,
    "syslog": 5,
    "user": 1,
    "uucp": 8,
    **{f"local{number}": 16 + number for number in range(8)},
}
"""syslog's numbers for the names of `syslog_facility`."""

CONFIG_DEFAULTS: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "root": {"level": "INFO", "handlers": ["console"]},
    "loggers": {
        "gunicorn.error": {
            "level": "INFO",
            "handlers": ["error_console"],
            "propagate": True,
            "qualname": "gunicorn.error",
        },
        "gunicorn.access": {
            "level": "INFO",
            "handlers": ["console"],
            "propagate": True,
            "qualname": "gunicorn.access",
        },
    },
    "handlers": {
        "console": {
            "class": "logging.StreamHandler",
            "formatter": "generic",
            "stream": "ext://sys.stdout",
        },
        "error_console": {
            "class": "logging.StreamHandler",
            "formatter": "generic",
            "stream": "ext://sys.stderr",
        },
    },
    "formatters": {
        "generic": {
            "format": "%(asctime)s [%(process)d] [%(levelname)s] %(message)s",
            "datefmt": "[%Y-%m-%d %H:%M:%S %z]",
            "class": "logging.Formatter",
        }
    },
}
"""What a dictionary for `dictConfig` is laid over, key by key of the first level."""

_UNUSABLE = (AttributeError, ImportError, TypeError, ValueError)


def loggers() -> list[logging.Logger]:
    """All loggers that there are."""
    return [logging.getLogger(name) for name in list(logging.root.manager.loggerDict)]


class SafeAtoms(dict[str, Any]):
    """Atoms that cannot end a quoted field; those that there are not are dashes."""

    def __init__(self, atoms: Mapping[str, Any]) -> None:
        """Quotes in values get a backslash."""
        for key, value in atoms.items():
            self[key] = value.replace('"', '\\"') if isinstance(value, str) else value

    def __getitem__(self, key: str) -> Any:
        return self.get(key.lower() if key.startswith("{") else key, "-")


Place = str | tuple[str, int]


def parse_syslog_address(addr: str) -> tuple[socket.SocketKind | None, Place]:
    """The kind of socket, if it was said, and the path, or host and port."""
    scheme, found, rest = addr.partition("://")
    if not found or scheme not in ("unix", "udp", "tcp"):
        raise RuntimeError("invalid syslog address")
    if scheme == "unix":
        path, _, said = rest.partition("#")
        return (socket.SOCK_DGRAM if said == "dgram" else None), path
    kind = socket.SOCK_DGRAM if scheme == "udp" else socket.SOCK_STREAM
    if rest.startswith("[") and "]" in rest:
        host, _, tail = rest[1:].partition("]")
    else:
        host, colon, tail = rest.partition(":")
        tail = colon + tail
    port = tail.partition(":")[2] or "514"
    if not port.isdigit():
        raise RuntimeError(f"{port!r} is not a valid port number.")
    return kind, (host.lower() or "localhost", int(port))


class Logger:
    """Both logs. Subclasses override what they like; the server calls these methods by name."""

    LOG_LEVELS: ClassVar[dict[str, int]] = {
        "critical": logging.CRITICAL,
        "error": logging.ERROR,
        "warning": logging.WARNING,
        "info": logging.INFO,
        "debug": logging.DEBUG,
    }
    loglevel = logging.INFO

    error_fmt = "%(asctime)s [%(process)d] [%(levelname)s] %(message)s"
    datefmt = "[%Y-%m-%d %H:%M:%S %z]"
    access_fmt = "%(message)s"
    syslog_fmt = "[%(process)d] %(message)s"

    atoms_wrapper_class: Any = SafeAtoms

    def __init__(self, cfg: Any) -> None:
        """`cfg`: all settings."""
        self.error_log = logging.getLogger("gunicorn.error")
        self.error_log.propagate = False
        self.access_log = logging.getLogger("gunicorn.access")
        self.access_log.propagate = False
        self.error_handlers: list[logging.Handler] = []
        self.access_handlers: list[logging.Handler] = []
        self.logfile: TextIO | None = None
        self.lock = threading.Lock()
        self.cfg = cfg
        self.setup(cfg)

    def setup(self, cfg: Any) -> None:
        """Makes the loggers what `cfg` says; again for each restart."""
        self.cfg = cfg
        self._access_log_enabled = self._is_access_log_wanted()
        self.loglevel = self.LOG_LEVELS.get(cfg.loglevel.lower(), logging.INFO)
        self.error_log.setLevel(self.loglevel)
        self.access_log.setLevel(logging.INFO)
        for log in (self.error_log, self.access_log):
            for handler in [one for one in log.handlers if getattr(one, "_gunicorn", False)]:
                log.removeHandler(handler)
        error = logging.Formatter(self.error_fmt, self.datefmt)
        self._set_handler(self.error_log, cfg.errorlog, error)
        if cfg.accesslog is not None:
            access = logging.Formatter(self.access_fmt)
            self._set_handler(self.access_log, cfg.accesslog, access, sys.stdout)
        if cfg.syslog:
            self._set_syslog_handler(self.error_log, cfg, self.syslog_fmt, "error")
            if not cfg.disable_redirect_access_to_syslog:
                self._set_syslog_handler(self.access_log, cfg, self.syslog_fmt, "access")
        self._configure(cfg)

    def _configure(self, cfg: Any) -> None:
        """As one of the three configurations of Python's `logging` says."""
        match configuration(cfg):
            case str() as path:
                known = {"__file__": path, "here": os.path.dirname(path)}
                defaults: Any = {**CONFIG_DEFAULTS, **known}
                fileConfig(path, defaults=defaults, disable_existing_loggers=False)
            case Mapping() as given:
                _apply(given)

    # messages

    def critical(self, msg: object, *args: object, **kwargs: Any) -> None:
        """Logs a message."""
        self.error_log.critical(msg, *args, **kwargs)

    def error(self, msg: object, *args: object, **kwargs: Any) -> None:
        """Logs a message."""
        self.error_log.error(msg, *args, **kwargs)

    def warning(self, msg: object, *args: object, **kwargs: Any) -> None:
        """Logs a message."""
        self.error_log.warning(msg, *args, **kwargs)

    def info(self, msg: object, *args: object, **kwargs: Any) -> None:
        """Logs a message."""
        self.error_log.info(msg, *args, **kwargs)

    def debug(self, msg: object, *args: object, **kwargs: Any) -> None:
        """Logs a message."""
        self.error_log.debug(msg, *args, **kwargs)

    def exception(self, msg: object, *args: object, **kwargs: Any) -> None:
        """Logs an error with the traceback of the exception that is being handled."""
        self.error_log.exception(msg, *args, **kwargs)

    def log(self, lvl: int | str, msg: object, *args: object, **kwargs: Any) -> None:
        """Logs a message of a level of `logging`, or of that name."""
        level = self.LOG_LEVELS.get(lvl.lower(), logging.INFO) if isinstance(lvl, str) else lvl
        self.error_log.log(level, msg, *args, **kwargs)

    # requests

    @property
    def access_log_enabled(self) -> bool:
        """Whether `access` is to be called for each request."""
        try:
            return self._access_log_enabled
        except AttributeError:
            return self._is_access_log_wanted()

    def _is_access_log_wanted(self) -> bool:
        cfg = self.cfg
        to_syslog = cfg.syslog and not cfg.disable_redirect_access_to_syslog
        configured = cfg.logconfig or cfg.logconfig_dict or cfg.logconfig_json
        return bool(cfg.accesslog or configured or to_syslog)

    def access(self, resp: Any, req: Any, environ: Any, request_time: timedelta) -> None:
        """Logs a request that was answered, after `request_time`."""
        if not self.access_log_enabled:
            return
        atoms = self.atoms_wrapper_class(self.atoms(resp, req, environ, request_time))
        try:
            self.access_log.info(self.cfg.access_log_format, atoms)
        except Exception:
            self.error(traceback.format_exc())

    def atoms(self, resp: Any, req: Any, environ: Any, request_time: timedelta) -> dict[str, Any]:
        """What `access_log_format` can name."""
        status = resp.status
        if isinstance(status, str):
            status = status.split(None, 1)[0]
        sent = getattr(resp, "sent", None)
        seconds, micro = request_time.seconds, request_time.microseconds
        line = ("REQUEST_METHOD", "RAW_URI", "SERVER_PROTOCOL")
        return {
            "h": environ.get("REMOTE_ADDR", "-"),
            "l": "-",
            "u": self._get_user(environ) or "-",
            "t": self.now(),
            "r": " ".join(str(environ[key]) for key in line),
            "s": status,
            "m": environ.get("REQUEST_METHOD"),
            "U": environ.get("PATH_INFO"),
            "q": environ.get("QUERY_STRING"),
            "H": environ.get("SERVER_PROTOCOL"),
            "b": "-" if sent is None else str(sent),
            "B": sent,
            "f": environ.get("HTTP_REFERER", "-"),
            "a": environ.get("HTTP_USER_AGENT", "-"),
            "T": seconds,
            "D": seconds * 1_000_000 + micro,
            "M": seconds * 1000 + micro // 1000,
            "L": f"{seconds}.{micro:06}",
            "p": f"<{os.getpid()}>",
            **{f"{{{name.lower()}}}i": value for name, value in _pairs(req)},
            **{f"{{{name.lower()}}}o": value for name, value in _pairs(resp)},
            **{f"{{{name.lower()}}}e": value for name, value in environ.items()},
        }

    def now(self) -> str:
        """The time, as the access log has it."""
        return time.strftime("[%d/%b/%Y:%H:%M:%S %z]")

    def _get_user(self, environ: Mapping[str, Any]) -> str | None:
        """Of Basic authentication."""
        scheme, _, token = (environ.get("HTTP_AUTHORIZATION") or "").partition(" ")
        if scheme.lower() != "basic" or not token:
            return None
        try:
            return base64.b64decode(token.strip().encode()).split(b":", 1)[0].decode()
        except (TypeError, binascii.Error, UnicodeDecodeError) as error:
            self.debug("Couldn't get username: %s", error)
            return None

    # files

    def reopen_files(self) -> None:
        """Opens every file of every logger anew, after a rotation."""
        for handler in _file_handlers():
            with _locked(handler):
                if handler.stream:
                    handler.close()
                    handler.stream = handler._open()

    def close_on_exec(self) -> None:
        """Lets no program that is started have the files of the loggers."""
        for handler in _file_handlers():
            with _locked(handler):
                if handler.stream:
                    number = handler.stream.fileno()
                    flags = fcntl.fcntl(number, fcntl.F_GETFD) | fcntl.FD_CLOEXEC
                    fcntl.fcntl(number, fcntl.F_SETFD, flags)

    def _get_gunicorn_handler(self, log: logging.Logger) -> logging.Handler | None:
        ours = (one for one in log.handlers if getattr(one, "_gunicorn", False))
        return next(ours, None)

    def _set_handler(
        self,
        log: logging.Logger,
        output: str | None,
        fmt: logging.Formatter,
        stream: TextIO | None = None,
    ) -> None:
        if handler := self._get_gunicorn_handler(log):
            log.handlers.remove(handler)
        if output is None:
            return
        to_stream = output == "-"
        handler = logging.StreamHandler(stream) if to_stream else self._file_handler(output)
        handler.setFormatter(fmt)
        _add_ours(log, handler)

    def _file_handler(self, output: str) -> logging.Handler:
        try:
            handler = logging.FileHandler(output)
        except OSError as error:
            raise RuntimeError(f"Error: '{output}' isn't writable [{error!r}]") from error
        # Whoever the workers run as opens it again after a rotation. It may be somebody else's.
        with contextlib.suppress(OSError):
            os.chown(handler.baseFilename, self.cfg.user, self.cfg.group, follow_symlinks=False)
        return handler

    def _set_syslog_handler(self, log: logging.Logger, cfg: Any, fmt: str, name: str) -> None:
        prefix = cfg.syslog_prefix or cfg.proc_name.replace(":", ".")
        try:
            facility = SYSLOG_FACILITIES[cfg.syslog_facility.lower()]
        except KeyError:
            raise RuntimeError("unknown facility name") from None
        kind, place = parse_syslog_address(cfg.syslog_addr)
        handler = logging.handlers.SysLogHandler(place, facility, kind)
        handler.setFormatter(logging.Formatter(f"gunicorn.{prefix}.{name}: {fmt}"))
        _add_ours(log, handler)


def _add_ours(log: logging.Logger, handler: logging.Handler) -> None:
    """Marks it, so that the next `setup` finds it."""
    handler._gunicorn = True  # type: ignore[attr-defined]
    log.addHandler(handler)


def configuration(cfg: Any) -> Mapping[str, Any] | str | None:
    """The strongest one: a dictionary, or the path of a file for `fileConfig`; if it is there."""
    if cfg.logconfig_dict:
        found: Mapping[str, Any] = cfg.logconfig_dict
        return found
    if cfg.logconfig_json:
        return _read_json(cfg.logconfig_json)
    path: str | None = cfg.logconfig or None
    if path and not os.path.exists(path):
        raise RuntimeError(f"Error: log config '{path}' not found")
    return path


def _apply(given: Mapping[str, Any]) -> None:
    try:
        dictConfig({**CONFIG_DEFAULTS, **given})
    except _UNUSABLE as error:
        raise RuntimeError(_reason(error)) from error


def _reason(error: BaseException) -> str:
    """`dictConfig` says the essential in the cause."""
    return f"{error}: {error.__cause__}" if error.__cause__ else str(error)


def _read_json(path: str) -> dict[str, Any]:
    try:
        with open(path, encoding="utf-8") as file:
            found = json.load(file)
    except OSError as error:
        raise RuntimeError(f"Error: log config '{path}' cannot be read: {error}") from error
    except ValueError as error:
        raise RuntimeError(f"Error: log config '{path}' is not JSON: {error}") from error
    if not isinstance(found, dict):
        raise RuntimeError(f"Error: log config '{path}' is not an object.")
    return found


def _pairs(of: Any) -> Iterable[tuple[str, Any]]:
    headers = getattr(of, "headers", of)
    pairs: Iterable[tuple[str, Any]] = headers.items() if hasattr(headers, "items") else headers
    return pairs


def _file_handlers() -> list[logging.FileHandler]:
    handlers = (handler for log in loggers() for handler in log.handlers)
    return [handler for handler in handlers if isinstance(handler, logging.FileHandler)]


class _locked:
    """Nobody writes to the handler meanwhile."""

    def __init__(self, handler: logging.Handler) -> None:
        self._handler = handler

    def __enter__(self) -> None:
        self._handler.acquire()

    def __exit__(self, *_: object) -> None:
        self._handler.release()
