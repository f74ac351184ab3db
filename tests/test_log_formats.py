"""Both logs as JSON and as logfmt."""

from __future__ import annotations

import json
import re
import shlex
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from conftest import Serve
from harness.wait import until

PROBE = "apps.probe:application"


def objects(path: Path, count: int) -> list[dict[str, Any]]:
    """Waits for so many lines; all of them."""
    until(lambda: path.exists() and path.read_text().count("\n") >= count, f"{count} lines")
    return [json.loads(line) for line in path.read_text().splitlines()]


def rows(path: Path, count: int) -> list[dict[str, str]]:
    """The same of logfmt, which a shell's rules read as well."""
    until(lambda: path.exists() and path.read_text().count("\n") >= count, f"{count} lines")
    return [
        dict(word.split("=", 1) for word in shlex.split(line))
        for line in path.read_text().splitlines()
    ]


@pytest.fixture
def access(tmp_path: Path) -> Path:
    return tmp_path / "access.log"


def test_a_request_is_an_object(serve: Serve, access: Path) -> None:
    server = serve(PROBE, "--log-format", "json", "--access-logfile", str(access))
    headers = [
        ("Referer", "http://r/"),
        ("User-Agent", 'an "agent"'),
        ("Authorization", "Basic c29tZWJvZHk6c2VjcmV0"),
    ]
    server.request("/bytes?size=300", "POST", headers=headers)
    [line] = objects(access, 1)
    time, duration = datetime.fromisoformat(line.pop("time")), line.pop("duration")
    assert abs(datetime.now(timezone.utc) - time) < timedelta(minutes=5)
    assert 0 < duration < 60
    assert line == {
        "level": "info",
        "log": "access",
        "pid": server.worker,
        "remote_addr": "127.0.0.1",
        "user": "somebody",
        "method": "POST",
        "path": "/bytes",
        "query": "size=300",
        "protocol": "HTTP/1.1",
        "status": 200,
        "bytes": 300,
        "referer": "http://r/",
        "user_agent": 'an "agent"',
    }


def test_what_there_is_not_is_left_out(serve: Serve, access: Path, tmp_path: Path) -> None:
    options = ["--log-format", "json", "--access-logfile", str(access)]
    server = serve(PROBE, *options, bind=f"unix:{tmp_path}/socket", launch=True)
    server.wait_accepting()
    server.request("/")
    [line] = objects(access, 1)
    assert not {"user", "referer", "user_agent", "remote_addr", "request_id"} & line.keys()
    assert line["query"] == ""


def test_whatever_a_client_sends_the_line_is_one_object(serve: Serve, access: Path) -> None:
    server = serve(PROBE, "--log-format", "json", "--access-logfile", str(access))
    server.request("/%0A%1b%22%5C%e2%80%ae%ff", headers=[("User-Agent", "\xe9\t'")])
    [line] = objects(access, 1)
    assert line["path"] == '/\n\x1b"\\\u202e\ufffd'
    assert line["user_agent"] == "\ufffd\t'"
    assert not re.search("[^ -~\n\ufffd]", access.read_text())


def test_a_format_of_ones_own_names_the_fields(serve: Serve, access: Path) -> None:
    form = '%(h)s [%(t)s] "%(r)s" %(s)s %(M)s %({X-One}i)s %({content-type}o)s %({x-none}i)s'
    options = ["--access-logfile", str(access), "--access-logformat", form]
    server = serve(PROBE, "--log-format", "json", *options)
    server.request("/", headers=[("X-One", "1")])
    [line] = objects(access, 1)
    assert list(line) == [
        *("time", "level", "log", "pid", "remote_addr", "request", "status", "duration_ms"),
        *("request.x-one", "response.content-type"),
    ]
    assert line["request"] == "GET / HTTP/1.1"


def test_the_error_log_is_objects_and_a_traceback_a_field(serve: Serve, tmp_path: Path) -> None:
    log = tmp_path / "error.log"
    options = ["--log-format", "json", "--error-logfile", str(log)]
    server = serve(PROBE, *options, bind=f"unix:{tmp_path}/socket", launch=True)
    server.wait_accepting()
    server.request("/raise?text=over")
    server.stop()
    lines = objects(log, 1)
    assert all({"time", "level", "log", "pid", "message"} <= line.keys() for line in lines)
    assert all(line["log"] == "error" for line in lines)
    [failed] = [line for line in lines if "traceback" in line]
    assert failed["level"] == "error"
    assert failed["message"] == "Error handling request GET /raise?text=over"
    assert failed["traceback"].startswith("Traceback (most recent call last):\n")
    assert failed["traceback"].endswith("ValueError: over")
    assert lines[-1]["message"] == "Shutting down: Master"
    assert lines[-1]["pid"] == server.pid


def test_logfmt_has_the_same_fields(serve: Serve, access: Path, tmp_path: Path) -> None:
    log = tmp_path / "error.log"
    options = ["--log-format", "logfmt", "--error-logfile", str(log)]
    server = serve(
        PROBE,
        *(*options, "--access-logfile", str(access)),
        bind=f"unix:{tmp_path}/socket",
        launch=True,
    )
    server.wait_accepting()
    server.request("/bytes?size=7", headers=[("User-Agent", "two words")])
    [line] = rows(access, 1)
    assert line["path"] == "/bytes"
    assert (line["query"], line["status"], line["bytes"]) == ("size=7", "200", "7")
    assert line["user_agent"] == "two words"
    server.stop()
    last = rows(log, 1)[-1]
    assert (last["level"], last["message"]) == ("info", "Shutting down: Master")


def test_asynchronous_applications_have_the_same_lines(serve: Serve, access: Path) -> None:
    options = ["--log-format", "json", "--access-logfile", str(access)]
    serve("apps.asgi_probe:application", *options).request("/none?a=b")
    [line] = objects(access, 1)
    assert (line["path"], line["query"], line["status"]) == ("/none", "a=b", 404)


def test_a_word_that_is_no_format_is_refused(serve: Serve) -> None:
    server = serve(PROBE, "--log-format", "xml", launch=True)
    server.expect_exit(2)
    assert "expected one of text, json, logfmt" in server.log
