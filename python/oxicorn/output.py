"""Standard output and error: where they lead, and when nobody reads them any more.

`oxicornctl` uses it too, so nothing of the server is imported here.
"""

from __future__ import annotations

import os
import sys
from io import TextIOWrapper

__all__ = ["capture", "let_go"]


def capture(errorlog: str) -> None:
    """`capture_output`: what the application prints goes to the error log's file, line by line.

    `-` is standard error already. Done in the arbiter and again in each new worker, so that after a
    rotation of the log new workers print to the new file.
    """
    if not errorlog or errorlog == "-":
        return
    with open(errorlog, "ab") as file:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
            os.dup2(file.fileno(), stream.fileno())
            if isinstance(stream, TextIOWrapper):
                stream.reconfigure(line_buffering=True)


def let_go() -> None:
    """After a `BrokenPipeError`: who read has seen enough, and Python must not complain."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
