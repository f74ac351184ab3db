"""The access log and the error log, as real requests fill them."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from signal import SIGUSR1

import pytest

from conftest import Serve
from harness.client import message
from harness.server import Server
from harness.wait import until

PROBE = "apps.probe:application"


@pytest.fixture
def access(tmp_path: Path) -> Path:
    return tmp_path / "access.log"


def lines(path: Path, count: int) -> list[str]:
    """Waits for so many complete lines."""
    until(lambda: path.exists() and path.read_text().count("\n") >= count, f"{count} lines")
    text = path.read_text()
    assert text.endswith("\n")
    return text.splitlines()


def logged(serve: Serve, access: Path, form: str, *options: str) -> Server:
    return serve(PROBE, "--access-logfile", str(access), "--access-logformat", form, *options)


def test_the_default_line(serve: Serve, access: Path) -> None:
    server = serve(PROBE, "--access-logfile", str(access))
    server.request("/?a=1", headers=[("Referer", "http://r/"), ("User-Agent", "agent/1")])
    [line] = lines(access, 1)
    assert re.fullmatch(
        r"127\.0\.0\.1 - - \[\d\d/\w{3}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}\] "
        r'"GET /\?a=1 HTTP/1\.1" 200 14 "http://r/" "agent/1"',
        line,
    )


def test_what_is_missing_is_a_dash(serve: Serve, access: Path) -> None:
    server = serve(PROBE, "--access-logfile", str(access))
    server.request("/")
    assert lines(access, 1)[0].endswith('"GET / HTTP/1.1" 200 14 "-" "-"')


def test_a_log_folder_that_is_gone_is_named_and_serving_goes_on(
    serve: Serve, tmp_path: Path
) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    error, access = folder / "error.log", folder / "access.log"
    logs = ("--log-file", str(error), "--access-logfile", str(access))
    server = serve(PROBE, *logs, launch=True)
    until(error.exists, "the error log")
    stderr, server.path = server.path, error
    server.wait_serving()
    port = server.port
    shutil.rmtree(folder)
    # Also the error log's own complaint is read by somebody.
    server.path = stderr
    server.signal(SIGUSR1)
    for pid in (server.pid, server.worker):
        reason = "No such file or directory .*; the old one stays in use"
        server.wait_for_log(rf"\[{pid}\] \[ERROR\] cannot reopen the log file {error}: {reason}")
    assert (server.port, server.request().status) == (port, 200)
    folder.mkdir()
    server.signal(SIGUSR1)

    def is_logged() -> bool:
        server.request("/?again")
        return access.exists() and "/?again" in access.read_text()

    until(is_logged, "a line in the new file")


ATOMS = {
    "h": r"127\.0\.0\.1",
    "l": "-",
    "u": "somebody",
    "t": r"\[\d\d/\w{3}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}\]",
    "r": r"POST /bytes\?size=300 HTTP/1\.1",
    "m": "POST",
    "U": "/bytes",
    "q": "size=300",
    "H": r"HTTP/1\.1",
    "s": "200",
    "B": "300",
    "b": "300",
    "f": "from",
    "a": "agent",
    "T": r"\d+",
    "M": r"\d+",
    "D": r"\d+",
    "L": r"\d+\.\d{6}",
    "p": r"<\d+>",
    "{x-one}i": "1",
    "{X-ONE}i": "1",
    "{x-missing}i": "-",
    "{content-length}o": "300",
    "{Content-Type}o": "text/plain",
    "{x-missing}o": "-",
    "{request_method}e": "POST",
    "{REMOTE_ADDR}e": r"127\.0\.0\.1",
    "{wsgi.url_scheme}e": "http",
    "{missing}e": "-",
    "nonsense": "-",
}


def test_every_atom(serve: Serve, access: Path) -> None:
    server = logged(serve, access, "|".join(f"%({atom})s" for atom in ATOMS))
    headers = [
        ("Authorization", "Basic c29tZWJvZHk6c2VjcmV0"),
        ("Referer", "from"),
        ("User-Agent", "agent"),
        ("X-One", "1"),
    ]
    server.request("/bytes?size=300", "POST", headers=headers)
    [line] = lines(access, 1)
    for (atom, pattern), value in zip(ATOMS.items(), line.split("|"), strict=True):
        assert re.fullmatch(pattern, value), f"{atom}: {value!r}"


def test_the_pid_is_the_worker_s(serve: Serve, access: Path) -> None:
    server = logged(serve, access, "%(p)s")
    server.request("/")
    assert lines(access, 1) == [f"<{server.worker}>"]


def test_the_duration_is_that_of_the_request(serve: Serve, access: Path) -> None:
    server = logged(serve, access, "%(T)s %(M)s %(D)s %(L)s")
    server.request("/pause?seconds=1.2")
    seconds, milli, micro, decimal = lines(access, 1)[0].split()
    assert int(seconds) >= 1
    assert int(milli) >= 1200
    assert int(micro) >= 1_200_000
    assert float(decimal) >= 1.2


@pytest.mark.parametrize(
    ("target", "method", "size"),
    [("/stream?count=3&size=100", "GET", 300), ("/bytes?size=5", "HEAD", 0), ("/none", "GET", 13)],
)
def test_body_bytes_are_counted_without_framing(
    serve: Serve, access: Path, target: str, method: str, size: int
) -> None:
    server = logged(serve, access, "%(B)s")
    server.request(target, method)
    assert lines(access, 1) == [str(size)]


def test_the_status_of_a_failure_is_logged(serve: Serve, access: Path) -> None:
    server = logged(serve, access, "%(s)s %(m)s %(U)s")
    server.request("/raise")
    server.request("/none")
    assert lines(access, 2) == ["500 GET /raise", "404 GET /none"]


def test_what_a_client_sends_cannot_forge_a_line(serve: Serve, access: Path) -> None:
    server = logged(serve, access, '"%(a)s" %(U)s')
    server.request("/a%0Ab%0d%1b[31m", headers=[("User-Agent", 'quo"te \xe9')])
    [line] = lines(access, 1)
    assert line.startswith('"quo\\"te ')
    assert "\x1b" not in line
    assert r"\x0ab" in line.lower() or r"\nb" in line


def test_pipelined_requests_have_a_line_each(serve: Serve, access: Path) -> None:
    server = logged(serve, access, "%(q)s")
    with server.connect() as connection:
        connection.send(b"".join(message(f"/?{n}") for n in range(300)))
        for _ in range(300):
            connection.receive()
    assert lines(access, 300) == [str(n) for n in range(300)]


def test_no_line_is_lost_when_the_server_stops(serve: Serve, access: Path) -> None:
    server = logged(serve, access, "%(q)s")
    with server.connect() as connection:
        connection.send(b"".join(message(f"/?{n}") for n in range(100)))
        for _ in range(100):
            connection.receive()
    server.stop()
    assert lines(access, 100) == [str(n) for n in range(100)]


def test_workers_share_a_file_line_by_line(serve: Serve, access: Path) -> None:
    server = serve(
        PROBE, "--access-logfile", str(access), "--access-logformat", "%(q)s" + "-" * 500, workers=4
    )
    for batch in range(20):
        with server.connect() as connection:
            connection.send(b"".join(message(f"/?{batch * 20 + n}") for n in range(20)))
            for _ in range(20):
                connection.receive()
    found = lines(access, 400)
    assert sorted(int(line.removesuffix("-" * 500)) for line in found) == list(range(400))


def test_the_access_log_may_go_to_standard_output(serve: Serve) -> None:
    server = serve(PROBE, "--access-logfile", "-")
    server.request("/to-stdout")
    server.wait_for_log(r'"GET /to-stdout HTTP/1\.1" 404')


def test_without_a_file_there_is_no_access_log(serve: Serve) -> None:
    server = serve()
    server.request("/silent")
    server.stop()
    assert "/silent" not in server.log


# the error log


def test_error_log_lines_have_time_pid_and_level(serve: Serve) -> None:
    server = serve()
    when = r"\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d [+-]\d{4}\]"
    server.wait_for_log(rf"(?m)^{when} \[{server.pid}\] \[INFO\] Listening at")
    server.wait_for_log(rf"\[{server.worker}\] \[INFO\] Booting worker with pid: {server.worker}")


def test_a_refused_request_is_a_warning_with_its_address(serve: Serve) -> None:
    server = serve()
    assert server.send(b"GET / HTTP/1.1\r\n\r\n").status == 400
    server.wait_for_log(r"\[WARNING\] Invalid request from ip=127\.0\.0\.1")


def test_the_level_hides_what_is_below_it(serve: Serve, tmp_path: Path) -> None:
    log = tmp_path / "error.log"
    options = ["--log-level", "error", "--error-logfile", str(log)]
    socket = f"unix:{tmp_path}/socket"
    server = serve(PROBE, *options, bind=socket, launch=True)
    server.wait_accepting()
    assert server.request("/raise").status == 500
    until(lambda: "a view that fails" in log.read_text(), "the error is logged")
    assert "INFO" not in log.read_text()


def test_the_error_log_may_be_a_file(serve: Serve, tmp_path: Path) -> None:
    log = tmp_path / "error.log"
    server = serve(PROBE, "--error-logfile", str(log), launch=True)
    until(lambda: log.exists() and "Booting worker" in log.read_text(), "it boots")
    server.stop()
    assert "Shutting down: Master" in log.read_text()


def test_captured_output_is_in_the_error_log(serve: Serve, tmp_path: Path) -> None:
    log = tmp_path / "error.log"
    socket = f"unix:{tmp_path}/socket"
    server = serve(PROBE, "--error-logfile", str(log), "--capture-output", bind=socket, launch=True)
    server.wait_accepting()
    server.request("/log?text=captured")
    until(lambda: "printed: captured" in log.read_text(), "the print is in the log")
    server.stop()


def test_wsgi_errors_is_written_through(serve: Serve) -> None:
    server = serve()
    server.request("/log?text=through")
    server.wait_for_log("(?m)^through$")


def test_a_traceback_is_one_story_in_the_log(serve: Serve) -> None:
    server = serve()
    server.request("/raise?text=the-story")
    server.wait_for_log(
        r"\[ERROR\] Error handling request GET /raise\?text=the-story\n"
        r"Traceback \(most recent call last\):\n(  .*\n)+ValueError: the-story"
    )
