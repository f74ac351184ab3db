"""Deployments that fail in ways of their own: the old workers serve on, no client notices, who
waits for the restart is told the reason, and nothing is left behind. More are in `test_restarts`.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from conftest import Serve
from harness.deployment import Deployment
from harness.load import Load
from harness.server import Server
from harness.wait import until

APP = """
{before}

def app(environ, start_response):
    body = b"{version}"
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]
"""

OUT_OF_MEMORY = """
import resource
resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
data = bytearray(1 << 31)
"""

DIES_BEFORE_THE_OTHERS_ARE_READY = """
import os, threading, time
try:
    os.close(os.open("first", os.O_CREAT | os.O_EXCL))
    threading.Timer(1, os.abort).start()
except FileExistsError:
    threading.Event().wait()
"""

DIES_SOON = "import os, threading; threading.Timer(1, os.abort).start()"


@pytest.fixture
def site(tmp_path: Path, serve: Serve) -> Iterator[Deployment]:
    # The path of a Unix socket is short, and that of a test's folder may be long.
    with tempfile.TemporaryDirectory(prefix="oxi-") as runtime:
        yield Deployment(tmp_path, Path(runtime), serve, APP)


def serves_new_code(site: Deployment, server: Server) -> None:
    """What failed does not stand in the way of the next restart."""
    site.write("three")
    assert site.restart()[0] == 0
    until(lambda: server.request().text == "three", "the new code")


@pytest.mark.parametrize(
    ("before", "reason"),
    [
        (OUT_OF_MEMORY, "exited with code 3. It failed to boot: MemoryError."),
        ("def (", "It failed to boot: SyntaxError: invalid syntax."),
        ("import no_such_thing", "ModuleNotFoundError: No module named 'no_such_thing'."),
        ("raise ValueError('wrong\\nsettings')", "It failed to boot: ValueError: wrong settings."),
        ("raise SystemExit(9)", "It failed to boot: SystemExit: 9."),
    ],
    ids=["memory", "syntax", "import", "exception", "exit"],
)
def test_code_that_cannot_be_imported_is_answered_with_what_it_raised(
    site: Deployment, before: str, reason: str
) -> None:
    server = site.start()
    site.write("two", before)
    assert reason in site.fails_to_restart(server)
    assert "Traceback" in server.log or "SyntaxError" in server.log
    serves_new_code(site, server)


def test_an_application_that_is_gone_is_answered_with_its_name(site: Deployment) -> None:
    server = site.start()
    (site.folder / "site_app.py").write_text("APP = None")
    assert "It could not load the application: " in (printed := site.fails_to_restart(server))
    assert "'app'" in printed
    serves_new_code(site, server)


@pytest.mark.parametrize("what", ["folder", "bytes", "gone", "certificate"])
def test_an_unreadable_configuration_changes_nothing(site: Deployment, what: str) -> None:
    file = site.folder / "settings.py"
    file.write_text("")
    server = site.start("--config", str(file))
    file.unlink()
    if what == "folder":
        file.mkdir()
    elif what == "bytes":
        file.write_bytes(b"proc_name = '\xff'")
    elif what == "certificate":
        file.write_text("certfile = 'no_such_certificate.pem'")
    site.write("two")
    printed = site.fails_to_restart(server)
    named = "certfile: " if what == "certificate" else "settings.py"
    assert named in printed
    assert "Restart refused, generation 1 goes on serving" in server.log


def test_a_worker_that_dies_before_the_others_are_ready_ends_the_restart(
    site: Deployment,
) -> None:
    server = site.start()
    site.write("two", DIES_BEFORE_THE_OTHERS_ARE_READY)
    assert "was sent SIGABRT" in site.fails_to_restart(server)
    serves_new_code(site, server)


@pytest.mark.parametrize("mode", ["hot", "phased"])
def test_workers_that_die_soon_after_they_were_ready_bring_the_old_ones_back(
    site: Deployment, mode: str
) -> None:
    """The connections inside a process that dies are lost with it, so nobody asks meanwhile."""
    server = site.start("--observe-timeout", "600")
    workers = server.workers()
    site.write("two", DIES_SOON)
    code, printed = site.restart("--mode", mode)
    assert code != 0 and "was sent SIGABRT" in printed
    with Load(server, clients=3) as load:
        until(lambda: server.workers() == workers, f"only {workers} are left")
        load.wait_for("one", 20)
        assert set(load.answers) == {"one"}
    assert sorted(server.family()) == sorted([server.pid, *workers])
