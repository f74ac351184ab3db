"""Logger classes: subclasses of gunicorn's `Logger` write both logs, and nothing waits for them."""

from __future__ import annotations

import re
import signal
import threading
from pathlib import Path

import pytest

from conftest import Serve
from harness.client import message
from harness.gate import Gate
from harness.programs import PROGRAMS, running
from harness.server import TESTS, Server
from harness.wait import until

PROBE = "apps.probe:application"

SUBCLASS = """
import logging
from {package}.glogging import Logger

class Shop(Logger):
    error_fmt = "E|%(levelname)s|%(process)d|%(message)s"
    access_fmt = "A|%(message)s"

    def setup(self, cfg):
        super().setup(cfg)
        self.seen = 0

    def atoms(self, resp, req, environ, request_time):
        self.seen += 1
        atoms = super().atoms(resp, req, environ, request_time)
        return {{**atoms, "n": self.seen, "c": type(request_time).__name__}}

    def now(self):
        return "[then]"

    def access(self, resp, req, environ, request_time):
        if environ.get("PATH_INFO") != "/quiet":
            super().access(resp, req, environ, request_time)

logger_class = Shop
access_log_format = (
    "%(n)s %(t)s %(m)s %(U)s %(s)s %(B)s "
    "%({{X-In}}i)s %({{x-out}}o)s %({{QUERY_STRING}}e)s %(c)s"
)
accesslog = {access!r}
errorlog = {error!r}

def post_fork(server, worker):
    worker.log.info("forked %s of %s", worker.age, type(worker.log).__name__)
"""

APP = """
def app(environ, start_response):
    if environ["PATH_INFO"] == "/raise":
        raise ValueError("of the test")
    start_response("201 Created", [("Content-Length", "2"), ("X-Out", "out")])
    return [b"ok"]
"""


def lines(path: Path, count: int) -> list[str]:
    """Waits for so many lines."""
    until(lambda: path.exists() and path.read_text().count("\n") >= count, f"{count} lines")
    return path.read_text().splitlines()


@pytest.mark.parametrize("kind", ["sync", "gevent"])
@pytest.mark.parametrize(
    ("program", "package"),
    [("oxicorn", "oxicorn.compat"), ("oxicorn", "gunicorn"), ("gunicorn", "gunicorn")],
)
def test_a_subclass_writes_both_logs(tmp_path: Path, program: str, package: str, kind: str) -> None:
    error, access = tmp_path / "error", tmp_path / "access"
    settings = SUBCLASS.format(package=package, access=str(access), error=str(error))
    (tmp_path / "conf.py").write_text(settings)
    (tmp_path / "shopapp.py").write_text(APP)
    options = ("-c", str(tmp_path / "conf.py"), "-k", kind)
    with running(program, tmp_path, "shopapp:app", *options, cwd=tmp_path) as server:
        server.request("/one?q=1", headers=[("X-In", 'a"b')])
        server.request("/quiet")
        server.request("/raise")
        server.request("/two")
        first, failed, last = lines(access, 3)
    assert first == 'A|1 [then] GET /one 201 2 a\\"b out q=1 timedelta'
    assert re.fullmatch(r"A\|2 \[then\] GET (/raise|None) 500 \S+ - - .*timedelta", failed)
    assert last == "A|3 [then] GET /two 201 2 - out  timedelta"
    said = error.read_text()
    assert re.search(r"(?m)^E\|INFO\|\d+\|forked 1 of Shop$", said)
    assert re.search(r"(?m)^E\|ERROR\|\d+\|Error handling request .*/raise$", said)
    assert re.search(rf"(?m)^E\|INFO\|{server.pid}\|Shutting down: Master$", said)


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_formatter_finds_the_atoms_in_the_record(tmp_path: Path, program: str) -> None:
    (tmp_path / "forms.py").write_text(
        "import json, logging\n"
        "class Form(logging.Formatter):\n"
        "    def format(self, record):\n"
        "        atoms = record.args\n"
        "        found = [atoms[name] for name in ('m', 'U', 's', 'nix')]\n"
        "        return json.dumps([record.name, *found])\n"
    )
    (tmp_path / "conf.py").write_text(
        "accesslog = '-'\n"
        "logconfig_dict = {\n"
        "    'formatters': {'form': {'()': 'forms.Form'}},\n"
        "    'handlers': {'console': {'class': 'logging.StreamHandler', 'formatter': 'form'},\n"
        "                 'error_console': {'class': 'logging.StreamHandler'}},\n"
        "    'root': {'handlers': []},\n"
        "}\n"
    )
    (tmp_path / "shopapp.py").write_text(APP)
    where = {"cwd": tmp_path, "env": {"PYTHONPATH": str(tmp_path)}}
    how = ["-c", str(tmp_path / "conf.py")]
    with running(program, tmp_path, "shopapp:app", *how, **where) as server:
        server.request("/one")
        server.wait_for_log(r'(?m)^\["gunicorn\.access", "GET", "/one", "201", "-"\]$')


@pytest.mark.parametrize("application", ["asgi_probe:application", "tornado_probe:app"])
def test_an_asynchronous_application_is_logged_as_well(
    serve: Serve, tmp_path: Path, application: str
) -> None:
    log = tmp_path / "access"
    server = serve(
        f"apps.{application}",
        *("-k", "tornado" if application.startswith("tornado") else "asgi"),
        *("--logger-class", "oxicorn.compat.glogging.Logger"),
        *("--access-logfile", str(log), "--access-logformat", "%(h)s %(r)s %(s)s %(B)s"),
    )
    server.request("/")
    server.request("/none")
    assert lines(log, 2)[0].startswith("127.0.0.1 GET / HTTP/1.1 200 ")
    assert lines(log, 2)[1].startswith("127.0.0.1 GET /none HTTP/1.1 404 ")


def test_no_class_and_no_configuration_means_no_access_of_python(
    serve: Serve, tmp_path: Path
) -> None:
    server = serve(PROBE, "--logger-class", "gunicorn.glogging.Logger", "--access-logfile", "-")
    server.request("/native")
    server.wait_for_log(r'"GET /native HTTP/1\.1" 404')


def logs_to_files(serve: Serve, folder: Path, *options: str) -> Server:
    """A server whose logger of Python's writes `error` and `access` in the folder."""
    server: Server = serve(
        PROBE,
        *("--logger-class", "oxicorn.compat.glogging.Logger"),
        *("--error-logfile", str(folder / "error"), "--access-logfile", str(folder / "access")),
        *options,
        bind=f"unix:{folder}/socket",
        launch=True,
    )
    return server.wait_accepting()


def test_messages_under_load_keep_nobody_waiting(serve: Serve, tmp_path: Path) -> None:
    """Refused requests are logged with the engine locked, by threads that want the interpreter."""
    server = logs_to_files(serve, tmp_path, "--threads", "4")

    def refused() -> None:
        for _ in range(50):
            assert server.send(b"GET / HTTP/1.1\r\n\r\n").status == 400

    def served() -> None:
        with server.connect() as connection:
            for _ in range(100):
                assert connection.send(message("/compute?seconds=0.001")).receive().status == 200

    threads = [threading.Thread(target=work) for work in (refused, served) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    warning = re.compile(r"(?m)^\[.*\] \[\d+\] \[WARNING\] Invalid request from ")
    until(lambda: len(warning.findall((tmp_path / "error").read_text())) == 200, "all warnings")
    assert len(lines(tmp_path / "access", 400)) == 400
    server.stop()


def test_a_rotation_reaches_the_files_of_all_processes(serve: Serve, tmp_path: Path) -> None:
    error, access = tmp_path / "error", tmp_path / "access"
    server = logs_to_files(serve, tmp_path)
    server.request("/before")
    assert "/before" in lines(access, 1)[0]
    error.rename(tmp_path / "error.1")
    access.rename(tmp_path / "access.1")
    server.signal(signal.SIGUSR1)
    until(lambda: error.exists() and access.exists(), "the files are there again")

    def logged() -> bool:
        server.request("/after")
        return "/after" in access.read_text()

    until(logged, "requests in the new file")
    server.stop()
    assert "Shutting down: Master" in error.read_text()
    assert "/before" in (tmp_path / "access.1").read_text()


@pytest.mark.parametrize("hangs", [False, True])
def test_a_worker_that_cuts_requests_says_so(serve: Serve, tmp_path: Path, hangs: bool) -> None:
    """Also where the request keeps the interpreter lock: then it is written natively."""
    (tmp_path / "marked.py").write_text(
        "from oxicorn.compat.glogging import Logger\n"
        "class Marked(Logger):\n"
        "    error_fmt = 'MARK %(levelname)s %(message)s'\n"
    )
    options = ["--logger-class", "marked.Marked", "--threads", "2"]
    server = serve(PROBE, *options, env={"PYTHONPATH": f"{tmp_path}:{TESTS}"})
    server.wait_for_log(r"(?m)^MARK INFO Booting worker with pid")
    with server.connect() as connection:
        gate = Gate(tmp_path)
        connection.send(message(gate.hanging_target if hangs else gate.target))
        gate.wait_entered()
        if hangs:
            gate.open()
            gate.wait_hanging()
        server.signal(signal.SIGINT)
        server.wait()
    cut = r"Worker exiting \(pid: \d+\), requests were cut"
    server.wait_for_log(cut if hangs else f"(?m)^MARK INFO {cut}$")
    assert "MARK INFO Shutting down: Master" in server.log


def test_a_logger_that_fails_loses_nothing(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text(
        "from oxicorn.compat.glogging import Logger\n"
        "class Broken(Logger):\n"
        "    def info(self, *_, **__): raise ZeroDivisionError('of the test')\n"
        "    def access(self, *_): raise KeyError('of the test')\n"
    )
    (tmp_path / "shopapp.py").write_text(APP)
    server = serve(
        "shopapp:app", "--logger-class", "broken.Broken", "--access-logfile", "-", cwd=tmp_path
    )
    server.wait_for_log(r"\[ERROR\] The logger has failed, .*ZeroDivisionError: of the test")
    server.wait_for_log(r"\[INFO\] Booting worker with pid")
    assert server.request("/").status == 201
    server.wait_for_log(r"\[ERROR\] Exception in access hook\n(.*\n)+KeyError: 'of the test'")


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("no.such.Logger", "cannot be imported: No module named 'no'"),
        ("oxicorn.compat.glogging.Nothing", "cannot be imported: .*Nothing"),
        ("Logger", "expected a dotted name"),
        ("os.getpid", "The log cannot be set up"),
    ],
)
def test_a_class_that_cannot_be_used_ends_the_start(
    serve: Serve, name: str, complaint: str
) -> None:
    server = serve(PROBE, "--logger-class", name, launch=True)
    server.expect_exit(1)
    assert re.search(complaint, server.log)
