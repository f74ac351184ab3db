"""The servers under comparison: how each is started, and what it can do at all.

One row a server. Options are the ones its documentation gives for production with one worker;
where a scenario needs a limit raised (thousands of connections) it is raised for every server that
has it. Access logs are off everywhere.
"""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

LOAD = Path(__file__).resolve().parent
BENCHES = LOAD.parent
APPS = BENCHES / "apps"
VENV = BENCHES / ".venv"
BIN = VENV / "bin"
CONNECTIONS_MAX = 4096
KEEP_ALIVE_SECONDS = 75


@dataclass(frozen=True)
class Launch:
    """What a scenario asks of a server at start."""

    app: str
    port: int
    interface: str = "wsgi"
    threads: int = 1
    workers: int = 1
    many_connections: bool = False
    """Raise connection limits, and keep idle connections for KEEP_ALIVE_SECONDS."""


@dataclass(frozen=True)
class Server:
    """One row of the comparison."""

    name: str
    distribution: str
    """The name of its package, for the version and for the reason it is not installed."""
    command: Callable[[Launch], list[str]]
    interfaces: tuple[str, ...] = ("wsgi",)
    """What its applications are called by; it takes part in the scenarios of these."""
    threads: bool = False
    """Whether one worker can run the application in several threads."""
    keep_alive: bool = True
    workers: bool = True
    runs_python: bool = True
    """False for an engine that answers by itself: it can only serve the hello scenarios."""
    remark: str = ""


def _gunicorn(launch: Launch, kind: str) -> list[str]:
    command = [str(BIN / "gunicorn"), launch.app, "-b", f"127.0.0.1:{launch.port}"]
    command += ["-w", str(launch.workers), "-k", kind, "--no-control-socket"]
    if kind == "gthread":
        command += ["--threads", str(launch.threads)]
    if launch.many_connections:
        command += ["--worker-connections", str(CONNECTIONS_MAX)]
        command += ["--keep-alive", str(KEEP_ALIVE_SECONDS)]
    return command


def _gunicorn_sync(launch: Launch) -> list[str]:
    return _gunicorn(launch, "sync")


def _gunicorn_gthread(launch: Launch) -> list[str]:
    return _gunicorn(launch, "gthread")


def _gunicorn_asgi(launch: Launch) -> list[str]:
    return _gunicorn(launch, "asgi")


def _gunicorn_gevent(launch: Launch) -> list[str]:
    return _gunicorn(launch, "gevent")


def _uvicorn(launch: Launch) -> list[str]:
    command = [str(BIN / "uvicorn"), launch.app, "--port", str(launch.port), "--no-access-log"]
    command += ["--workers", str(launch.workers), "--log-level", "warning"]
    if launch.many_connections:
        command += ["--timeout-keep-alive", str(KEEP_ALIVE_SECONDS)]
    return command


def _hypercorn(launch: Launch) -> list[str]:
    command = [str(BIN / "hypercorn"), "-b", f"127.0.0.1:{launch.port}", "-k", "uvloop"]
    command += ["-w", str(launch.workers)]
    if launch.many_connections:
        command += ["--keep-alive", str(KEEP_ALIVE_SECONDS)]
    return [*command, launch.app]


def _h2corn(launch: Launch) -> list[str]:
    command = [str(BIN / "h2corn"), "-b", f"127.0.0.1:{launch.port}", "--no-access-log"]
    return [*command, "-w", str(launch.workers), launch.app]


def _granian(launch: Launch) -> list[str]:
    command = [str(BIN / "granian"), "--interface", launch.interface, "--http", "1"]
    command += ["--no-ws"] if launch.interface == "wsgi" else []
    command += ["--host", "127.0.0.1", "--port", str(launch.port)]
    command += ["--workers", str(launch.workers), "--blocking-threads", str(launch.threads)]
    if launch.many_connections:
        command += ["--backlog", str(CONNECTIONS_MAX), "--backpressure", str(CONNECTIONS_MAX)]
    return [*command, launch.app]


def _granian_st(launch: Launch) -> list[str]:
    return [*_granian(launch)[:-1], "--runtime-mode", "st", launch.app]


def _uwsgi(launch: Launch, listener: list[str]) -> list[str]:
    command = [str(BIN / "uwsgi"), *listener, "--wsgi", launch.app, "--need-app"]
    command += ["--disable-logging", "--die-on-term", "--processes", str(launch.workers)]
    command += ["--virtualenv", str(VENV)]
    if launch.threads > 1:
        command += ["--enable-threads", "--threads", str(launch.threads)]
    if launch.workers > 1:
        command += ["--master"]
    if launch.many_connections:
        command += ["--listen", "1024"]
    return command


def _uwsgi_socket(launch: Launch) -> list[str]:
    return _uwsgi(launch, ["--http-socket", f"127.0.0.1:{launch.port}"])


def _uwsgi_router(launch: Launch) -> list[str]:
    return _uwsgi(launch, ["--http", f"127.0.0.1:{launch.port}", "--http-keepalive=1"])


def _launched(name: str) -> Callable[[Launch], list[str]]:
    def command(launch: Launch) -> list[str]:
        script = str(LOAD / "launch.py")
        target = [launch.app, str(launch.port), str(launch.workers), launch.interface]
        return [str(BIN / "python"), script, name, *target]

    return command


def _peregrine(launch: Launch) -> list[str]:
    command = [str(BIN / "peregrine"), "--host", "127.0.0.1", "--port", str(launch.port)]
    command += ["--workers", str(launch.workers), "--wsgi-threads", str(launch.threads)]
    command += ["--protocol", launch.interface, "--log-level", "error"]
    if launch.many_connections:
        command += ["--keep-alive", str(KEEP_ALIVE_SECONDS * 1000)]
        command += ["--max-connections", str(CONNECTIONS_MAX)]
    return [*command, launch.app]


BOTH = ("wsgi", "asgi")
ASGI = ("asgi",)
GEVENT = ("gevent",)

PEERS: tuple[Server, ...] = (
    Server("gunicorn-sync", "gunicorn", _gunicorn_sync, keep_alive=False),
    Server("gunicorn-gthread", "gunicorn", _gunicorn_gthread, threads=True),
    Server("granian", "granian", _granian, BOTH, threads=True),
    Server("granian-st", "granian", _granian_st, BOTH, threads=True, remark="--runtime-mode st"),
    Server("uwsgi", "uwsgi", _uwsgi_socket, threads=True, keep_alive=False),
    Server("uwsgi-router", "uwsgi", _uwsgi_router, threads=True, remark="own router process"),
    Server("bjoern", "bjoern", _launched("bjoern")),
    Server("fastwsgi", "fastwsgi", _launched("fastwsgi")),
    Server("fastpysgi", "fastpysgi", _launched("fastpysgi"), BOTH),
    Server("freastal", "freastal", _launched("freastal"), BOTH),
    Server("peregrine", "peregrine-server", _peregrine, BOTH, threads=True),
    Server("uvicorn", "uvicorn", _uvicorn, ASGI, remark="uvloop, httptools"),
    Server("hypercorn", "hypercorn", _hypercorn, ASGI, remark="uvloop"),
    Server("h2corn", "h2corn", _h2corn, ASGI, remark="uvloop"),
    Server("gunicorn-asgi", "gunicorn", _gunicorn_asgi, ASGI),
    Server("gunicorn-gevent", "gunicorn", _gunicorn_gevent, GEVENT),
)


def oxicorn(binary: Path) -> Server:
    """The server of this project, from its console script."""

    def command(launch: Launch) -> list[str]:
        words = [str(binary), launch.app, "-b", f"127.0.0.1:{launch.port}"]
        words += ["-w", str(launch.workers)]
        if launch.threads > 1:
            words += ["--threads", str(launch.threads)]
        if launch.interface == "gevent":
            words += ["-k", "gevent"]
        if launch.many_connections:
            words += ["--keep-alive", str(KEEP_ALIVE_SECONDS)]
        return words

    return Server("oxicorn", "oxicorn", command, (*BOTH, *GEVENT), threads=True)


def ceiling(template: str) -> Server:
    """The same engine answering without Python; `{port}` in the command line is replaced."""

    def command(launch: Launch) -> list[str]:
        return shlex.split(template.format(port=launch.port))

    return Server("ceiling", "", command, runs_python=False, workers=False)


def unavailable(server: Server, oxicorn_binary: Path) -> str:
    """Why a server cannot be run here; empty if it can."""
    if server.name == "ceiling":
        return ""
    if server.name == "oxicorn":
        return "" if oxicorn_binary.exists() else "no binary; build it or give --oxicorn"
    if not VENV.exists():
        return "benches/setup.sh has not been run"
    reason = VENV / "not-installed" / server.distribution
    if reason.exists():
        return "not installed: " + reason.read_text().strip()
    if not version(server):
        return "not installed"
    return ""


def python_of(server: Server, oxicorn_binary: Path) -> Path:
    """The interpreter that runs a server."""
    bin_folder = oxicorn_binary.parent if server.name == "oxicorn" else BIN
    python = bin_folder / "python"
    return python if python.exists() else Path(sys.executable)


def version(server: Server, python: Path = BIN / "python") -> str:
    """The installed version of a server's package; empty if it is not there."""
    if not server.distribution or not python.exists():
        return ""
    code = f"from importlib.metadata import version; print(version({server.distribution!r}))"
    run = subprocess.run([str(python), "-c", code], capture_output=True, text=True, check=False)
    return run.stdout.strip()
