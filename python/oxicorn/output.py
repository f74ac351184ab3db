"""`capture_output`: what the application prints goes to the error log's file.

Done in the arbiter and again in each new worker, so that after a rotation of the log new workers
print to the new file.
"""

from __future__ import annotations

import os
import sys
from io import TextIOWrapper

__all__ = ["capture"]


def capture(errorlog: str) -> None:
    """Points standard output and error at the file, line by line; `-` is standard error already."""
    if not errorlog or errorlog == "-":
        return
    with open(errorlog, "ab") as file:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
            os.dup2(file.fileno(), stream.fileno())
            if isinstance(stream, TextIOWrapper):
                stream.reconfigure(line_buffering=True)
