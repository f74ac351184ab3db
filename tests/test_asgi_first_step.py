"""What an application finds in the first step of a request is what it finds under uvicorn."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from apps.first_step import PROBES
from conftest import Serve
from harness.client import Connection
from harness.server import Server
from harness.uvicorn import Uvicorn

APP = "apps.first_step:application"


@pytest.fixture(scope="module")
def uvicorn(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Uvicorn]:
    server = Uvicorn(tmp_path_factory.mktemp("uvicorn"), APP)
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
