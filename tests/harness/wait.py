"""Waiting for a thing, with a deadline: the only way tests let time pass."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

PATIENCE = 30.0
"""Seconds until waiting is given up. Generous: a busy machine must never fail a test."""

T = TypeVar("T")

_STEP = 0.01
_pause = threading.Event()


def until(condition: Callable[[], T], what: str, seconds: float = PATIENCE) -> T:
    """The first true value of `condition`; an assertion error naming `what` after `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:g} s: {what}")
        _pause.wait(_STEP)


def throughout(condition: Callable[[], bool], what: str, seconds: float) -> None:
    """Checks that `condition` holds from now until `seconds` have passed."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        assert condition(), f"no longer true: {what}"
        _pause.wait(_STEP)
