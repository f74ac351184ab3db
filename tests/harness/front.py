"""Real front servers, nginx and HAProxy from the system's packages, with their own folders and
configurations. They listen on loopback and end with the test.
"""

from __future__ import annotations

import grp
import os
import pwd
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from .client import Connection
from .wait import PATIENCE, until

_NGINX = """
user {user} {group};
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
{modules}
events {{ worker_connections 256; }}
{blocks}
"""

_HTTP = """
http {{
    access_log off;
    default_type text/plain;
    client_max_body_size 0;
    client_body_temp_path {folder}/bodies;
    proxy_temp_path {folder}/proxied;
    uwsgi_temp_path {folder}/uwsgi;
    fastcgi_temp_path {folder}/fastcgi;
    scgi_temp_path {folder}/scgi;
    {servers}
}}
"""

_STREAM = "/usr/lib/nginx/modules/ngx_stream_module.so"

_HAPROXY = """
global
    stats timeout 30s
defaults
    timeout connect 10s
    timeout client 60s
    timeout server 60s
{sections}
"""


class Front:
    """One front server that runs."""

    def __init__(self, folder: Path, process: subprocess.Popen[bytes], port: int) -> None:
        self.folder = folder
        self.process = process
        self.port = port

    def connect(self) -> Connection:
        """A new connection to its first port."""
        return Connection(("127.0.0.1", self.port))

    @property
    def log(self) -> str:
        """What it has complained about."""
        path = self.folder / "error.log"
        return path.read_text(errors="replace") if path.exists() else ""


def free_port() -> int:
    """A port of loopback that nobody listens on at the moment."""
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def nginx(folder: Path, port: int, servers: str = "", stream: str = "") -> Iterator[Front]:
    """Runs nginx with these `server` blocks; one of them listens on `port`."""
    with _running(folder, nginx_command(folder, servers, stream), port) as front:
        yield front


def nginx_command(folder: Path, servers: str = "", stream: str = "") -> list[str]:
    """Writes the configuration; the command that runs it."""
    folder.mkdir(parents=True, exist_ok=True)
    modules = f"load_module {_STREAM};" if stream else ""
    blocks = _HTTP.format(folder=folder, servers=servers) if servers else ""
    blocks += f"stream {{ {stream} }}" if stream else ""
    path = folder / "nginx.conf"
    # Ours: the sockets of the test lie in folders that nobody else may enter.
    user, group = pwd.getpwuid(os.getuid()).pw_name, grp.getgrgid(os.getgid()).gr_name
    text = _NGINX.format(folder=folder, modules=modules, blocks=blocks, user=user, group=group)
    path.write_text(text)
    return [program("nginx"), "-p", str(folder), "-c", str(path), "-e", f"{folder}/error.log"]


@contextmanager
def haproxy(folder: Path, port: int, sections: str) -> Iterator[Front]:
    """Runs HAProxy with these sections; one of them binds `port`."""
    with _running(folder, [*haproxy_command(folder, sections), "-db"], port) as front:
        yield front


def haproxy_command(folder: Path, sections: str) -> list[str]:
    """Writes the configuration; the command that runs it."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "haproxy.cfg"
    path.write_text(_HAPROXY.format(sections=sections))
    return [program("haproxy"), "-f", str(path)]


def program(name: str) -> str:
    """The path of a front server; `.ci/run` installs them."""
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    assert found, f"{name} is not installed (Debian: nginx-light libnginx-mod-stream haproxy)"
    return found


@contextmanager
def _running(folder: Path, command: list[str], port: int) -> Iterator[Front]:
    with (folder / "output").open("wb") as output:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
        )
    front = Front(folder, process, port)
    try:
        until(lambda: _listens(front), f"{command[0]} listens")
        yield front
    finally:
        _end(process)


def _listens(front: Front) -> bool:
    said = (front.folder / "output").read_text() + front.log
    assert front.process.poll() is None, f"the front server ended: {said}"
    try:
        front.connect().close()
    except OSError:
        return False
    return True


def _end(process: subprocess.Popen[bytes]) -> None:
    """Nginx's processes end with its master's TERM; whoever does not is killed with its group."""
    process.terminate()
    try:
        process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
