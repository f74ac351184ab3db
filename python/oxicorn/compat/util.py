"""What other programs use of gunicorn's `util`, with the same meaning."""

from __future__ import annotations

import email.utils
import fcntl
import importlib
import inspect
import os
import pwd
import socket
import sys
import time
from contextlib import suppress
from typing import Any

from oxicorn.app import load
from oxicorn.compat.errors import AppImportError
from oxicorn.compat.response import HOP_BY_HOP
from oxicorn.errors import ApplicationError

__all__ = [
    "bytes_to_str",
    "check_is_writable",
    "chown",
    "close",
    "close_on_exec",
    "get_arity",
    "get_username",
    "getcwd",
    "hop_headers",
    "http_date",
    "import_app",
    "is_hoppish",
    "is_ipv6",
    "load_class",
    "parse_address",
    "set_non_blocking",
    "to_bytestring",
    "unlink",
    "warn",
]

hop_headers = HOP_BY_HOP

_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def parse_address(netloc: str, default_port: str = "8000") -> tuple[str, int] | str | int:
    """Host and port, a path, or the number of a descriptor; RuntimeError if it is none."""
    for scheme in ("unix://", "unix:"):
        if netloc.startswith(scheme):
            return netloc.removeprefix(scheme)
    if netloc.startswith("fd://"):
        return _number(netloc.removeprefix("fd://"), "file descriptor")
    place = netloc.removeprefix("tcp://")
    if "[" in place and "]" in place:
        host, _, port = place[place.index("[") + 1 :].partition("]")
        port = port.removeprefix(":")
    else:
        host, _, port = place.partition(":")
    if not place:
        host = "0.0.0.0"
    return host.lower(), _number(port or default_port, "port number")


def _number(text: str, what: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise RuntimeError(f"{text!r} is not a valid {what}.") from None


def import_app(module: str) -> Any:
    """The application that `MODULE[:VARIABLE]` names."""
    try:
        return load(module, lambda _: None).application
    except ApplicationError as error:
        if error.exit_code != AppImportError.exit_code:
            raise
        raise AppImportError(str(error)) from None


def load_class(uri: Any, default: str = "", section: str = "") -> Any:
    """The class that a dotted name names; a class is itself."""
    if inspect.isclass(uri):
        return uri
    module, _, name = str(uri or default).rpartition(".")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise RuntimeError(f"class uri {uri!r} invalid or not found: {error}") from None


def get_arity(function: Any) -> int:
    """How many arguments are taken by position."""
    parameters = inspect.signature(function).parameters.values()
    return sum(parameter.kind in _POSITIONAL for parameter in parameters)


def get_username(uid: int) -> str:
    """The name of a user."""
    return pwd.getpwuid(uid).pw_name


def is_ipv6(address: str) -> bool:
    """Whether a text is an IPv6 address."""
    try:
        socket.inet_pton(socket.AF_INET6, address)
    except (OSError, ValueError):
        return False
    return True


def is_hoppish(header: str) -> bool:
    """Whether it is a field that an application does not send."""
    return header.lower().strip() in hop_headers


def http_date(timestamp: float | None = None) -> str:
    """A time as HTTP writes it; now, if none is given."""
    return email.utils.formatdate(time.time() if timestamp is None else timestamp, usegmt=True)


def getcwd() -> str:
    """The directory, as the shell calls it if that is the same one."""
    name, here = os.environ.get("PWD", ""), os.getcwd()
    with suppress(OSError):
        if os.path.samefile(name, here):
            return name
    return here


def check_is_writable(path: str) -> None:
    """RuntimeError if nothing can be added to the file."""
    try:
        with open(path, "a"):
            pass
    except OSError as error:
        raise RuntimeError(f"Error: '{path}' isn't writable [{error!r}]") from None


def bytes_to_str(data: str | bytes) -> str:
    """Latin-1 bytes as text."""
    return data if isinstance(data, str) else data.decode("latin1")


def to_bytestring(value: str | bytes, encoding: str = "utf8") -> bytes:
    """Text as bytes."""
    if isinstance(value, bytes):
        return value
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is not a string")
    return value.encode(encoding)


def warn(message: str) -> None:
    """Prints a warning for whoever starts the server."""
    print(f"\nWARNING: {message}\n", file=sys.stderr, flush=True)


def close_on_exec(fd: int) -> None:
    """Other programs do not inherit the descriptor."""
    fcntl.fcntl(fd, fcntl.F_SETFD, fcntl.fcntl(fd, fcntl.F_GETFD) | fcntl.FD_CLOEXEC)


def set_non_blocking(fd: int) -> None:
    """Nobody waits for the descriptor."""
    fcntl.fcntl(fd, fcntl.F_SETFL, fcntl.fcntl(fd, fcntl.F_GETFL) | os.O_NONBLOCK)


def close(sock: socket.socket) -> None:
    """Closes a socket that may be closed."""
    with suppress(OSError):
        sock.close()


def chown(path: str, uid: int, gid: int) -> None:
    """Gives a file away."""
    os.chown(path, uid, gid)


def unlink(filename: str) -> None:
    """Removes a file that may not be there."""
    with suppress(FileNotFoundError, NotADirectoryError):
        os.unlink(filename)
