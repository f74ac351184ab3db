"""What the commands do when who reads their output has seen enough (`oxicornctl status | head`).

Imported by `oxicornctl` too, so nothing of the server is imported here.
"""

from __future__ import annotations

import os
import sys

__all__ = ["let_go"]


def let_go() -> None:
    """After a `BrokenPipeError`: Python must not complain when it flushes standard output."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
