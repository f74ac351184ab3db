"""The running server: finding its control socket, and asking it one thing.

Invariant: each question is a connection of its own, which is closed when it is answered.
"""

from __future__ import annotations

import contextlib
import glob
import json
import os
import socket
import struct
from collections.abc import Sequence
from typing import Any

from oxicorn.ctl.errors import LOST, UNDER_WAY, UNREACHABLE, Failure

__all__ = ["SYSTEM", "ask", "find"]

SYSTEM = "/run/oxicorn"
"""Where the servers of the system have their sockets."""
_PROTOCOL = "oxicorn/1"
_PATTERN = "oxicorn-*.ctl"
_PATIENCE = 10.0
"""Seconds for an answer that does not wait for the end of a restart."""


# Finding the server.


def find(path: str | None) -> str:
    """The path of the socket of a server that can be asked: this one, or the only one there is."""
    found, connection = _connect(path)
    connection.close()
    return found


def _connect(path: str | None) -> tuple[str, socket.socket]:
    if path is not None:
        return path, _connect_to(path)
    found: dict[str, socket.socket] = {}
    forbidden: list[str] = []
    for candidate in _candidates():
        try:
            found[candidate] = _open(candidate)
        except PermissionError:
            forbidden.append(candidate)
        except OSError:
            continue
    if len(found) == 1:
        return found.popitem()
    for connection in found.values():
        connection.close()
    raise Failure(_which(list(found), forbidden), UNREACHABLE)


def _candidates() -> list[str]:
    """Where a server makes its control socket if it is not told where."""
    own = os.environ.get("XDG_RUNTIME_DIR", "")
    folders = [own, SYSTEM] if os.path.isabs(own) else [SYSTEM]
    paths = (glob.glob(os.path.join(glob.escape(folder), _PATTERN)) for folder in folders)
    return sorted(path for found in paths for path in found)


def _connect_to(path: str) -> socket.socket:
    try:
        return _open(path)
    except FileNotFoundError:
        advice = "is a server running with this --control-socket?"
        raise Failure(f"there is no {path}: {advice}", UNREACHABLE) from None
    except ConnectionRefusedError:
        raise Failure(f"nobody listens on {path}: its server has ended.", UNREACHABLE) from None
    except PermissionError:
        raise Failure(f"no permission for {path}: {_AS_THE_USER}", UNREACHABLE) from None
    except OSError as error:
        raise Failure(f"cannot connect to {path}: {error}", UNREACHABLE) from None


def _open(path: str) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        # A socket with Python's own timeout does not wait for a place in the server's queue.
        patience = struct.pack("@ll", int(_PATIENCE), 0)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, patience)
        connection.connect(path)
        connection.settimeout(_PATIENCE)
    except BlockingIOError:
        connection.close()
        raise Failure(f"the server of {path} accepts no connection.", LOST) from None
    except BaseException:
        connection.close()
        raise
    return connection


_AS_THE_USER = "run oxicornctl as the user that runs the server, or as root."


def _which(found: list[str], forbidden: list[str]) -> str:
    if found:
        choices = "\n".join(f"  --socket {path}" for path in found)
        return f"more than one server is running; choose one:\n{choices}"
    if forbidden:
        return f"no permission for {', '.join(forbidden)}: {_AS_THE_USER}"
    places = [os.environ.get("XDG_RUNTIME_DIR") or "$XDG_RUNTIME_DIR (not set)", SYSTEM]
    return (
        f"no running server found in {' and '.join(places)}.\n"
        "Start it with --control-socket PATH, and ask with --socket PATH."
    )


# Asking.


def ask(
    path: str | None, words: Sequence[str], waits: bool, timeout: float | None
) -> dict[str, Any]:
    """The answer to one question, which takes its time if it `waits`; `timeout` is in seconds."""
    _, connection = _connect(path)
    with connection:
        line = _asked(connection, words, waits, timeout)
    try:
        answer = json.loads(line)
    except ValueError:
        raise Failure("the server went away before it answered.", LOST) from None
    if not isinstance(answer, dict):
        raise Failure("this is no answer of an Oxicorn server.", LOST)
    return answer


def _asked(
    connection: socket.socket, words: Sequence[str], waits: bool, timeout: float | None
) -> bytes:
    try:
        if waits:
            connection.settimeout(timeout)
        # A server that does not want to hear has said why.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            connection.sendall(f"{' '.join([_PROTOCOL, *words])}\n".encode())
        return _line(connection)
    except TimeoutError:
        if waits:
            text = f"the {words[0]} is not over after {timeout:g} s, and goes on"
            raise Failure(f"{text}: see `oxicornctl status`.", UNDER_WAY) from None
        raise Failure(f"the server gave no answer within {_PATIENCE:g} s.", LOST) from None
    except OSError as error:
        raise Failure(f"the connection to the server was lost: {error}", LOST) from None


def _line(connection: socket.socket) -> bytes:
    line = bytearray()
    while not line.endswith(b"\n"):
        more = connection.recv(65536)
        if not more:
            break
        line += more
    return bytes(line)
