"""What an application finds in the first step of a request is what it finds under uvicorn."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from apps.first_step import PROBES
from conftest import Serve
from harness.client import Connection
from harness.server import TESTS, Server
from harness.wait import until

APP = "apps.first_step:application"


class Uvicorn:
    """A uvicorn that serves the same application."""

    def __init__(self, folder: Path):
        self._log = folder / "uvicorn.log"
        command = [sys.executable, "-m", "uvicorn", "--port", "0", "--loop", "asyncio", APP]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                command, cwd=TESTS, stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )

    @property
    def port(self) -> int:
        """Where it listens."""
        pattern = r"running on http://127\.0\.0\.1:(\d+)"
        found = until(lambda: re.search(pattern, self._log.read_text()), "uvicorn serves")
        assert found is not None
        return int(found.group(1))

    def stop(self) -> None:
        """Ends it."""
        os.kill(self._process.pid, signal.SIGTERM)
        self._process.wait(30)


@pytest.fixture(scope="module")
def uvicorn(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Uvicorn]:
    server = Uvicorn(tmp_path_factory.mktemp("uvicorn"))
    yield server
    server.stop()


@pytest.fixture(params=["asyncio", "uvloop"])
def server(request: pytest.FixtureRequest, shared: Serve) -> Server:
    return shared(APP, "--asgi-loop", request.param)


def answer(port: int, target: str) -> Any:
    with Connection(("127.0.0.1", port)) as connection:
        fields = [("X-Name", "value"), ("COOKIE", "a=b")]
        return connection.request(target, headers=fields).json()


@pytest.mark.parametrize("path", PROBES)
def test_an_application_cannot_tell_the_servers_apart(
    server: Server, uvicorn: Uvicorn, path: str
) -> None:
    target = f"{path}?a=%20b" if path == "/scope" else path
    for _ in range(2):
        ours, theirs = answer(server.port, target), answer(uvicorn.port, target)
        assert ours == theirs
    assert "Error" not in server.log
