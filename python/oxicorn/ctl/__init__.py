"""The command `oxicornctl`: asks a running server for things, over its control socket.

The protocol is the server's (one line of words, answered by one line of JSON); here are only what
the program does (`program`), its command line (`command_line`) and its prompt (`prompt`), finding
and asking the server (`server`), and showing the answer (`show`, `status`). gunicornc's commands,
and what they show, are in `oxicorn.compat.gunicornc`.

Invariant: nothing of the server is imported but its version, and nothing is decided that the
server could decide.
"""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command with `argv` (without the program's name) and returns the exit code."""
    from oxicorn.ctl.program import run

    return run(argv)
