"""`spew`: every line of Python that is executed, as gunicorn prints them."""

from __future__ import annotations

import linecache
import re
import sys
import threading
from collections.abc import Container
from types import FrameType
from typing import Any

__all__ = ["Spew", "spew", "unspew"]

_WORDS = re.compile(r"\W+")


class Spew:
    """A trace function: prints each line, and the values of the names in it if they are wanted."""

    def __init__(self, trace_names: Container[str] | None = None, show_values: bool = True) -> None:
        """`trace_names`: the modules that are of interest; None for all."""
        self.trace_names = trace_names
        self.show_values = show_values

    def __call__(self, frame: FrameType, event: str, arg: Any) -> Spew:
        """Called by the interpreter."""
        if event == "line":
            self._print(frame)
        return self

    def _print(self, frame: FrameType) -> None:
        name = frame.f_globals.get("__name__", "[unknown]")
        if self.trace_names is not None and name not in self.trace_names:
            return
        line = linecache.getline(frame.f_code.co_filename, frame.f_lineno, frame.f_globals)
        print(f"{name}:{frame.f_lineno}: {line.rstrip()}")
        if self.show_values and (values := _values(frame, line)):
            print(f"\t{' '.join(values)}")


def spew(trace_names: Container[str] | None = None, show_values: bool = False) -> None:
    """Prints from now on, in this thread and in those that it starts."""
    trace = Spew(trace_names, show_values)
    threading.settrace(trace)
    sys.settrace(trace)


def unspew() -> None:
    """Prints no more."""
    threading.settrace(None)
    sys.settrace(None)


def _values(frame: FrameType, line: str) -> list[str]:
    """The names of the line that have a value now."""
    places = (frame.f_globals, frame.f_locals)
    words = _WORDS.split(line)
    return [f"{word}={place[word]!r}" for word in words for place in places if word in place]
