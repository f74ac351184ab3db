"""`oxicorn.compat.glogging` and `statsd`: what gunicorn's modules have, with the same meaning."""

from __future__ import annotations

import inspect
import operator
from datetime import timedelta
from typing import Any

import pytest
from gunicorn import glogging as theirs
from gunicorn.instrument import statsd as their_statsd

from oxicorn.compat import glogging as ours
from oxicorn.compat import statsd as our_statsd


def members(of: Any) -> set[str]:
    """Names that are not private to Python."""
    return {name for name in vars(of) if not name.startswith("__")}


def test_the_loggers_have_every_method_and_attribute() -> None:
    for their, our in ((theirs.Logger, ours.Logger), (their_statsd.Statsd, our_statsd.Statsd)):
        missing = members(their) - members(our) - {"_compute_access_log_enabled"}
        assert not missing
        for name, value in vars(their).items():
            if inspect.isfunction(value) and name != "_compute_access_log_enabled":
                wanted = list(inspect.signature(value).parameters)
                assert list(inspect.signature(getattr(our, name)).parameters) == wanted, name


def test_constants_are_the_same() -> None:
    assert ours.SYSLOG_FACILITIES == theirs.SYSLOG_FACILITIES
    assert ours.CONFIG_DEFAULTS == theirs.CONFIG_DEFAULTS
    for name in ("LOG_LEVELS", "loglevel", "error_fmt", "datefmt", "access_fmt", "syslog_fmt"):
        assert getattr(ours.Logger, name) == getattr(theirs.Logger, name)
    for name in members(their_statsd):
        if name.endswith(("_VAR", "_TYPE")):
            assert getattr(our_statsd, name) == getattr(their_statsd, name)


@pytest.mark.parametrize(
    "address",
    [
        "unix:///dev/log",
        "unix:///dev/log#dgram",
        "unix:///dev/log#stream",
        "udp://localhost",
        "udp://Logs:515",
        "udp://",
        "tcp://[::1]:6514",
        "tcp://[::1]",
        "logs:514",
        "udp://logs:many",
        "http://logs",
    ],
)
def test_addresses_are_read_alike(address: str) -> None:
    assert outcome(ours.parse_syslog_address, address) == outcome(
        theirs.parse_syslog_address, address
    )


def outcome(function: Any, *arguments: Any) -> Any:
    """What it returns or says."""
    try:
        return function(*arguments)
    except RuntimeError as error:
        return f"RuntimeError: {error}"


class Thing:
    """Has what it is given."""

    def __init__(self, **members: Any):
        self.__dict__.update(members)


ENVIRON = {
    "REQUEST_METHOD": "GET",
    "RAW_URI": "/a?b",
    "SERVER_PROTOCOL": "HTTP/1.1",
    "PATH_INFO": "/a",
    "QUERY_STRING": "b",
    "REMOTE_ADDR": "::1",
    "HTTP_USER_AGENT": 'q"q',
}


@pytest.mark.parametrize(
    "authorization",
    [None, "Basic YTpi", "basic YTpi ", "Basic", "Basic !", "Bearer YTpi", "Basic /////w=="],
)
@pytest.mark.parametrize(
    "answer",
    [
        Thing(status="200 OK", sent=5, headers=[("X-A", "1"), ("x-a", "2")]),
        Thing(status=404, headers={"X-A": "1"}),
    ],
)
def test_atoms_are_the_same(authorization: str | None, answer: Thing) -> None:
    environ = {**ENVIRON, **({"HTTP_AUTHORIZATION": authorization} if authorization else {})}
    request = Thing(headers=[("X-In", 'a"b'), ("ACCEPT", "*/*")])
    took = timedelta(seconds=61, microseconds=1_500)

    def made(module: Any) -> dict[str, Any]:
        logger = module.Logger.__new__(module.Logger)
        logger.now = lambda: "now"
        logger.error_log = Thing(debug=lambda *_, **__: None)
        atoms = logger.atoms(answer, request, environ, took)
        return {**atoms, "wrapped": dict(module.SafeAtoms(atoms))}

    assert made(ours) == made(theirs)


def test_atoms_that_there_are_not_are_dashes() -> None:
    for module in (ours, theirs):
        atoms = module.SafeAtoms({"h": 'a"b', "{x-a}i": 1})
        line = operator.mod("%(h)s %({X-A}i)s %({x-b}i)s %(z)s", atoms)
        assert line == 'a\\"b 1 - -'
