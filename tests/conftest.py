"""Fixtures of the end-to-end tests: servers for a test or a module, and their logs on failure."""

from __future__ import annotations

import resource
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.script import Scripts
from harness.server import RUNNING, Server

Serve = Callable[..., Server]


def pytest_configure() -> None:
    """Allows thousands of connections, and makes a TERM end the servers too."""
    signal.signal(signal.SIGTERM, lambda *_: pytest.exit("terminated", 143))
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    enough = most if most != resource.RLIM_INFINITY and most < 8192 else 8192
    resource.setrlimit(resource.RLIMIT_NOFILE, (enough, most))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Adds what each server has logged during the test to the report of a failure."""
    outcome: Any = yield
    report = outcome.get_result()
    if report.failed:
        for server in RUNNING:
            report.sections.append((f"log of {' '.join(server.command[2:])}", _tail(server)))


def _tail(server: Server) -> str:
    text = server.log[server.shown :] if server.path.exists() else ""
    return text if len(text) < 20_000 else "[...]\n" + text[-20_000:]


@pytest.fixture(autouse=True)
def _forget_earlier_logs() -> None:
    for server in RUNNING:
        server.shown = server.mark()


def _factory(folder: Path) -> Iterator[Serve]:
    made: list[Server] = []

    def serve(app: str = "apps.probe:application", *options: str, **how: Any) -> Server:
        """Starts a server (`launch=True`: without waiting for it)."""
        launch, workers = how.pop("launch", False), how.pop("workers", 1)
        if workers > 1:
            options = ("--workers", str(workers), *options)
        server = Server(folder / f"server-{len(made)}", app, options, **how)
        made.append(server)
        return server.launch() if launch else server.start()

    try:
        yield serve
        for server in made:
            if server.process.poll() is None:
                server.stop()
    finally:
        for server in made:
            server.destroy()


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Starts servers that live as long as the test and must then end cleanly."""
    yield from _factory(tmp_path)


@pytest.fixture
def scripts(tmp_path: Path) -> Iterator[Scripts]:
    """Scripts of the test that start servers."""
    made = Scripts(tmp_path)
    try:
        yield made
    finally:
        made.destroy()


@pytest.fixture(scope="module")
def serve_module(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serve]:
    """As `serve`, for as long as the module's tests."""
    yield from _factory(tmp_path_factory.mktemp("servers"))


@pytest.fixture(scope="module")
def shared(serve_module: Serve) -> Serve:
    """A server for many tests: the same arguments give the same one, as long as it lives."""
    known: dict[tuple[Any, ...], Server] = {}

    def serve(*what: str, **how: Any) -> Server:
        key = (what, *sorted(how.items()))
        if key not in known or known[key].process.poll() is not None:
            known[key] = serve_module(*what, **how)
        return known[key]

    return serve


@pytest.fixture
def probe(shared: Serve) -> Server:
    """One worker with one thread that serves `apps.probe`."""
    return shared()
