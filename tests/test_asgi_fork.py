"""What an ASGI application forks is not a server: its parent's connections are not its own."""

from __future__ import annotations

import pytest

from conftest import Serve
from harness.client import message
from harness.server import Server
from harness.wait import until

APP = "apps.asgi_probe:application"
ENDS = {"returns": 0, "exits": 7, "raises": 1, "answers": 1, "listens": 5}


@pytest.fixture(params=["asyncio", "uvloop"])
def server(request: pytest.FixtureRequest, serve: Serve) -> Server:
    return serve(APP, "--loop", request.param, "--keep-alive", "60")


@pytest.mark.parametrize("how", ENDS)
@pytest.mark.parametrize("late", ["", "1"])
def test_a_forked_process_ends_where_the_view_does(server: Server, how: str, late: str) -> None:
    with server.connect() as connection, server.connect() as idle:
        assert idle.request("/").status == 200
        for _ in range(2):
            forked = connection.request(f"/fork-late?how={how}&late={late}")
            assert (forked.status, forked.text) == (200, str(ENDS[how]))
        assert connection.request("/").text == "Hello, world!"
        assert idle.request("/").text == "Hello, world!"
    assert "Error handling request" not in server.log


@pytest.mark.parametrize("late", ["", "1"])
def test_a_forked_process_that_goes_on_serves_nobody(server: Server, late: str) -> None:
    """It runs the loop of its parent, on the same descriptors, until it is to serve."""
    with server.connect() as connection, server.connect() as other:
        connection.send(message(f"/fork-late?how=goes-on&late={late}"))
        for number in range(50):
            scope = other.request(f"/echo?{number}", "POST", body=b"%d" % number)
            assert scope.text == str(number)
            assert server.request("/").text == "Hello, world!"
        assert connection.receive().text == "0"
        assert connection.request("/").text == "Hello, world!"
    until(lambda: len(server.family()) == 2, "the child has ended")
    assert "Error handling request" not in server.log
