"""How a command can fail: what is said, and with which code the program ends."""

from __future__ import annotations

__all__ = ["INTERRUPTED", "REFUSED", "Failure", "Lost", "Refused", "UnderWay", "Unreachable"]

REFUSED = 1
UNREACHABLE = 3
LOST = 4
UNDER_WAY = 5
INTERRUPTED = 130


class Failure(Exception):
    """The message says why, and what to do."""

    code = REFUSED


class Refused(Failure):
    """What was asked for does not happen."""


class Unreachable(Failure):
    """There is no server to ask."""

    code = UNREACHABLE


class Lost(Failure):
    """A server was asked, and there is no answer."""

    code = LOST


class UnderWay(Failure):
    """What was asked for has begun, and was not over in time."""

    code = UNDER_WAY
