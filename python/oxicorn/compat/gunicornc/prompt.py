"""The prompt: commands that a person types, one after the other.

Invariant: what goes wrong with one command is said, and the next one can be typed.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable

from oxicorn.ctl.errors import Failure

__all__ = ["converse"]

_PROMPT = "oxicorn> "
_LEAVING = ("quit", "exit", "q")


def converse(greeting: str, perform: Callable[[str], None]) -> None:
    """Asks for commands and performs them, until somebody wants to leave."""
    # What is typed can be edited, and called back.
    with contextlib.suppress(ImportError):
        import readline  # noqa: F401
    print(f"{greeting}\nType 'help' for the commands, 'quit' to leave.\n")
    while (line := _typed()) not in _LEAVING:
        if line:
            _attempt(line, perform)


def _typed() -> str:
    try:
        return input(_PROMPT).strip().lower()
    except EOFError:
        print()
        return _LEAVING[0]


def _attempt(line: str, perform: Callable[[str], None]) -> None:
    try:
        perform(line)
    except Failure as failure:
        print(failure, file=sys.stderr)
    except SystemExit:
        # The parser has shown what `--help` asked for.
        return
