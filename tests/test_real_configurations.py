"""Commands and configuration files as projects have them (`configurations/`), written after their
documentation: each runs with no other word changed than `gunicorn`, which becomes `oxicorn`.

What the tests add: ports that are free, loopback instead of all interfaces, and variables of the
environment, as a container's.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from harness import processes
from harness.front import free_port
from harness.server import Server
from harness.wait import until

CONFIGURATIONS = Path(__file__).with_name("configurations")
SUFFIXES = ("", ".py")


@dataclass(frozen=True)
class Real:
    """One configuration, and what is seen when it runs."""

    folder: str
    target: str
    answer: str
    """A pattern of the answer's body."""
    port: str = "8000"
    """What the files say; in `PORT` if they ask for it."""
    command: str = "command"
    env: dict[str, str] = field(default_factory=dict)
    headers: tuple[tuple[str, str], ...] = ()
    workers: int = 1
    logged: tuple[str, ...] = ()
    """Patterns that are in the log while it runs."""
    parting: tuple[str, ...] = ()
    """Patterns that are there when it has ended."""
    files: tuple[str, ...] = ()
    """What there is while it runs."""
    titles: str = ""
    """A pattern of each worker's title."""


PROXIED = (("X-Forwarded-Proto", "https"), ("X-Forwarded-For", "192.0.2.7"))

REAL = [
    Real("django", "/", r'^{"path": "/", "secure": true}$', headers=PROXIED),
    Real(
        "flask",
        "/",
        r'"from":"192.0.2.7","scheme":"https"',
        headers=PROXIED,
        workers=4,
        logged=(r"\[INFO\] greeted by /",),
    ),
    Real(
        "cookiecutter_django",
        "/",
        "cookiecutter",
        port="5000",
        # What Django configures for itself does not silence the server.
        logged=("asked for the index", "static files? copied", "Booting worker"),
        parting=("Worker exiting", "Shutting down: Master"),
    ),
    Real(
        "cookiecutter_django",
        "/",
        "cookiecutter",
        port="5000",
        command="command_asynchronous",
        logged=("asked for the index", "Using worker: asgi"),
        parting=("Shutting down: Master",),
    ),
    Real(
        "superset",
        "/explore?" + "q" * 6000,
        '"length of the query":6000',
        port="8088",
        env={"SUPERSET_PORT": "{port}", "SERVER_WORKER_AMOUNT": "2", "SUPERSET_BIND_ADDRESS": ""},
        workers=2,
        logged=("Using worker: gthread", r'"GET /explore\?q+ HTTP/1.1" 200'),
    ),
    Real(
        "superset",
        "/health",
        "^OK$",
        port="8088",
        env={
            "SUPERSET_PORT": "{port}",
            "SERVER_WORKER_CLASS": "gevent",
            "WORKER_MAX_REQUESTS": "9",
        },
        logged=("Using worker: gevent",),
    ),
    Real(
        "airflow",
        "/health",
        '"status":"healthy"',
        port="8080",
        workers=4,
        logged=("providers are loaded before the fork", r'"GET /health HTTP/1.1" 200 \d+ "-" "-"'),
        files=("airflow-webserver.pid",),
        titles=r"^\[ready\] .*worker \[airflow-webserver\]",
    ),
    Real(
        "mozilla",
        "/",
        "^mozilla$",
        env={"PORT": "{port}"},
        workers=2,
        logged=(r"Worker spawned \(pid: \d+\)", '"GET / HTTP/1.1" 200 7'),
    ),
    Real(
        "readthedocs",
        "/",
        "^docs$",
        workers=3,
        logged=("served with readthedocs.settings",),
    ),
    Real(
        "docker",
        "/",
        "^https$",
        port="8080",
        env={"APP_PORT": "{port}"},
        headers=PROXIED,
        workers=3,
        logged=("Using worker: gthread", '"GET / HTTP/1.1" 200 5'),
    ),
    Real(
        "fastapi",
        "/items/7",
        '^{"item":7}$',
        port="80",
        workers=2,
        logged=("the model is loaded", "Using worker: asgi"),
        parting=("the model is released",),
    ),
    Real(
        "fastapi_docker",
        "/",
        "from the image",
        env={"LISTEN_PORT": "{port}", "WEB_CONCURRENCY": "2"},
        workers=2,
        logged=(r'^{"loglevel": "info", "workers": 2', '"GET / HTTP/1.1" 200'),
    ),
    Real(
        "prometheus",
        "/",
        r"my_counter_total [1-9]",
        port="9200",
        env={"PROMETHEUS_MULTIPROC_DIR": "metrics"},
        workers=2,
        parting=(r"its gauges are forgotten: \d+",),
        files=("metrics",),
    ),
    Real(
        "sentry",
        "/cart?id=5",
        "^shop$",
        port="9000",
        env={"GIT_SHA": "abc123"},
        headers=(("X-Request-Id", "r-1"),),
        workers=2,
        logged=(
            *("hook nworkers_changed 2 None", "hook on_starting", "hook when_ready after"),
            *(r"hook post_fork \d+ of \d+", "hook post_worker_init 2 function"),
            r"hook post_request GET /cart\?id=5 200 OK \d+",
            r'127.0.0.1 "GET /cart\?id=5 HTTP/1.1" 200 \d* \d+ "r-1" pid=<\d+>',
        ),
        parting=(
            *("hook worker_exit 1", "hook child_exit False", "hook on_exit", r"hook atexit \d+"),
        ),
        files=("app-initialized",),
    ),
]


def deployed(real: Real, folder: Path, port: int) -> Path:
    """A copy of the files, which listens where nobody else does."""
    place = folder / "deployed"
    shutil.copytree(CONFIGURATIONS / real.folder, place)
    for path in place.rglob("*"):
        if path.is_file() and path.suffix in SUFFIXES:
            text = path.read_text()
            text = text.replace("0.0.0.0", "127.0.0.1")
            path.write_text(re.sub(rf"(127\.0\.0\.1):{real.port}\b", rf"\1:{port}", text))
    return place


@pytest.fixture
def running(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Real, Server]]:
    real: Real = request.param
    port = free_port()
    place = deployed(real, tmp_path, port)
    env = {name: text.format(port=port) for name, text in real.env.items()}
    env.setdefault("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    env.setdefault("GUNICORN_CMD_ARGS", f"--bind 127.0.0.1:{port}")
    env["PYTHONPATH"] = ""
    server = Server(tmp_path / "log", bind=f"127.0.0.1:{port}", env=env, cwd=place)
    command, count = re.subn(
        r"(?m)^((?:exec |nice -n 2 )?)gunicorn ", r"\1oxicorn ", (place / real.command).read_text()
    )
    assert count == 1
    server.command = ["sh", "-c", command]
    server.launch()
    try:
        yield real, server
    finally:
        server.destroy()


def arbiter(server: Server) -> int:
    """The server's own process; before it there may be a shell."""
    line = server.wait_for_log(r"Listening at: http://127\.0\.0\.1:\d+ \((\d+)\)")
    return int(line.group(1))


@pytest.mark.parametrize(
    "running",
    REAL,
    indirect=True,
    ids=[f"{real.folder}-{number}" for number, real in enumerate(REAL)],
)
def test_a_real_configuration_runs_unchanged(running: tuple[Real, Server]) -> None:
    real, server = running
    pid = arbiter(server)
    until(lambda: len(_workers(pid)) == real.workers, f"{real.workers} workers")
    server.wait_accepting()
    host = "test.example"
    response = server.request(real.target, headers=real.headers, host=host)
    assert response.status == 200, response
    assert re.search(real.answer, response.text), response.text
    for pattern in real.logged:
        server.wait_for_log(f"(?m){pattern}")
    until(lambda: all(re.search(real.titles, one) for one in _workers(pid)), "the titles are right")
    assert [name for name in real.files if not (server.cwd / name).exists()] == []
    os.kill(pid, signal.SIGTERM)
    assert server.wait() == 0
    assert [one for one in real.parting if not re.search(f"(?m){one}", server.log)] == []
    assert "Traceback" not in server.log


def _workers(pid: int) -> list[str]:
    """The titles of the workers; with `--preload` they are children of the stem."""
    children = [(child, processes.title(child)) for child in processes.children(pid)]
    return [title for _, title in children if not title.startswith("oxicorn: stem")]


def test_the_configurations_are_all_run() -> None:
    folders = {path.name for path in CONFIGURATIONS.iterdir() if path.is_dir()}
    assert folders == {real.folder for real in REAL}
    assert len(folders) >= 10
