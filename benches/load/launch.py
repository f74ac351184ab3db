"""Starts the peers that are started from Python.

`launch.py SERVER MODULE:NAME PORT WORKERS INTERFACE`.

Each with its documented call and its own defaults, except the number of workers.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable
from typing import Any

HOST = "127.0.0.1"


def load(target: str) -> Any:
    """The application behind `MODULE:NAME`."""
    module, _, name = target.partition(":")
    return getattr(importlib.import_module(module), name)


def bjoern(app: Any, port: int, workers: int, interface: str) -> None:
    """Listen once and fork, as bjoern's README shows."""
    import bjoern as server

    server.listen(app, HOST, port)
    for _ in range(workers - 1):
        if os.fork() == 0:
            break
    server.run()


def fastwsgi(app: Any, port: int, workers: int, interface: str) -> None:
    """Run with its own worker option."""
    import fastwsgi as server

    server.run(app, HOST, port, workers=workers)


def fastpysgi(app: Any, port: int, workers: int, interface: str) -> None:
    """Run with its own worker option; it sees the interface by itself."""
    import fastpysgi as server

    server.run(app, HOST, port, workers=workers)


def freastal(app: Any, port: int, workers: int, interface: str) -> None:
    """Run with its own worker option."""
    import freastal as server

    serve = server.serve_asgi if interface == "asgi" else server.serve
    serve(app, host=HOST, port=port, workers=workers)


SERVERS: dict[str, Callable[[Any, int, int, str], None]] = {
    "bjoern": bjoern,
    "fastwsgi": fastwsgi,
    "fastpysgi": fastpysgi,
    "freastal": freastal,
}


def main(arguments: list[str]) -> None:
    """Start the named server; returns when it ends."""
    name, target, port, workers, interface = arguments
    SERVERS[name](load(target), int(port), int(workers), interface)


if __name__ == "__main__":
    main(sys.argv[1:])
