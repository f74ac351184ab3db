"""`oxicorn.run`: a server that a script starts, as a real process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from harness.script import ASGI, WSGI, Scripts
from harness.server import Server
from harness.wait import PATIENCE, until


def main(call: str, before: str = "", after: str = "") -> str:
    """A script as one writes them."""
    return (
        f"import oxicorn\n{before}\nif __name__ == '__main__':\n    oxicorn.run({call})\n{after}\n"
    )


def pids(server: Server) -> tuple[int, int, int]:
    """The worker that answers, its parent, and who imported the application."""
    worker, parent, importer = map(int, server.request().text.split())
    return worker, parent, importer


# What is served.


@pytest.mark.parametrize("application", [WSGI, ASGI], ids=["wsgi", "asgi"])
def test_an_object_is_served_by_several_workers(scripts: Scripts, application: str) -> None:
    scripts.write("site_app.py", application)
    before = "from site_app import app"
    server = scripts.start(main("app, port=0, workers=2", before), workers=2)
    workers = server.workers()

    def answering() -> set[int]:
        worker, parent, importer = pids(server)
        assert (parent, importer) == (server.pid, server.pid)
        return {worker}

    seen: set[int] = set()
    until(lambda: seen.update(answering()) or seen == set(workers), "both workers answer")
    server.stop()


@pytest.mark.parametrize("application", [WSGI, ASGI], ids=["wsgi", "asgi"])
def test_a_name_is_loaded_by_the_worker(scripts: Scripts, application: str) -> None:
    scripts.write("site_app.py", application)
    server = scripts.start(main("'site_app:app', port=0"))
    worker, parent, importer = pids(server)
    assert (worker, parent) == (importer, server.pid)
    server.stop()


def test_the_script_itself_may_hold_the_application(scripts: Scripts) -> None:
    server = scripts.start(main("'main:app', host='127.0.0.1', port=0", WSGI))
    worker, _, importer = pids(server)
    assert worker == importer
    server.stop()


def test_hooks_are_arguments_like_any_other_setting(scripts: Scripts) -> None:
    before = (
        WSGI
        + """
def post_fork(server, worker):
    server.log.info("forked %s", worker.pid)
"""
    )
    server = scripts.start(main("'main:app', port=0, post_fork=post_fork", before))
    worker = pids(server)[0]
    server.wait_for_log(f"forked {worker}")
    server.stop()


def test_a_factory_makes_the_application(scripts: Scripts) -> None:
    scripts.write("site_app.py", WSGI + "\ndef create():\n    return app\n")
    for named in ("'site_app:create'", "create"):
        before = "from site_app import create"
        server = scripts.start(main(f"{named}, factory=True, port=0", before))
        assert pids(server)[1] == server.pid
        server.stop()


def test_settings_have_their_own_names_and_uvicorns(scripts: Scripts, tmp_path: Path) -> None:
    scripts.write("site_app.py", ASGI)
    before = "import logging, pathlib"
    call = """'site_app:app', uds=pathlib.Path('s'), log_level=logging.DEBUG, access_log=True,
        headers=[('X-A', 'b')], server_header=False, loop='asyncio', fd=None, threads=1"""
    server = scripts.launch(main(call, before))
    server.bind = f"unix:{tmp_path}/s"
    server.wait_for_log("is ready")
    response = server.request()
    assert (response.header("X-A"), response.header("Server")) == ("b", None)
    server.wait_for_log(r"Using worker: asgi \(asyncio\)")
    server.wait_for_log(r'"GET / HTTP/1.1" 200')
    server.stop()


def test_a_configuration_file_is_read_if_it_is_named(scripts: Scripts) -> None:
    scripts.write("site_app.py", WSGI)
    scripts.write("gunicorn.conf.py", "raise SystemExit('read')\n")
    scripts.write("serving.py", "bind = '127.0.0.1:0'\nworkers = 7\n")
    server = scripts.start(main("'site_app:app', config='serving.py', workers=1"))
    assert len(server.workers()) == 1
    server.stop()


def test_the_environment_is_weaker_than_the_arguments(scripts: Scripts) -> None:
    scripts.write("site_app.py", WSGI)
    env = {"OXICORN_WORKERS": "2", "OXICORN_BIND": "nowhere:1", "GUNICORN_CMD_ARGS": "--nonsense"}
    server = scripts.start(main("'site_app:app', port=0"), workers=2, env=env)
    server.stop()


# The end.


ENDS = """
import atexit, signal
atexit.register(print, "atexit", flush=True)
# Where this was started with the signal ignored, it would stay so.
signal.signal(signal.SIGINT, signal.default_int_handler)
try:
    oxicorn.run(app, port=0, workers=2)
finally:
    print("finally", flush=True)
print("returned", flush=True)
try:
    signal.raise_signal(signal.SIGINT)
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_only_the_process_that_called_returns(scripts: Scripts, number: signal.Signals) -> None:
    server = scripts.start(f"import oxicorn\n{WSGI}\n{ENDS}", workers=2)
    server.signal(number)
    server.expect_exit(0)
    printed = [line for line in server.log.splitlines() if not line.startswith("[")]
    assert printed == ["finally", "returned", "interrupted", "atexit"]


def test_ctrl_c_at_the_terminal_ends_everybody(scripts: Scripts) -> None:
    server = scripts.start(main("app, port=0, workers=2", ASGI, "print('returned')"), workers=2)
    os.killpg(server.pid, signal.SIGINT)
    server.expect_exit(0)
    assert "Traceback" not in server.log
    assert server.log.count("returned") == 1


def test_what_a_worker_has_put_up_for_its_end_is_run(scripts: Scripts) -> None:
    register = "import atexit, pathlib\natexit.register(pathlib.Path('left').touch)\n"
    scripts.write("site_app.py", register + WSGI)
    server = scripts.start(main("'site_app:app', port=0"))
    pids(server)
    server.stop()
    assert (scripts.folder / "left").exists()


def test_a_server_can_be_run_again(scripts: Scripts) -> None:
    again = "\nfor _ in range(2):\n    oxicorn.run(app, port=0)\n"
    server = scripts.start(f"import oxicorn\n{WSGI}\n{again}")
    server.signal(signal.SIGINT)
    server.wait_for_log("Listening at: ", 2)
    server._port = None
    until(lambda: len(server.workers()) == 1, "the second one serves")
    server.signal(signal.SIGINT)
    server.expect_exit(0)


# What goes wrong.


def run(scripts: Scripts, text: str) -> subprocess.CompletedProcess[str]:
    """Runs a script to its end."""
    scripts.write("main.py", text)
    return subprocess.run(
        [sys.executable, "main.py"],
        cwd=scripts.folder,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )


def test_an_unknown_setting_is_an_error_of_the_call(scripts: Scripts) -> None:
    done = run(scripts, main("print, prot=80"))
    assert done.returncode == 1
    line = "TypeError: run() got an unexpected keyword argument 'prot'. Did you mean 'port'?"
    assert done.stderr.splitlines()[-1] == line


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("print, port='http'", "Error: port = 'http' (from oxicorn.run): 'http' is not a port"),
        ("print, uds='a', fd=3", "each say the one address"),
        ("print, reload=True, port=0", "reload needs the application by its name"),
        ("print, limit_concurrency=3", "Error: limit_concurrency = 3 (from oxicorn.run): not supp"),
        ("'', port=0", "names no module"),
        ("'nowhere:app', check_config=True", "There is no module 'nowhere'"),
    ],
)
def test_a_wrong_setting_ends_with_one_sentence(scripts: Scripts, call: str, message: str) -> None:
    done = run(scripts, main(call))
    assert done.returncode in (1, 3)
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_a_server_that_cannot_start_ends_the_script(scripts: Scripts) -> None:
    scripts.write("site_app.py", WSGI)
    first = scripts.start(main("'site_app:app', port=0"))
    call = f"'site_app:app', port={first.port}"
    done = run(scripts, main(call, after="print('returned')"))
    assert (done.returncode, "returned" in done.stdout) == (1, False)
    assert "in use" in done.stderr
    done = run(scripts, main("'site_app:nothing', port=0", after="print('returned')"))
    assert (done.returncode, "returned" in done.stdout) == (4, False)
    first.stop()


def test_it_is_called_from_the_main_thread(scripts: Scripts) -> None:
    before = "import threading"
    call = "threading.Thread(target=oxicorn.run, args=(print,)).start()"
    done = run(scripts, f"import oxicorn\n{before}\n{call}\n")
    assert "RuntimeError: oxicorn.run() handles signals: call it from the main thread." in (
        done.stderr.splitlines()
    )


def test_it_is_not_called_from_a_running_loop(scripts: Scripts) -> None:
    before = "import asyncio\nasync def main():\n    oxicorn.run(print)"
    done = run(scripts, f"import oxicorn\n{before}\nasyncio.run(main())\n")
    line = "RuntimeError: oxicorn.run() cannot be called from a running event loop."
    assert done.stderr.splitlines()[-1] == line


def test_threads_that_the_fork_loses_are_named(scripts: Scripts) -> None:
    lost = "from threading import Event, Thread\nThread(None, Event().wait, 'lost', daemon=True)"
    server = scripts.start(main("app, port=0", f"{WSGI}\n{lost}.start()"))
    server.wait_for_log(r"\[WARNING\] Threads that were started before .*: lost")
    server.stop()


# New code.


HELPED = """
import helper

def app(environ, start_response):
    start_response("200 OK", [])
    return [helper.VERSION.encode()]
"""


def test_a_restart_loads_by_its_name_what_the_script_had_imported(scripts: Scripts) -> None:
    scripts.write("helper.py", "VERSION = 'one'\n")
    scripts.write("site_app.py", HELPED)
    before = "import site_app"
    call = "'site_app:app', port=0, observe_timeout=0"
    server = scripts.start(main(call, before))
    assert server.request().text == "one"
    scripts.write("helper.py", "VERSION = 'two'\n")
    server.signal(signal.SIGHUP)
    server.wait_for_log("Generation 2 is confirmed")
    assert server.request().text == "two"
    server.stop()


def test_a_restart_of_an_object_serves_the_same(scripts: Scripts) -> None:
    server = scripts.start(main("app, port=0, observe_timeout=0", WSGI))
    before = pids(server)
    scripts.write("main.py", "raise SystemExit('not read again')")
    server.signal(signal.SIGHUP)
    server.wait_for_log("Generation 2 is confirmed")
    after = pids(server)
    assert after[1:] == before[1:]
    assert after[0] != before[0]
    server.stop()


@pytest.mark.parametrize("imported", ["", "import site_app"])
def test_reload_sees_a_change_also_in_what_the_script_had_imported(
    scripts: Scripts, imported: str
) -> None:
    scripts.write("helper.py", "VERSION = 'one'\n")
    scripts.write("site_app.py", HELPED)
    call = "'site_app:app', port=0, reload=True, reload_delay=0.05"
    server = scripts.start(main(call, imported))
    assert server.request().text == "one"
    scripts.write("helper.py", "VERSION = 'other'\n")
    until(lambda: server.request().text == "other", "the new code")
    server.stop()


def test_the_server_of_a_script_is_not_replaced_in_place(scripts: Scripts, tmp_path: Path) -> None:
    control = str(tmp_path / "ctl")
    call = f"app, port=0, control_socket={control!r}"
    server = scripts.start(main(call, WSGI))
    command = [sys.executable, "-m", "oxicorn.ctl", "--socket", control, "upgrade"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode != 0
    assert "a script started it" in done.stdout + done.stderr
    assert pids(server)[1] == server.pid
    server.stop()


# Types.


TYPED = """
import oxicorn

def app(environ: dict[str, object], start_response: object) -> list[bytes]:
    return []

oxicorn.run(app, host="::1", port=80, workers=None, headers=[("a", "b")], log_level=20)
oxicorn.run("main:app", bind=[":80"], timeout=3, reload_dirs="src", asgi_loop="uvloop")
oxicorn.run(app, prot=80)
oxicorn.run(app, port="80")
oxicorn.run(app, asgi_lifespan="fast")
"""


def test_the_arguments_have_types(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text(TYPED)
    command = [sys.executable, "-m", "mypy", "--strict", "--no-incremental", "main.py"]
    done = subprocess.run(
        command,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=2 * PATIENCE,
        env={**os.environ, "MYPYPATH": str(Path(__file__).parent.parent / "python")},
    )
    wrong = sorted({line.split(":")[1] for line in done.stdout.splitlines() if "error:" in line})
    assert wrong == ["10", "11", "9"], done.stdout
