"""Event loops that an operator may name, right and wrong ones."""

from __future__ import annotations

import asyncio
from typing import NoReturn


class Own(asyncio.SelectorEventLoop):
    """As a class."""


def new_event_loop() -> asyncio.AbstractEventLoop:
    """As a function."""
    return Own()


def new_list() -> list[int]:
    """What makes no loop."""
    return []


def fail() -> NoReturn:
    """What raises."""
    raise LookupError("the loop is sold out")


NUMBER = 7
