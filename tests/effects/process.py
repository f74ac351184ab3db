"""What the settings of processes, sockets, files and logs do: most of them on one server."""

from __future__ import annotations

import os
import pwd
import re
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from signal import SIGTERM
from typing import Any

from harness import processes
from harness.client import Connection
from harness.folders import open_to_everybody
from harness.server import PROGRAM, Server, clean_environment
from harness.wait import until

from .stage import Stage, act, shows

WHOLE = """
wsgi_app = "site_app:app"
bind = ["unix:{socket}", "127.0.0.1:0"]
backlog = 77
workers = 2
worker_class = "gthread"
threads = 2
keepalive = 1
chdir = "inner"
pythonpath = "lib,other"
raw_env = ["FROM_FILE=yes", "EQUALS=a=b"]
pidfile = "{folder}/a.pid"
umask = 0o27
proc_name = "shop"
accesslog = "{folder}/access.log"
access_log_format = "%(m)s|%(U)s|%(s)s"
errorlog = "{folder}/error.log"
loglevel = "debug"
capture_output = True
control_socket = "{folder}/control"
control_socket_mode = 0o660
tmp_upload_dir = "{folder}/uploads"
limit_request_line = 500
limit_request_fields = 10
limit_request_field_size = 600
header_map = "refuse"
permit_unconventional_http_method = True
permit_unconventional_http_version = True
casefold_http_method = True
forwarded_allow_ips = "10.0.0.0/8"
forwarder_headers = "SCRIPT_NAME,REMOTE_USER"
secure_scheme_headers = {{"X-TLS": "yes"}}
"""


@act("whole")
def whole(stage: Stage, folder: Path) -> Server:
    """Nearly all settings at once, from a file that has another name than usual."""
    for name in ("inner", "lib", "uploads"):
        (folder / name).mkdir()
    (folder / "site_app.py").rename(folder / "inner" / "site_app.py")
    text = WHOLE.format(folder=folder, socket=sockets_of(stage, folder))
    (folder / "named.py").write_text(text)
    server = stage.launch(folder, "workers = 5\n", "-c", "named.py", log="error.log")
    return server.wait_accepting()


def sockets_of(stage: Stage, folder: Path) -> str:
    """The path of a Unix socket, which is short."""
    return str(stage.short / f"{folder.name}.sock")


def facts(server: Server, **how: Any) -> dict[str, Any]:
    told: dict[str, Any] = server.request("/facts", **how).json()
    return told


@contextmanager
def through_unix(stage: Stage, name: str) -> Iterator[Connection]:
    """A connection to the Unix socket of a server, whose peers are trusted."""
    with Connection(sockets_of(stage, stage.folder(name))) as connection:
        yield connection


@shows("config", "wsgi_app", "raw_env")
def named_file(stage: Stage) -> None:
    variables = facts(stage.server("whole"))["variables"]
    assert (variables["FROM_FILE"], variables["EQUALS"]) == ("yes", "a=b")


@shows("bind")
def bind(stage: Stage) -> None:
    assert stage.server("whole").request().status == 200
    with through_unix(stage, "whole") as connection:
        assert connection.request().status == 200


@shows("backlog")
def backlog(stage: Stage) -> None:
    assert facts(stage.server("whole"))["backlogs"] == [77]


@shows("workers")
def workers(stage: Stage) -> None:
    assert len(stage.server("whole").wait_for_workers(2)) == 2
    assert facts(stage.server("whole"))["environ"]["wsgi.multiprocess"] is True


@shows("worker_class")
def worker_class(stage: Stage) -> None:
    stage.server("whole").wait_for_log("Using worker: gthread")


@shows("keepalive")
def keepalive(stage: Stage) -> None:
    with stage.server("whole").connect() as connection:
        assert connection.request().header("Connection") != "close"
        assert not connection.readable(0.3)
        assert connection.readable(5)
        assert connection.is_closed()


@shows("chdir")
def chdir(stage: Stage) -> None:
    assert facts(stage.server("whole"))["cwd"] == str(stage.folder("whole") / "inner")


@shows("pythonpath")
def pythonpath(stage: Stage) -> None:
    found = facts(stage.server("whole"))["path"]
    inner = stage.folder("whole") / "inner"
    assert {str(inner), str(inner / "lib"), str(inner / "other")} <= set(found)


@shows("pidfile")
def pidfile(stage: Stage) -> None:
    server = stage.server("whole")
    assert (stage.folder("whole") / "a.pid").read_text() == f"{server.pid}\n"


@shows("umask")
def umask(stage: Stage) -> None:
    stage.server("whole")
    mode = os.stat(sockets_of(stage, stage.folder("whole"))).st_mode
    assert stat.S_IMODE(mode) == 0o750


@shows("proc_name")
def proc_name(stage: Stage) -> None:
    server = stage.server("whole")
    assert processes.title(server.pid) == f"{PROGRAM}: master [shop]"
    assert facts(server)["title"] == f"{PROGRAM}: worker [shop]"


@shows("default_proc_name")
def default_proc_name(stage: Stage) -> None:
    config = 'wsgi_app = "site_app:app"\nbind = "127.0.0.1:0"\ndefault_proc_name = "fallback"\n'
    server = stage.launch(stage.folder("default-name"), config).wait_accepting()
    assert facts(server)["title"] == f"{PROGRAM}: worker [fallback]"


@shows("accesslog", "access_log_format")
def accesslog(stage: Stage) -> None:
    stage.server("whole").request("/logged", "POST", body=b"")
    log = stage.folder("whole") / "access.log"
    until(lambda: "POST|/logged|200\n" in log.read_text(), "the request is logged")


@shows("errorlog")
def errorlog(stage: Stage) -> None:
    server = stage.server("whole")
    assert "Booting worker" in (stage.folder("whole") / "error.log").read_text()
    assert (server.folder / "server.log").read_text() == ""


@shows("loglevel")
def loglevel(stage: Stage) -> None:
    stage.server("whole").wait_for_log(r"\[DEBUG\]")


@shows("capture_output")
def capture_output(stage: Stage) -> None:
    stage.server("whole").request("/print?captured")
    stage.server("whole").wait_for_log("(?m)^printed captured$")


@shows("control_socket", "control_socket_mode")
def control_socket(stage: Stage) -> None:
    stage.server("whole").wait_for_log("Control socket listening")
    mode = os.stat(stage.folder("whole") / "control").st_mode
    assert stat.S_ISSOCK(mode)
    assert stat.S_IMODE(mode) == 0o660


@shows("tmp_upload_dir")
def tmp_upload_dir(stage: Stage) -> None:
    server, folder = stage.server("whole"), stage.folder("whole") / "uploads"
    with server.connect() as connection:
        connection.send(
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 400000\r\n\r\n" + b"b" * 300_000
        )
        until(lambda: any(_opened(pid, folder) for pid in server.workers()), "it is kept there")


def _opened(pid: int, folder: Path) -> bool:
    """Whether a process has a file of a folder open."""
    found = False
    for one in Path(f"/proc/{pid}/fd").iterdir():
        try:
            found = found or os.readlink(one).startswith(str(folder))
        except FileNotFoundError:
            continue
    return found


# Servers of their own.


@act("plain")
def plain(stage: Stage, folder: Path) -> Server:
    config = (
        'bind = "127.0.0.1:0"\ncontrol_socket_disable = True\npreload_app = True\nworkers = 2\n'
    )
    return stage.launch(folder, config, app="site_app:app").wait_accepting()


@shows("control_socket_disable")
def control_socket_disable(stage: Stage) -> None:
    server = stage.server("plain")
    server.request()
    assert "Control socket" not in server.log
    assert list(Path(server.runtime.name).iterdir()) == []


@shows("preload_app")
def preload_app(stage: Stage) -> None:
    server = stage.server("plain")
    seen: dict[int, int] = {}

    def both_have_answered() -> bool:
        told = facts(server)
        seen[told["pid"]] = told["imported by"]
        return len(seen) == 2

    until(both_have_answered, "each worker has answered")
    [importer] = set(seen.values())
    assert importer not in seen


@shows("daemon", "enable_stdio_inheritance")
def daemon(stage: Stage) -> None:
    """In the background its output goes where it went before, if that is asked for."""
    for inherits in (False, True):
        folder = stage.folder(f"daemon-{inherits}")
        config = f'pidfile = "a.pid"\nbind = "unix:{sockets_of(stage, folder)}"\ndaemon = True\n'
        config += f"enable_stdio_inheritance = {inherits}\n"
        (folder / "gunicorn.conf.py").write_text(config)
        with (folder / "output").open("wb") as output:
            done = subprocess.run(
                [sys.executable, "-m", PROGRAM, "site_app:app"],
                cwd=folder,
                env={**clean_environment(), "XDG_RUNTIME_DIR": str(stage.short)},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                timeout=30,
                check=False,
            )
        assert done.returncode == 0
        _stops_in_the_background(stage, folder)
        assert ("Booting worker" in (folder / "output").read_text()) is inherits


def _stops_in_the_background(stage: Stage, folder: Path) -> None:
    pid = int(until(lambda: _text(folder / "a.pid"), "the pidfile is written"))
    try:
        with until(lambda: _connected(stage, folder), "it accepts") as connection:
            assert connection.request("/print?said").status == 200
        assert processes.session(pid) != os.getsid(0)
    finally:
        os.kill(pid, SIGTERM)
    until(lambda: not processes.alive(pid), "it has stopped")


def _text(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def _connected(stage: Stage, folder: Path) -> Connection | None:
    try:
        return Connection(sockets_of(stage, folder))
    except OSError:
        return None


@shows("user", "group", "initgroups")
def user(stage: Stage) -> None:
    """Root's workers become somebody else; nobody else may ask for it."""
    nobody, folder = pwd.getpwnam("nobody"), stage.folder("nobody")
    open_to_everybody(folder)
    config = 'bind = "127.0.0.1:0"\nuser = "nobody"\ngroup = "nogroup"\ninitgroups = True\n'
    # The interpreter's own files may be closed to them.
    server = stage.launch(
        folder, f"import json, threading\n{config}preload_app = True\n", app="site_app:app"
    )
    if os.geteuid() != 0:
        assert server.wait() == 1
        return
    server.wait_accepting()
    groups = sorted(os.getgrouplist("nobody", nobody.pw_gid))
    assert facts(server)["ids"] == [nobody.pw_uid, nobody.pw_gid, groups]
    assert processes.title(server.pid)


@shows("check_config", "print_config")
def check_config(stage: Stage) -> None:
    folder = stage.folder("checked")
    (folder / "gunicorn.conf.py").write_text("workers = 7\n")
    for flag, shown in (("--check-config", r"\A\Z"), ("--print-config", r"(?m)^workers\s+= 7\b")):
        for app, code in (("site_app:app", 0), ("nowhere:app", 1)):
            done = subprocess.run(
                [sys.executable, "-m", PROGRAM, flag, app],
                cwd=folder,
                env=clean_environment(),
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
            assert done.returncode == code, done.stderr
            assert re.search(shown, done.stdout), done.stdout
