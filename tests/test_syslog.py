"""Syslog: what a daemon gets, compared with gunicorn, and what happens when there is none."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from conftest import Serve
from harness.programs import PROGRAMS, running
from harness.receiver import Receiver
from harness.wait import until

PROBE = "apps.probe:application"
TIME = r"\[\d\d/\w{3}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}\]"


@pytest.mark.parametrize("program", PROGRAMS)
def test_both_logs_go_to_syslog(tmp_path: Path, program: str) -> None:
    with Receiver() as daemon:
        options = [
            "--log-syslog",
            *("--log-syslog-to", f"udp://127.0.0.1:{daemon.port}"),
            *("--log-syslog-prefix", "shop"),
            *("--log-syslog-facility", "local3"),
        ]
        with running(program, tmp_path, PROBE, *options) as server:
            server.request("/bytes?size=5", headers=[("User-Agent", 'a"b')])
            server.request("/raise")
            daemon.wait_for(
                r"<158>gunicorn\.shop\.error: \[(\d+)\] Booting worker with pid: \1\0",
            )
            daemon.wait_for(
                rf"<158>gunicorn\.shop\.access: \[\d+\] -? - - {TIME} "
                r'"GET /bytes\?size=5 HTTP/1\.1" 200 5 "-" "a\\"b"\0'
            )
            daemon.wait_for(
                r"<155>gunicorn\.shop\.error: \[\d+\] Error handling request .*/raise\n"
                r"Traceback \(most recent call last\):\n.*ValueError: a view that fails\0"
            )
        daemon.wait_for(rf"<158>gunicorn\.shop\.error: \[{server.pid}\] Handling signal: term\0")
        daemon.wait_for(rf"<158>gunicorn\.shop\.error: \[{server.pid}\] Shutting down: Master\0")


@pytest.mark.parametrize("program", PROGRAMS)
def test_the_program_is_called_as_the_process(tmp_path: Path, program: str) -> None:
    with Receiver() as daemon:
        place = ["--log-syslog-to", f"udp://127.0.0.1:{daemon.port}"]
        with running(program, tmp_path, PROBE, "--log-syslog", *place):
            daemon.wait_for(r"<14>gunicorn\.apps\.probe\.application\.error: \[\d+\] Booting .*")
    with Receiver() as daemon:
        place = ["--log-syslog-to", f"udp://127.0.0.1:{daemon.port}", "--name", "a:b"]
        with running(program, tmp_path / "named", PROBE, "--log-syslog", *place):
            daemon.wait_for(r"<14>gunicorn\.a\.b\.error: \[\d+\] Booting .*")


@pytest.mark.parametrize("program", PROGRAMS)
def test_the_access_log_can_be_kept_out(tmp_path: Path, program: str) -> None:
    with Receiver() as daemon:
        options = [
            *("--log-syslog", "--disable-redirect-access-to-syslog"),
            *("--log-syslog-to", f"udp://127.0.0.1:{daemon.port}"),
        ]
        with running(program, tmp_path, PROBE, *options) as server:
            server.request("/")
        daemon.wait_for(r".*Shutting down: Master\0")
        assert not any(".access: " in packet for packet in daemon.packets)


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_unix_socket_gets_the_same(tmp_path: Path, program: str) -> None:
    path = tmp_path / "log"
    with Receiver(path) as daemon:
        place = ["--log-syslog-to", f"unix://{path}#dgram", "--log-syslog-prefix", "p"]
        with running(program, tmp_path, PROBE, "--log-syslog", *place) as server:
            server.request("/")
            daemon.wait_for(r'<14>gunicorn\.p\.access: \[\d+\] .*"GET / HTTP/1\.1" 200 14 .*\0')


def test_the_files_get_their_lines_as_well(serve: Serve, tmp_path: Path) -> None:
    access = tmp_path / "access.log"
    with Receiver() as daemon:
        place = ["--log-syslog-to", f"udp://127.0.0.1:{daemon.port}"]
        server = serve(PROBE, "--log-syslog", *place, "--access-logfile", str(access))
        server.request("/")
        [packet] = daemon.wait_for(r".*\.access: .*")
        line = re.sub(r"^<14>\S+: \[\d+\] ", "", packet).removesuffix("\0")
        until(lambda: access.exists() and access.read_text() == line + "\n", "the same line")
        server.wait_for_log(r"\[INFO\] Booting worker")


def test_a_daemon_that_is_restarted_is_found_again(serve: Serve, tmp_path: Path) -> None:
    path = tmp_path / "log"
    daemon = Receiver(path)
    server = serve(PROBE, "--log-syslog", "--log-syslog-to", f"unix://{path}")
    server.request("/?before")
    daemon.wait_for(r".*GET /\?before .*")
    daemon.close()
    path.unlink()
    assert server.request("/?meanwhile").status == 200
    server.wait_for_log(r"\[ERROR\] cannot write access lines to syslog at unix://\S+: ")
    with Receiver(path) as daemon:
        assert server.request("/?after").status == 200
        daemon.wait_for(r".*GET /\?after .*")
        server.wait_for_log(r"access lines go to syslog at unix://\S+ again; \d+ were lost")


def test_without_a_daemon_the_server_serves(serve: Serve, tmp_path: Path) -> None:
    server = serve(PROBE, "--log-syslog", "--log-syslog-to", f"unix://{tmp_path}/nobody")
    server.wait_for_log(r"\[WARNING\] cannot log to syslog at unix://\S+nobody: ")
    assert server.request("/").status == 200


def test_lines_of_named_fields_go_to_syslog_as_they_are(serve: Serve) -> None:
    with Receiver() as daemon:
        place = ["--log-syslog-to", f"udp://127.0.0.1:{daemon.port}"]
        server = serve(PROBE, "--log-syslog", *place, "--log-format", "json")
        server.request("/bytes?size=7")
        [packet] = daemon.wait_for(r".*\.access: .*")
        fields = json.loads(packet[packet.index("{") :].removesuffix("\0"))
        assert (fields["path"], fields["bytes"], fields["log"]) == ("/bytes", 7, "access")


@pytest.mark.parametrize(
    ("option", "value", "complaint"),
    [
        ("--log-syslog-to", "localhost:514", "expected udp://HOST:PORT"),
        ("--log-syslog-to", "udp://no.such.host.invalid", "cannot be looked up"),
        ("--log-syslog-facility", "local9", "expected one of auth"),
    ],
)
def test_what_cannot_be_is_said_at_the_start(
    serve: Serve, option: str, value: str, complaint: str
) -> None:
    server = serve(PROBE, "--log-syslog", option, value, launch=True)
    server.expect_exit(1 if "looked up" in complaint else 2)
    assert complaint in server.log
