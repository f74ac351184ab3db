"""StatsD: the numbers that are sent, compared with gunicorn."""

from __future__ import annotations

from pathlib import Path

import pytest

from conftest import Serve
from harness.programs import PROGRAMS, running
from harness.receiver import Receiver

PROBE = "apps.probe:application"

HOOKS = """
def post_worker_init(worker):
    def tell(kind, value):
        worker.log.info("", extra={"metric": f"own.{kind}", "value": value, "mtype": kind})
    tell("gauge", 7)
    tell("counter", 2)
    tell("timer", 1.5)
    tell("histogram", 3)
    tell("odd", 1)
    worker.log.warning("a warning")
    worker.log.error("an error")
    worker.log.critical("the worst")
    try:
        1 / 0
    except ZeroDivisionError:
        worker.log.exception("raised")
"""


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("log", [[], ["--access-logfile", "-"]])
def test_requests_are_counted_and_timed(tmp_path: Path, program: str, log: list[str]) -> None:
    with Receiver() as statsd:
        options = ["--statsd-host", f"127.0.0.1:{statsd.port}", *log]
        with running(program, tmp_path, PROBE, *options) as server:
            server.request("/pause?seconds=0.05")
            server.request("/nothing-here")
            server.request("/raise")
            duration = statsd.wait_for_line(r"gunicorn\.request\.duration:\d+\.\d+\|ms")
            assert 50 <= float(duration.split(":")[1].removesuffix("|ms")) < 5000
            for status in (200, 404, 500):
                statsd.wait_for_line(rf"gunicorn\.request\.status\.{status}:1\|c\|@1\.0")
            assert statsd.lines.count("gunicorn.requests:1|c|@1.0") == 3
            statsd.wait_for_line(r"gunicorn\.log\.exception:1\|c\|@1\.0")


@pytest.mark.parametrize("program", PROGRAMS)
def test_prefix_and_tags_are_on_every_number(tmp_path: Path, program: str) -> None:
    with Receiver() as statsd:
        options = [
            *("--statsd-host", f"127.0.0.1:{statsd.port}"),
            *("--statsd-prefix", "shop"),
            *("--dogstatsd-tags", "env:test,team:web"),
        ]
        with running(program, tmp_path, PROBE, *options) as server:
            server.request("/")
            statsd.wait_for_line(r"shop\.gunicorn\.workers:1\|g\|#env:test,team:web")
            statsd.wait_for_line(r"shop\.gunicorn\.requests:1\|c\|@1\.0\|#env:test,team:web")
        assert all(line.startswith("shop.") for line in statsd.lines)
        assert all(line.endswith("|#env:test,team:web") for line in statsd.lines)


@pytest.mark.parametrize("program", PROGRAMS)
def test_numbers_of_hooks_are_sent_and_messages_counted(tmp_path: Path, program: str) -> None:
    (tmp_path / "hooks.py").write_text(HOOKS)
    with Receiver() as statsd:
        options = ["--statsd-host", f"127.0.0.1:{statsd.port}", "-c", str(tmp_path / "hooks.py")]
        with running(program, tmp_path, PROBE, *options) as server:
            for line in (
                r"own\.gauge:7\|g",
                r"own\.counter:2\|c\|@1\.0",
                r"own\.timer:1\.5\|ms",
                r"own\.histogram:3\|h",
                r"gunicorn\.log\.warning:1\|c\|@1\.0",
                r"gunicorn\.log\.error:1\|c\|@1\.0",
                r"gunicorn\.log\.critical:1\|c\|@1\.0",
                r"gunicorn\.log\.exception:1\|c\|@1\.0",
            ):
                statsd.wait_for_line(line)
            server.wait_for_log("a warning")
        assert not any("own.odd" in line for line in statsd.lines)


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_unix_socket_gets_the_same(tmp_path: Path, program: str) -> None:
    path = tmp_path / "statsd"
    host = ["--statsd-host", f"unix://{path}"]
    with Receiver(path) as statsd, running(program, tmp_path, PROBE, *host) as server:
        server.request("/")
        statsd.wait_for_line(r"gunicorn\.requests:1\|c\|@1\.0")


@pytest.mark.parametrize("program", PROGRAMS)
def test_the_backlog_is_measured_where_it_is_asked_for(tmp_path: Path, program: str) -> None:
    with Receiver() as statsd:
        options = ["--statsd-host", f"127.0.0.1:{statsd.port}", "--enable-backlog-metric"]
        # A Unix socket has no such number.
        with running(program, tmp_path, PROBE, *options, bind="127.0.0.1:0"):
            statsd.wait_for_line(r"gunicorn\.backlog:0\|h")


def test_the_workers_are_counted_as_they_come_and_go(serve: Serve) -> None:
    with Receiver() as statsd:
        server = serve(PROBE, "--statsd-host", f"127.0.0.1:{statsd.port}", workers=3)
        statsd.wait_for_line(r"gunicorn\.workers:3\|g")
        server.stop()
        statsd.wait_for_line(r"gunicorn\.workers:0\|g")


def test_asynchronous_applications_are_counted_without_an_access_log(serve: Serve) -> None:
    with Receiver() as statsd:
        server = serve("apps.asgi_probe:application", "--statsd-host", f"127.0.0.1:{statsd.port}")
        server.request("/")
        statsd.wait_for_line(r"gunicorn\.requests:1\|c\|@1\.0")


def test_a_server_that_comes_later_gets_what_comes_later(serve: Serve, tmp_path: Path) -> None:
    path = tmp_path / "statsd"
    server = serve(PROBE, "--statsd-host", f"unix://{path}")
    assert server.request("/").status == 200
    with Receiver(path) as statsd:
        server.request("/nothing-here")
        statsd.wait_for_line(r"gunicorn\.request\.status\.404:1\|c\|@1\.0")


def test_a_host_that_is_not_found_is_a_warning(serve: Serve) -> None:
    server = serve(PROBE, "--statsd-host", "no.such.host.invalid:8125")
    server.wait_for_log(r"\[WARNING\] No metrics are sent: statsd_host: 'no\.such\.host\.invalid'")
    assert server.request("/").status == 200


SUBCLASS = """
from {module} import Statsd
class Mine(Statsd): pass
logger_class = Mine
"""


@pytest.mark.parametrize(
    "logger",
    [
        'logger_class = "oxicorn.compat.statsd.Statsd"',
        SUBCLASS.format(module="oxicorn.compat.statsd"),
        SUBCLASS.format(module="gunicorn.instrument.statsd"),
        'logconfig_dict = {"root": {"handlers": []}}',
    ],
)
def test_pythons_logging_sends_the_same_numbers_once(
    serve: Serve, tmp_path: Path, logger: str
) -> None:
    (tmp_path / "hooks.py").write_text(HOOKS + logger)
    with Receiver() as statsd:
        options = ["--statsd-host", f"127.0.0.1:{statsd.port}", "-c", str(tmp_path / "hooks.py")]
        server = serve(PROBE, *options)
        server.request("/")
        server.request("/raise")
        statsd.wait_for_line(r"gunicorn\.request\.status\.500:1\|c\|@1\.0")
        server.stop()
        for line in (
            "gunicorn.request.status.200:1|c|@1.0",
            "gunicorn.log.warning:1|c|@1.0",
            "own.gauge:7|g",
        ):
            assert statsd.lines.count(line) == 1, line
        assert statsd.lines.count("gunicorn.requests:1|c|@1.0") == 2
