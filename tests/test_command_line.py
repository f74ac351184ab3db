"""The command: what it prints, how it ends, and what a worker finds when it boots."""

from __future__ import annotations

import io
import json
import os
import pty
import pwd
import select
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import oxicorn
from conftest import Serve
from harness.client import message
from harness.folders import open_to_everybody
from harness.server import Server
from harness.wait import PATIENCE, until
from oxicorn import banner
from oxicorn.errors import OperatorError
from oxicorn.identity import Identity

SITE = """
import json, os, sys, threading

def app(environ, start_response):
    facts = {
        "pid": os.getpid(),
        "ppid": os.getppid(),
        "uid": os.getuid(),
        "gid": os.getgid(),
        "groups": os.getgroups(),
        "cwd": os.getcwd(),
        "path": sys.path,
        "thread": threading.current_thread().name,
        "main": threading.current_thread() is threading.main_thread(),
        "environ": dict(os.environ),
        "imported by": IMPORTED_BY,
        "imported as": IMPORTED_AS,
        "title": open("/proc/self/cmdline").read().strip(chr(0)),
    }
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(facts).encode()]

IMPORTED_BY, IMPORTED_AS = os.getpid(), os.getuid()
"""

FAILING = {
    "raises.py": "import no_such_library\n",
    "syntax.py": "def app(:\n",
    "leaves.py": "raise SystemExit(0)\n",
}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path) -> Path:
    """The start directory: a site that tells about its process, and some that fail."""
    for name, text in {**FAILING, "site_app.py": SITE}.items():
        (tmp_path / name).write_text(text)
    return tmp_path


@pytest.fixture
def site(serve: Serve, folder: Path) -> Callable[..., Server]:
    """Starts the site with options."""

    def start(*options: str, **how: Any) -> Server:
        return serve("site_app:app", *options, **{"cwd": folder, **how})

    return start


def run(folder: Path, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Runs the command to its end."""
    return subprocess.run(
        [sys.executable, "-m", "oxicorn", *arguments],
        cwd=folder,
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        timeout=60,
    )


def facts(server: Server) -> Any:
    return json.loads(server.request().body)


# What it prints.


def test_the_console_script_and_the_module_are_the_same(folder: Path) -> None:
    script = Path(sys.executable).with_name("oxicorn")
    out = subprocess.run([script, "--version"], capture_output=True, text=True, timeout=60)
    assert (
        out.stdout
        == run(folder, "--version").stdout
        == f"oxicorn (version {oxicorn.__version__})\n"
    )
    assert out.returncode == 0


def test_help_goes_to_standard_output(folder: Path) -> None:
    result = run(folder, "--help")
    assert result.returncode == 0
    assert "--bind" in result.stdout
    assert result.stderr == ""


def test_a_usage_error_goes_to_standard_error_and_ends_with_2(folder: Path) -> None:
    result = run(folder, "--no-such-option", "site_app:app")
    assert result.returncode == 2
    assert "--no-such-option" in result.stderr
    assert result.stdout == ""


def test_print_config_shows_every_setting_and_checks_the_application(folder: Path) -> None:
    result = run(folder, "--print-config", "--workers", "3", "site_app:app")
    assert result.returncode == 0
    assert any(line.split()[:3] == ["workers", "=", "3"] for line in result.stdout.splitlines())
    assert run(folder, "--print-config", "raises:app").returncode == 1


def test_check_config_is_silent_when_all_is_well(folder: Path) -> None:
    result = run(folder, "--check-config", "site_app:app")
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


# How it ends.


def test_no_application_ends_with_1(folder: Path) -> None:
    result = run(folder)
    message = "Error: No application was named: oxicorn [OPTIONS] MODULE[:VARIABLE]\n"
    assert (result.returncode, result.stderr) == (1, message)


@pytest.mark.parametrize("value", ["many", "-1", "1.5"])
def test_a_bad_value_ends_with_1_or_2_and_names_the_setting(folder: Path, value: str) -> None:
    result = run(folder, f"--workers={value}", "site_app:app")
    assert result.returncode in (1, 2)
    assert "workers" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("option", ["--check-config", "--preload"])
@pytest.mark.parametrize("spec", ["raises:app", "syntax:app", "site_app:ap", "nowhere", "leaves"])
def test_an_application_that_fails_before_any_worker_ends_with_1(
    folder: Path, option: str, spec: str
) -> None:
    result = run(folder, option, "--bind", "127.0.0.1:0", spec)
    assert result.returncode == 1
    assert "oxicorn/app.py" not in result.stderr


@pytest.mark.parametrize("spec", ["raises:app", "syntax:app", "nowhere:app", "leaves:app"])
def test_a_module_that_fails_in_a_worker_ends_with_3(folder: Path, spec: str) -> None:
    result = run(folder, "--bind", "127.0.0.1:0", spec)
    assert result.returncode == 3
    assert "The application could not be loaded." in result.stderr
    assert "oxicorn/app.py" not in result.stderr


@pytest.mark.parametrize("spec", ["site_app:ap", "site_app:SITE.app", "site_app:app(", "json"])
def test_a_name_that_is_no_application_ends_with_4(folder: Path, spec: str) -> None:
    result = run(folder, "--bind", "127.0.0.1:0", spec)
    assert result.returncode == 4
    assert "The application could not be loaded." in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--chdir", "nowhere"], "nowhere"),
        (["--tmp-upload-dir", "nowhere"], "tmp_upload_dir: 'nowhere'"),
        (["--user", "nobody-of-that-name"], "nobody-of-that-name"),
        (["--group", "nobody-of-that-name"], "nobody-of-that-name"),
    ],
)
def test_a_thing_that_does_not_exist_is_named(
    folder: Path, options: list[str], message: str
) -> None:
    result = run(folder, *options, "site_app:app")
    assert result.returncode == 1
    assert message in result.stderr
    assert "Traceback" not in result.stderr


def test_the_upload_directory_is_looked_for_after_chdir(folder: Path) -> None:
    (folder / "inner" / "uploads").mkdir(parents=True)
    (folder / "inner" / "inner_app.py").write_text(SITE)
    options = ("--chdir", "inner", "--tmp-upload-dir", "uploads")
    result = run(folder, "--check-config", *options, "inner_app:app")
    assert result.returncode == 0, result.stderr


# What a worker finds.


def test_the_start_directory_is_importable_and_current(
    site: Callable[..., Server], folder: Path
) -> None:
    found = facts(site())
    assert found["cwd"] == str(folder)
    assert str(folder) in found["path"]


def test_chdir_is_importable_and_current(serve: Serve, folder: Path) -> None:
    inner = folder / "inner"
    inner.mkdir()
    (folder / "site_app.py").rename(inner / "inner_app.py")
    found = facts(serve("inner_app:app", "--chdir", "inner", cwd=folder))
    assert found["cwd"] == str(inner)
    assert str(inner) in found["path"]


def test_pythonpath_is_importable(serve: Serve, folder: Path) -> None:
    (folder / "lib").mkdir()
    (folder / "site_app.py").rename(folder / "lib/lib_app.py")
    found = facts(serve("lib_app:app", "--pythonpath", "other,lib", cwd=folder))
    assert {f"{folder}/other", f"{folder}/lib"} <= set(found["path"])
    assert found["cwd"] == str(folder)


def test_env_is_set_before_the_import(site: Callable[..., Server]) -> None:
    environ = facts(site("-e", "GREETING=good=day", "--env", "EMPTY="))["environ"]
    assert (environ["GREETING"], environ["EMPTY"]) == ("good=day", "")


def test_the_application_is_named_by_wsgi_app_too(serve: Serve, folder: Path) -> None:
    (folder / "oxicorn.conf.py").write_text("wsgi_app = 'site_app:app'\n")
    server = Server(folder / "server", "site_app:app", cwd=folder)
    server.command.remove("site_app:app")
    try:
        assert facts(server.start())["cwd"] == str(folder)
        server.stop()
    finally:
        server.destroy()


def test_each_worker_imports_for_itself(site: Callable[..., Server]) -> None:
    found = facts(site())
    assert found["imported by"] == found["pid"]


def test_what_a_preloaded_import_prints_is_printed_once(
    site: Callable[..., Server], folder: Path
) -> None:
    (folder / "site_app.py").write_text("print('imported')\n" + SITE)
    server = site("--preload", workers=2, env={"PYTHONUNBUFFERED": ""})
    server.stop()
    assert server.log.count("imported") == 1


def test_captured_output_is_written_line_by_line(site: Callable[..., Server], folder: Path) -> None:
    (folder / "site_app.py").write_text("print('imported')\n" + SITE)
    log = folder / "error.log"
    log.touch()
    options = ("--error-logfile", str(log), "--capture-output")
    server = site(*options, launch=True, env={"PYTHONUNBUFFERED": ""})
    server.path = log
    server.wait_for_log("(?m)^imported$")


def test_threads_that_a_preload_loses_are_named(site: Callable[..., Server], folder: Path) -> None:
    lost = "Thread(None, Event().wait, 'lost', daemon=True).start()"
    (folder / "site_app.py").write_text(f"from threading import Event, Thread\n{lost}\n{SITE}")
    site("--preload").wait_for_log(r"\[WARNING\].* threads started by the import .*: lost")


def test_one_thread_is_the_main_thread(site: Callable[..., Server]) -> None:
    assert facts(site())["main"] is True


def test_several_threads_have_names(site: Callable[..., Server]) -> None:
    found = facts(site("--threads", "3"))
    assert found["main"] is False
    assert found["thread"] in {"oxicorn-1", "oxicorn-2", "oxicorn-3"}


def test_processes_are_named(site: Callable[..., Server]) -> None:
    server = site("--name", "shop")
    assert facts(server)["title"] == "oxicorn: worker [shop]"
    title = Path(f"/proc/{server.pid}/cmdline").read_text().strip("\0")
    assert title == "oxicorn: master [shop]"


def test_the_log_says_what_gunicorns_says(site: Callable[..., Server]) -> None:
    server = site("--threads", "2")
    server.wait_for_log(rf"Starting oxicorn {oxicorn.__version__}")
    server.wait_for_log(rf"Listening at: http://127\.0\.0\.1:\d+ \({server.pid}\)")
    server.wait_for_log(r"Using worker: gthread")
    server.wait_for_log(rf"Booting worker with pid: {facts(server)['pid']}")


def test_atexit_functions_of_the_application_run(site: Callable[..., Server], folder: Path) -> None:
    register = "import atexit, pathlib\natexit.register(pathlib.Path('left').touch)\n"
    (folder / "site_app.py").write_text(register + SITE)
    server = site()
    assert facts(server)
    server.stop()
    assert (folder / "left").exists()


@pytest.mark.parametrize("path", ["/sleeps", "/holds-the-lock"])
@pytest.mark.parametrize("options", [(), ("--threads", "2")])
def test_a_hung_workers_stacks_are_in_the_error_logs_file(
    serve: Serve, folder: Path, path: str, options: tuple[str, ...]
) -> None:
    (folder / "hangs.py").write_text(HANGING)
    log = folder / "error.log"
    log.touch()
    options = (*options, "--timeout", "1", "--graceful-timeout", "1", "--error-logfile", str(log))
    server = serve("hangs:app", *options, cwd=folder, launch=True)
    server.path = log
    with server.connect() as connection:
        connection.send(message(path))
        server.wait_for_log("in hang_here")
    server.wait_for_log("Booting worker", 2)


HANGING = """
import re, time

def app(environ, start_response):
    hang_here(environ["PATH_INFO"])

def hang_here(path):
    time.sleep(600) if path == "/sleeps" else re.match("(a+)+$", "a" * 60 + "b")
"""


def test_the_bundled_example_shows_the_request(serve: Serve) -> None:
    example = Path(__file__).parent.parent / "examples/hello"
    server = serve("hello:app", cwd=example)
    told = json.loads(server.request("/a%20b?c=d", headers=[("Accept", "application/json")]).body)
    assert told["Request"]["path"] == "/a b"
    assert told["Request"]["query"] == "c=d"
    assert told["Server"]["process"] == server.worker
    page = server.request("/<b>", headers=[("Accept", "text/html")]).body
    assert b"&lt;b&gt;" in page


# User and group.


def test_the_workers_user_and_group_are_changed_or_the_start_is_refused(
    serve: Serve, folder: Path
) -> None:
    nobody = pwd.getpwnam("nobody")
    if os.geteuid() != 0:
        result = run(folder, "--user", "nobody", "site_app:app")
        assert (result.returncode, "started as root" in result.stderr) == (1, True)
        return
    open_to_everybody(folder)
    # The interpreter's own files may be closed to them.
    (folder / "oxicorn.conf.py").write_text("import json, threading\nobserve_timeout = 0\n")
    options = ("--preload", "--user", "nobody", "--group", str(nobody.pw_gid))
    server = serve("site_app:app", *options, cwd=folder)
    first = _is_nobodys(server)
    server.signal(signal.SIGHUP)
    server.wait_for_log("Generation 2 is confirmed")
    until(lambda: _is_nobodys(server) != first, "the stem of the next generation imported it")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may serve as somebody else")
def test_a_folder_that_the_user_may_not_read_is_named(serve: Serve, folder: Path) -> None:
    folder.chmod(0o700)
    server = serve("site_app:app", "--user", "nobody", cwd=folder, launch=True)
    uid = pwd.getpwnam("nobody").pw_uid
    server.expect_exit(3)
    assert f" This process (uid {uid}) may not read {folder}.\n" in server.log


def _is_nobodys(server: Server) -> int:
    """The process that imported the application, with no more rights than the worker has."""
    nobody = pwd.getpwnam("nobody")
    found = facts(server)
    assert (found["uid"], found["gid"]) == (nobody.pw_uid, nobody.pw_gid)
    assert (found["groups"], found["imported as"]) == ([], nobody.pw_uid)
    return int(found["imported by"])


class Settings:
    """As much of a configuration as an identity needs."""

    def __init__(self, user: str | None = None, group: str | None = None, initgroups: bool = False):
        self.user = user
        self.group = group
        self.initgroups = initgroups


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """What is asked of the system by a process that is root, in order."""
    made: list[tuple[Any, ...]] = []
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(os, "getegid", lambda: 0)
    for name in ("setuid", "setgid", "setgroups", "initgroups"):
        monkeypatch.setattr(os, name, lambda *values, name=name: made.append((name, *values)))
    return made


def identity(**settings: Any) -> Identity:
    return Identity.of(Settings(**settings))  # type: ignore[arg-type]


def test_groups_go_before_the_user(calls: list[tuple[Any, ...]]) -> None:
    identity(user="4711", group="42").assume()
    assert calls == [("setgroups", []), ("setgid", 42), ("setuid", 4711)]


def test_initgroups_takes_the_users_groups(calls: list[tuple[Any, ...]]) -> None:
    identity(user="nobody", group="42", initgroups=True).assume()
    uid = pwd.getpwnam("nobody").pw_uid
    assert calls == [("initgroups", "nobody", 42), ("setgid", 42), ("setuid", uid)]


def test_nothing_is_changed_without_need(calls: list[tuple[Any, ...]]) -> None:
    identity().assume()
    identity(user="0", group="0").assume()
    assert calls == []


def test_another_user_is_refused_unless_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(OperatorError, match="only be changed when started as root"):
        identity(user="nobody")


# The banner.


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


FACTS = banner.Facts("shop:app", ["http://127.0.0.1:8000", "unix:/run/s"], 2, 4, "gthread", 99)


def shown(stream: io.StringIO, color: str = "auto", **environ: str) -> str:
    banner.show(replace(FACTS, color=color), stream, environ)
    return stream.getvalue()


def test_the_banner_tells_everything() -> None:
    text = shown(Terminal(), NO_COLOR="1")
    for fact in (oxicorn.__version__, *FACTS.urls, "shop:app", "2 x 4 threads (gthread)", "99"):
        assert fact in text
    assert sys.version.split()[0] in text
    assert max(map(len, text.splitlines())) < 80


def test_the_banner_is_coloured_on_a_terminal_only() -> None:
    assert "\x1b[" in shown(Terminal())
    assert "\x1b[" not in shown(Terminal(), NO_COLOR="1")
    assert "\x1b[" not in shown(Terminal(), TERM="dumb")
    assert shown(io.StringIO()) == ""


def test_the_banners_colour_can_be_said() -> None:
    assert "\x1b[" in shown(Terminal(), "always", NO_COLOR="1")
    assert "\x1b[" not in shown(Terminal(), "never")


def test_a_file_does_not_get_the_banner(site: Callable[..., Server]) -> None:
    assert "Ctrl-C to stop" not in site().log


def test_a_terminal_gets_the_banner(folder: Path) -> None:
    terminal, theirs = pty.openpty()
    command = [sys.executable, "-m", "oxicorn", "-b", "127.0.0.1:0", "site_app:app"]
    with subprocess.Popen(command, cwd=folder, stderr=theirs, start_new_session=True) as server:
        try:
            text = read_until(terminal, "Booting worker")
            os.killpg(server.pid, signal.SIGINT)
            assert server.wait(PATIENCE) == 0
        finally:
            server.kill()
    assert "Ctrl-C to stop" in text
    assert "\x1b[" in text
    os.close(theirs)
    os.close(terminal)


def read_until(descriptor: int, words: str) -> str:
    """What arrives at the terminal, up to and including `words`."""
    text = ""
    while words not in text:
        ready, _, _ = select.select([descriptor], [], [], PATIENCE)
        assert ready, f"{words!r} did not arrive, only {text!r}"
        text += os.read(descriptor, 4096).decode()
    return text


def test_the_log_lines_are_gunicorns() -> None:
    assert banner.log_lines(FACTS) == [
        f"Starting oxicorn {oxicorn.__version__}",
        "Using worker: gthread",
    ]


def test_what_the_application_decides_is_not_said_before_it() -> None:
    undecided = replace(FACTS, worker_class=None)
    assert banner.log_lines(undecided) == [f"Starting oxicorn {oxicorn.__version__}"]
    text = Terminal()
    banner.show(undecided, text, {"NO_COLOR": "1"})
    assert "2 x 4 threads\n" in text.getvalue()


ASGI = """
async def app(scope, receive, send):
    raise NotImplementedError(scope["type"])
"""


@pytest.mark.parametrize(
    ("text", "options", "kind"),
    [
        (SITE, (), "sync"),
        (SITE, ("--threads", "2"), "gthread"),
        (SITE, ("--interface", "wsgi"), "sync"),
        (SITE, ("--preload",), "sync"),
        (ASGI, ("--loop", "asyncio"), r"asgi \(asyncio\)"),
        (ASGI, (), r"asgi \(uvloop\)"),
        (ASGI, ("-k", "asgi"), r"asgi \(uvloop\)"),
        (ASGI, ("-k", "gthread", "--preload"), r"asgi \(uvloop\)"),
    ],
)
def test_the_log_says_once_what_really_runs(
    site: Callable[..., Server], folder: Path, text: str, options: tuple[str, ...], kind: str
) -> None:
    (folder / "site_app.py").write_text(text)
    server = site(*options, "--log-level", "debug", workers=2)
    server.wait_for_log("is ready", 2)
    server.wait_for_log(rf"\[INFO\] Using worker: {kind}\n")
    assert server.log.count("Using worker") == 1
