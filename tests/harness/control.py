"""The server's control socket, asked directly: a line of words, answered by a line of JSON."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

from .wait import PATIENCE


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
