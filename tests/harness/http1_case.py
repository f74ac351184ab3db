"""Runs one case of `spec/http1` against a server that serves `apps.seen`.

Each event that a case expects has a face on the wire: an accepted request is answered with what
the application saw of it, a refused one with its status, a line in the log and the end of the
connection, an incomplete one with that end alone once the client has ended its direction.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote_to_bytes

from .client import Connection
from .server import Server
from .spec import Case, decode
from .wait import until

_REJECTED = re.compile(r"(\d{3}) request rejected: (.*)")
_DETAIL = re.compile(
    r"(path|query|form|host|body|keep-alive|expect|upgrade|dropped):|field |no field "
)
_ODD_FLAGS = {"limit_request_field_size": "--limit-request-field_size"}


@dataclass
class Accepted:
    """A request that reaches the application."""

    line: str
    details: dict[str, str] = field(default_factory=dict)
    fields: list[tuple[str, str]] = field(default_factory=list)
    absent: list[str] = field(default_factory=list)

    @property
    def method(self) -> str:
        return decode(self.line.split(" ")[0]).decode()

    @property
    def keeps_alive(self) -> bool:
        return self.details.get("keep-alive", "yes") == "yes"


@dataclass
class Refused:
    """A request that is answered by the server itself."""

    status: int
    reason: str


Event = Accepted | Refused | None
"""None stands for `incomplete`."""


def options(case: Case) -> list[str]:
    """The command line that gives a server the policy of the case."""
    policy = dict(line.split(": ") for line in case.blocks.get("policy", "").splitlines())
    trusted = policy.pop("trusted", "no") == "yes"
    words = ["--forwarded-allow-ips", "127.0.0.1" if trusted else "192.0.2.1"]
    for name, value in policy.items():
        flag = _ODD_FLAGS.get(name, "--" + name.replace("_", "-"))
        words += [flag] if value == "true" else [flag, value]
    return words


def events(case: Case) -> list[Event]:
    """What the case expects, in order."""
    found: list[Event] = []
    for line in case.blocks["expect"].splitlines():
        last = found[-1] if found else None
        if rejected := _REJECTED.fullmatch(line):
            found.append(Refused(int(rejected[1]), rejected[2]))
        elif line == "incomplete":
            found.append(None)
        elif _DETAIL.match(line) and isinstance(last, Accepted):
            _note(last, line)
        else:
            method, _, rest = line.partition(" ")
            found.append(Accepted(f"{method.upper() if _folds(case) else method} {rest}"))
    return found


def _note(event: Accepted, line: str) -> None:
    key, _, value = line.partition(":")
    value = value.removeprefix(" ")
    if key.startswith("no field "):
        event.absent.append(key.removeprefix("no field "))
    elif key.startswith("field "):
        event.fields.append((key.removeprefix("field "), value))
    else:
        event.details[key] = value


def repeats(case: Case) -> bool:
    """Whether the same bytes can follow again on the connection."""
    return all(isinstance(event, Accepted) and event.keeps_alive for event in events(case))


def _folds(case: Case) -> bool:
    """Whether the application sees methods in upper case."""
    return "casefold_http_method: true" in case.blocks.get("policy", "")


def run(server: Server, case: Case, pieces: Iterator[bytes], times: int = 1) -> None:
    """Sends the pieces and checks every event of the case, `times` over."""
    since = server.mark()
    with server.connect() as connection:
        connection.send_pieces(pieces)
        for event in events(case) * times:
            if isinstance(event, Accepted):
                _check_accepted(connection, event)
            elif isinstance(event, Refused):
                _check_refused(connection, event)
                until(lambda: event.reason in server.log[since:], "the refusal is logged", 10)  # noqa: B023
            else:
                _check_incomplete(connection)


def _check_accepted(connection: Connection, event: Accepted) -> None:
    response = connection.receive(event.method)
    assert response.status == 200, response
    seen = json.loads(response.header("X-Seen") or "")
    for name, value in _wanted(event).items():
        assert seen[name] == value, f"{name}: {seen[name]!r}, not {value!r}"
    _check_fields(event, seen["fields"])
    if not event.keeps_alive:
        assert connection.is_closed()


def _wanted(event: Accepted) -> dict[str, Any]:
    method, _, rest = event.line.partition(" ")
    target, _, version = rest.rpartition(" ")
    path, _, query = decode(target).decode("latin-1").partition("?")
    if "query" in event.details:
        query = decode(event.details["query"]).decode("latin-1")
    if "path" in event.details:
        path = decode(event.details["path"]).decode("latin-1")
    for name, value in event.fields:
        path = path.removeprefix(value) if name.upper() == "SCRIPT_NAME" else path
    body = decode(event.details.get("body", "").strip('"'))
    return {
        "method": decode(method).decode(),
        "target": decode(target).decode("latin-1"),
        "version": version,
        "path": unquote_to_bytes(path).decode("latin-1"),
        "query": query,
        "size": len(body),
        "sha256": hashlib.sha256(body).hexdigest(),
    }


def _check_fields(event: Accepted, seen: dict[str, str]) -> None:
    wanted: dict[str, list[str]] = {}
    for name, value in event.fields:
        key = name.lower().replace("_", "-")
        wanted.setdefault(key, []).append(decode(value).decode("latin-1"))
    if event.details.get("host", "none") != "none":
        wanted["host"] = [event.details["host"]]
    for name, values in wanted.items():
        if len(",".join(values)) < 1024:
            assert seen.get(name) == ",".join(values), f"{name}: {seen.get(name)!r}"
    for name in event.absent:
        if name.replace("_", "-").lower() not in wanted:
            assert name.replace("_", "-").lower() not in seen


def _check_refused(connection: Connection, event: Refused) -> None:
    response = connection.receive()
    assert response.status == event.status, f"{response.status}, not {event.status}"
    assert response.header("Connection") == "close"
    assert connection.is_closed()


def _check_incomplete(connection: Connection) -> None:
    connection.finish_sending()
    assert b" 200 " not in connection.rest()
