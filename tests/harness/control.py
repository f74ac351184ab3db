"""The server's control socket, asked directly, or by a program.

A question is a line of words, its answer a line of JSON.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

from .wait import PATIENCE


class Said(NamedTuple):
    """What a program said, and how it ended."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        """What it said on standard output."""
        return json.loads(self.out)


def client(
    *words: str, at: Path | None, program: str = "oxicorn.ctl", **environ: str
) -> subprocess.Popen[str]:
    """A program that asks over the control socket, without a terminal."""
    where = ["--socket", str(at)] if at else []
    return subprocess.Popen(
        [sys.executable, "-m", program, *where, *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environ},
    )


def said(process: subprocess.Popen[str]) -> Said:
    """The same, when it has ended."""
    out, err = process.communicate(timeout=PATIENCE)
    return Said(process.returncode, out, err)


def status(path: Path) -> dict[str, Any]:
    """What the arbiter says of itself and its workers: all of one moment."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(PATIENCE)
        client.connect(str(path))
        client.sendall(b"oxicorn/1 status\n")
        with client.makefile("rb") as lines:
            found: dict[str, Any] = json.loads(lines.readline())
    assert found["ok"], found
    return found
