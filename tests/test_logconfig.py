"""Python's logging as the server's log: the three configurations, compared with gunicorn."""

from __future__ import annotations

import json
import re
import signal
from pathlib import Path
from typing import Any

import pytest

from conftest import Serve
from harness.programs import PROGRAMS, running
from harness.server import Server
from harness.wait import until

PROBE = "apps.probe:application"


def dictionary(error: Path, access: Path, word: str = "E") -> dict[str, Any]:
    """Both loggers to files of their own."""
    files = {"error": error, "access": access}
    return {
        "formatters": {
            "error": {"format": f"{word}|%(levelname)s|%(process)d|%(message)s"},
            "access": {"format": "A|%(message)s"},
        },
        "handlers": {
            name: {"class": "logging.FileHandler", "filename": str(path), "formatter": name}
            for name, path in files.items()
        },
        "root": {"level": "INFO", "handlers": []},
        "loggers": {
            f"gunicorn.{name}": {"level": "INFO", "handlers": [name], "propagate": False}
            for name in files
        },
    }


INI = """
[loggers]
keys=root,error,access
[handlers]
keys=error,access
[formatters]
keys=error,access
[logger_root]
level=INFO
handlers=
[logger_error]
level=INFO
handlers=error
qualname=gunicorn.error
propagate=0
[logger_access]
level=INFO
handlers=access
qualname=gunicorn.access
propagate=0
[handler_error]
class=FileHandler
formatter=error
args=({error!r},)
[handler_access]
class=FileHandler
formatter=access
args=({access!r},)
[formatter_error]
format=E|%(levelname)s|%(process)d|%(message)s
[formatter_access]
format=A|%(message)s
"""


def options(kind: str, folder: Path, error: Path, access: Path) -> list[str]:
    """The same configuration in one of its forms."""
    folder.mkdir(exist_ok=True)
    if kind == "ini":
        path = folder / "logging.ini"
        path.write_text(INI.format(error=str(error), access=str(access)))
        return ["--log-config", str(path)]
    given = dictionary(error, access)
    if kind == "json":
        path = folder / "logging.json"
        path.write_text(json.dumps(given))
        return ["--log-config-json", str(path)]
    path = folder / "conf.py"
    path.write_text(f"logconfig_dict = {given!r}\n")
    return ["-c", str(path)]


def wait_for(path: Path, pattern: str) -> re.Match[str]:
    """Waits until a file has a line that is this whole."""
    whole = re.compile(f"(?m)^{pattern}$")
    found = until(
        lambda: whole.search(path.read_text()) if path.exists() else None, f"{pattern} in {path}"
    )
    assert found
    return found


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("kind", ["dict", "json", "ini"])
def test_both_logs_go_where_the_configuration_says(tmp_path: Path, program: str, kind: str) -> None:
    error, access = tmp_path / "error", tmp_path / "access"
    how = options(kind, tmp_path, error, access)
    with running(program, tmp_path, PROBE, *how, "--access-logformat", "%(m)s %(U)s %(s)s") as one:
        one.request("/bytes?size=3")
        one.request("/raise")
        wait_for(access, r"A\|GET /bytes 200")
        # gunicorn has forgotten the path by then.
        wait_for(access, r"A\|GET (/raise|None) 500")
        wait_for(error, rf"E\|INFO\|{one.pid}\|Starting \w+ [\d.]+")
        wait_for(error, r"E\|INFO\|(\d+)\|Booting worker with pid: \1")
        wait_for(error, r"E\|ERROR\|\d+\|Error handling request .*/raise")
        wait_for(error, r"ValueError: a view that fails")
    wait_for(error, rf"E\|INFO\|{one.pid}\|Shutting down: Master")


@pytest.mark.parametrize("program", PROGRAMS)
def test_what_a_dictionary_does_not_have_is_gunicorns_default(tmp_path: Path, program: str) -> None:
    given = {"root": {"level": "INFO", "handlers": []}}
    (tmp_path / "conf.py").write_text(f"logconfig_dict = {given!r}\n")
    with running(program, tmp_path, PROBE, "-c", str(tmp_path / "conf.py")) as server:
        server.request("/")
        when = r"\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d [+-]\d{4}\]"
        server.wait_for_log(rf"(?m)^{when} \[\d+\] \[INFO\] Booting worker with pid: \d+$")
        server.wait_for_log(rf'(?m)^{when} \[\d+\] \[INFO\] .* "GET / HTTP/1\.1" 200 14 "-" "-"$')


@pytest.mark.parametrize("program", PROGRAMS)
def test_the_dictionary_wins_over_json_and_that_over_the_file(tmp_path: Path, program: str) -> None:
    logs = {kind: (tmp_path / f"{kind}-e", tmp_path / f"{kind}-a") for kind in ("dict", "json")}
    ini = options("ini", tmp_path, tmp_path / "ini-e", tmp_path / "ini-a")
    of_json = options("json", tmp_path, *logs["json"])
    of_dict = options("dict", tmp_path, *logs["dict"])
    with running(program, tmp_path, PROBE, *ini, *of_json, *of_dict):
        wait_for(logs["dict"][0], r"E\|INFO\|\d+\|Booting worker .*")
    assert not logs["json"][0].exists()
    with running(program, tmp_path / "two", PROBE, *ini, *of_json):
        wait_for(logs["json"][0], r"E\|INFO\|\d+\|Booting worker .*")
    assert not (tmp_path / "ini-e").exists()


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize(
    "given",
    [
        {"handlers": {"x": {"class": "no.such.Handler"}}, "root": {"handlers": ["x"]}},
        {"formatters": 3},
        {"version": 2},
    ],
)
def test_a_dictionary_that_cannot_be_used_ends_the_start(
    tmp_path: Path, program: str, given: dict[str, Any]
) -> None:
    (tmp_path / "conf.py").write_text(f"logconfig_dict = {given!r}\n")
    server = Server(tmp_path, PROBE, ["-c", str(tmp_path / "conf.py")])
    server.command[2] = program
    try:
        server.launch().expect_exit(1)
        assert "Error: " in server.log
    finally:
        server.destroy()


@pytest.mark.parametrize(
    ("option", "text", "complaint"),
    [
        ("--log-config", None, "not found"),
        ("--log-config-json", None, "cannot be read"),
        ("--log-config-json", "{", "is not JSON"),
        ("--log-config-json", "[]", "is not an object"),
    ],
)
def test_a_file_that_cannot_be_used_ends_the_start(
    serve: Serve, tmp_path: Path, option: str, text: str | None, complaint: str
) -> None:
    path = tmp_path / "logging"
    if text is not None:
        path.write_text(text)
    for more in ([], ["--check-config"]):
        server = serve(PROBE, option, str(path), *more, launch=True)
        server.expect_exit(1)
        assert re.search(rf"Error: The log cannot be set up: .*{path}.*{complaint}", server.log)


# what the application does to Python's logging

SILENCER = """
import logging.config

QUIET = {{"version": 1, "disable_existing_loggers": True}}
{at_import}

def app(environ, start_response):
    logging.config.dictConfig(QUIET)
    if environ["PATH_INFO"] == "/raise":
        raise ValueError("of the test")
    start_response("200 OK", [("Content-Length", "0")])
    return []
"""


@pytest.mark.parametrize("at_import", ["", "logging.config.dictConfig(QUIET)"])
@pytest.mark.parametrize("through_python", [False, True])
def test_an_application_that_disables_all_loggers_does_not_silence_the_server(
    serve: Serve, tmp_path: Path, at_import: str, through_python: bool
) -> None:
    (tmp_path / "silencer.py").write_text(SILENCER.format(at_import=at_import))
    how = ["--logger-class", "oxicorn.compat.glogging.Logger"] if through_python else []
    server = serve("silencer:app", *how, "--access-logfile", "-", cwd=tmp_path)
    server.request("/one")
    server.request("/raise")
    server.request("/two")
    server.wait_for_log(r'"GET /one HTTP/1\.1" 200')
    server.wait_for_log(r"\[ERROR\] Error handling request GET /raise")
    server.wait_for_log(r'"GET /two HTTP/1\.1" 200')
    server.stop()


def test_an_application_finds_handlers_and_level_at_gunicorns_logger(
    serve: Serve, tmp_path: Path
) -> None:
    (tmp_path / "site.py").write_text(
        "import logging\n"
        "gunicorn = logging.getLogger('gunicorn.error')\n"
        "own = logging.getLogger('shop')\n"
        "own.handlers = gunicorn.handlers\n"
        "own.setLevel(gunicorn.level)\n"
        "def app(environ, start_response):\n"
        "    own.info('hidden')\n"
        "    own.warning('of the shop')\n"
        "    gunicorn.error('of the other')\n"
        "    start_response('200 OK', [('Content-Length', '0')])\n"
        "    return []\n"
    )
    (tmp_path / "site.py").rename(tmp_path / "shopsite.py")
    socket = f"unix:{tmp_path}/socket"
    server = serve("shopsite:app", "--log-level", "warning", bind=socket, cwd=tmp_path, launch=True)
    server.wait_accepting()
    server.request("/")
    server.wait_for_log(r"(?m)^\[.*\] \[\d+\] \[WARNING\] of the shop$")
    server.wait_for_log(r"(?m)^\[.*\] \[\d+\] \[ERROR\] of the other$")
    assert "hidden" not in server.log


# restarts


def test_a_restart_reads_the_file_again(serve: Serve, tmp_path: Path) -> None:
    error, access = tmp_path / "error", tmp_path / "access"
    path = tmp_path / "logging.json"
    path.write_text(json.dumps(dictionary(error, access)))
    socket = f"unix:{tmp_path}/socket"
    more = ["--observe-timeout", "0"]
    server = serve(PROBE, "--log-config-json", str(path), *more, bind=socket, launch=True)
    server.wait_accepting()
    wait_for(error, r"E\|INFO\|\d+\|Booting worker .*")
    path.write_text(json.dumps(dictionary(error, access, "NEW")))
    server.signal(signal.SIGHUP)

    def taken() -> bool:
        server.request("/raise")
        return "NEW|ERROR|" in error.read_text()

    until(taken, "a worker with the new file")
    wait_for(access, r"A\|.*/raise.*")
    server.stop()
    wait_for(error, rf"NEW\|INFO\|{server.pid}\|Shutting down: Master")


def test_a_restart_with_a_file_that_cannot_be_used_changes_nothing(
    serve: Serve, tmp_path: Path
) -> None:
    error, access = tmp_path / "error", tmp_path / "access"
    path = tmp_path / "logging.json"
    path.write_text(json.dumps(dictionary(error, access)))
    socket = f"unix:{tmp_path}/socket"
    server = serve(PROBE, "--log-config-json", str(path), bind=socket, launch=True)
    server.wait_accepting()
    worker = server.worker
    path.write_text("{")
    server.signal(signal.SIGHUP)
    wait_for(error, r"E\|ERROR\|\d+\|The log cannot be set up: .* is not JSON: .*")
    assert server.request("/still").status == 404
    wait_for(access, r"A\|.*/still.*")
    assert server.wait_for_workers(1) == [worker]
