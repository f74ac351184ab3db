"""Programs that embed the server by gunicorn's classes, from `oxicorn.compat`."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from harness import processes
from harness.command import python
from harness.script import Scripts
from harness.server import Server
from harness.wait import until

SITE = """
import json, os
IMPORTED_BY = os.getpid()

def application(environ, start_response):
    facts = {"pid": os.getpid(), "parent": os.getppid(), "imported by": IMPORTED_BY}
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps({**facts, **EXTRA}).encode()]

EXTRA = {}
"""

STANDALONE = """
import multiprocessing
import oxicorn.compat.app.base

class StandaloneApplication(oxicorn.compat.app.base.BaseApplication):
    def __init__(self, app, options=None):
        self.options = options or {}
        self.application = app
        super().__init__()

    def load_config(self):
        config = {
            key: value
            for key, value in self.options.items()
            if key in self.cfg.settings and value is not None
        }
        for key, value in config.items():
            self.cfg.set(key.lower(), value)

    def load(self):
        return self.application
"""

LOADING = """
import json, os, sys
from oxicorn.compat.app.base import BaseApplication

class Site(BaseApplication):
    def load_config(self):
        for name, value in json.load(open("options.json")).items():
            self.cfg.set(name, value)

    def load(self):
        text = open("answer.txt").read()
        loaded_by = os.getpid()

        def application(environ, start_response):
            start_response("200 OK", [])
            facts = {"text": text, "pid": os.getpid(), "loaded by": loaded_by}
            return [json.dumps({**facts, "parent": os.getppid()}).encode()]

        return application

if __name__ == "__main__":
    Site().run()
"""


@pytest.fixture
def scripts(scripts: Scripts) -> Scripts:
    scripts.write("site_app.py", SITE)
    scripts.write("answer.txt", "one")
    scripts.write("options.json", json.dumps({"bind": "127.0.0.1:0"}))
    return scripts


def told(server: Server) -> dict[str, object]:
    """What the application tells of itself."""
    answer = json.loads(server.request().text)
    assert isinstance(answer, dict)
    return answer


def standalone(options: str, before: str = "", after: str = "") -> str:
    """The script of gunicorn's documentation of custom applications."""
    return (
        f"{STANDALONE}\nfrom site_app import application\n{before}\n"
        "if __name__ == '__main__':\n"
        f"    StandaloneApplication(application, {options}).run()\n{after}\n"
    )


# The documented custom application.


def test_a_standalone_application_is_served_with_its_options(scripts: Scripts) -> None:
    options = "{'bind': '%s:%s' % ('127.0.0.1', '0'), 'workers': 2, 'nothing_like_it': 1}"
    server = scripts.start(standalone(options), workers=2)
    answer = told(server)
    assert answer["parent"] == server.pid
    assert answer["pid"] in server.workers()
    server.stop()


def test_hooks_are_options_like_any_other(scripts: Scripts) -> None:
    before = (
        "def post_fork(server, worker):\n    server.log.info('forked %s', worker.pid)\n"
        "def when_ready(server):\n    server.log.info('ready with %s', server.cfg.workers)\n"
    )
    options = "{'bind': '127.0.0.1:0', 'post_fork': post_fork, 'when_ready': when_ready}"
    server = scripts.start(standalone(options, before))
    server.wait_for_log(rf"forked {server.worker}\b")
    server.wait_for_log("ready with 1")
    server.stop()


def test_hooks_see_the_object_that_embeds(scripts: Scripts) -> None:
    before = (
        "def post_worker_init(worker):\n"
        "    same = worker.app.callable is worker.app.wsgi() is application\n"
        "    worker.log.info('%s serves %s', type(worker.app).__name__, same)\n"
        "def when_ready(server):\n    server.log.info('options: %s', len(server.app.options))\n"
    )
    hooks = "'post_worker_init': post_worker_init, 'when_ready': when_ready"
    server = scripts.start(standalone(f"{{'bind': '127.0.0.1:0', {hooks}}}", before))
    server.wait_for_log("StandaloneApplication serves True")
    server.wait_for_log("options: 3")
    server.stop()


def test_nobody_returns_from_run(scripts: Scripts, tmp_path: Path) -> None:
    after = """
    raise AssertionError("run has returned")
"""
    before = """
import atexit, os
atexit.register(lambda: open("ends.txt", "a").write(f"{os.getpid()}\\n"))
"""
    server = scripts.start(standalone("{'bind': '127.0.0.1:0'}", before, after))
    told(server)
    server.stop()
    assert (tmp_path / "ends.txt").read_text() == f"{server.pid}\n"
    assert "run has returned" not in server.log


# Where the application is loaded.


def test_load_is_called_in_each_worker(scripts: Scripts) -> None:
    server = scripts.start(LOADING)
    answer = told(server)
    assert answer["loaded by"] == answer["pid"] == server.worker
    server.stop()


def test_with_preload_load_is_called_once_before_the_fork(scripts: Scripts) -> None:
    options = {"bind": "127.0.0.1:0", "workers": 2, "preload_app": True}
    scripts.write("options.json", json.dumps(options))
    server = scripts.launch(LOADING)
    server.wait_for_workers(2)
    server.wait_accepting()
    assert [told(server)["loaded by"]] == server.stems()
    server.stop()


@pytest.mark.parametrize("preload", [False, True])
def test_a_restart_calls_load_config_and_load_again(scripts: Scripts, preload: bool) -> None:
    options = {"bind": "127.0.0.1:0", "preload_app": preload, "observe_timeout": 0}
    scripts.write("options.json", json.dumps(options))
    server = scripts.launch(LOADING)
    server.wait_for_workers(1)
    server.wait_accepting()
    before = told(server)
    scripts.write("answer.txt", "two")
    scripts.write("options.json", json.dumps({**options, "workers": 2}))
    server.signal(signal.SIGHUP)
    server.wait_for_workers(2)
    until(lambda: told(server)["text"] == "two", "the new answer")
    assert told(server)["loaded by"] != before["loaded by"]
    server.stop()


def test_a_restart_with_settings_that_cannot_be_used_changes_nothing(scripts: Scripts) -> None:
    server = scripts.start(LOADING)
    worker = server.worker
    scripts.write("options.json", json.dumps({"bind": "127.0.0.1:0", "workers": "many"}))
    server.signal(signal.SIGHUP)
    server.wait_for_log(r"Site\.reload\(\): workers = 'many': expected a whole number")
    assert server.workers() == [worker]
    assert told(server)["text"] == "one"
    server.stop()


def test_a_restart_whose_load_raises_changes_nothing(scripts: Scripts, tmp_path: Path) -> None:
    server = scripts.start(LOADING)
    # The first worker has read the file.
    assert told(server)["text"] == "one"
    worker = server.worker
    (tmp_path / "answer.txt").unlink()
    server.signal(signal.SIGHUP)
    server.wait_for_log("FileNotFoundError")
    until(lambda: server.workers() == [worker], "only the old worker is left")
    assert told(server)["text"] == "one"
    server.stop()


def test_under_reload_a_saved_module_is_loaded_anew(scripts: Scripts) -> None:
    scripts.write("options.json", json.dumps({"bind": "127.0.0.1:0", "reload": True}))
    scripts.write("site_text.py", "TEXT = 'one'\n")
    text = LOADING.replace('text = open("answer.txt").read()', "from site_text import TEXT as text")
    server = scripts.start(text)
    assert told(server)["text"] == "one"
    scripts.write("site_text.py", "TEXT = 'another'\n")
    until(lambda: told(server)["text"] == "another", "the saved module")
    server.stop()


def test_an_asynchronous_application_is_served(scripts: Scripts) -> None:
    scripts.write(
        "site_app.py",
        """
async def application(scope, receive, send):
    assert scope["type"] == "http"
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"{}"})
""",
    )
    server = scripts.start(standalone("{'bind': '127.0.0.1:0'}"))
    assert told(server) == {}
    server.wait_for_log("Using worker: asgi")
    server.stop()


# What is wrong.


AS_GUNICORN = pytest.mark.parametrize("package", ["gunicorn", "oxicorn.compat"])


def ended(scripts: Scripts, text: str, package: str, code: int, said: str) -> None:
    """The program ends with this exit code; that of ours says so."""
    server = scripts.launch(text.replace("oxicorn.compat", package))
    server.expect_exit(code)
    assert package == "gunicorn" or said in server.log


@AS_GUNICORN
def test_an_option_that_cannot_be_used_ends_with_1(scripts: Scripts, package: str) -> None:
    said = "Error: workers = 'many': expected a whole number from 1 to 4096"
    ended(scripts, standalone("{'workers': 'many'}"), package, 1, said)


@AS_GUNICORN
def test_a_load_config_that_raises_ends_with_1(scripts: Scripts, package: str) -> None:
    scripts.write("options.json", '{"wrokers": 3}')
    ended(scripts, LOADING, package, 1, "Error: No configuration setting for: wrokers")


@AS_GUNICORN
@pytest.mark.parametrize(("method", "code"), [("load_config", 1), ("load", 3)])
def test_a_method_that_is_not_defined_is_named(
    scripts: Scripts, package: str, method: str, code: int
) -> None:
    text = LOADING.replace(f"def {method}(", f"def other_{method}(")
    ended(scripts, text, package, code, f"Site has no {method}(): a subclass has to define it")


@AS_GUNICORN
def test_a_load_that_raises_ends_with_3(scripts: Scripts, tmp_path: Path, package: str) -> None:
    (tmp_path / "answer.txt").unlink()
    ended(scripts, LOADING, package, 3, "'Site.load()' failed:")


@AS_GUNICORN
def test_an_import_error_of_gunicorns_ends_with_4(scripts: Scripts, package: str) -> None:
    raising = "from oxicorn.compat.errors import AppImportError; raise AppImportError('gone')"
    text = LOADING.replace('text = open("answer.txt").read()', raising)
    ended(scripts, text, package, 4, "The application could not be loaded. gone")


@AS_GUNICORN
def test_a_stopped_server_ends_with_0(scripts: Scripts, package: str) -> None:
    server = scripts.start(LOADING.replace("oxicorn.compat", package))
    assert told(server)["text"] == "one"
    server.stop()


def test_an_address_that_is_taken_ends_with_1(scripts: Scripts) -> None:
    first = scripts.start(standalone("{'bind': '127.0.0.1:0'}"))
    scripts.write("options.json", json.dumps({"bind": f"127.0.0.1:{first.port}"}))
    second = scripts.launch(LOADING)
    second.expect_exit(1)
    first.stop()


def test_run_in_another_thread_says_so(tmp_path: Path) -> None:
    text = standalone("{}").partition("if __name__")[0] + (
        "import threading\n"
        "run = StandaloneApplication(application).run\n"
        "thread = threading.Thread(target=run)\nthread.start()\nthread.join()\n"
    )
    (tmp_path / "site_app.py").write_text(SITE)
    (tmp_path / "main.py").write_text(text)
    said = python(tmp_path, "main.py").stderr
    assert "StandaloneApplication.run() handles signals: call it from the main thread." in said


# Application: a file and a command line too.

WITH_COMMAND_LINE = """
from oxicorn.compat.app.base import Application

class Site(Application):
    def init(self, parser, opts, args):
        self.words = args
        return {"workers": 2, "threads": 2, "backlog": 64, "proc_name": "own"}

    def load(self):
        from site_app import application
        return application

if __name__ == "__main__":
    Site("%(prog)s [OPTIONS]").run()
"""


def test_an_applications_own_settings_are_the_weakest(tmp_path: Path) -> None:
    (tmp_path / "site_app.py").write_text(SITE)
    (tmp_path / "main.py").write_text(WITH_COMMAND_LINE)
    (tmp_path / "gunicorn.conf.py").write_text("threads = 3\nproc_name = 'file'\n")
    env = {"GUNICORN_CMD_ARGS": "--name variable --backlog 65"}
    done = python(tmp_path, "main.py", "--print-config", "--backlog=66", env=env)
    assert done.returncode == 0, done.stderr
    for name, value, source in [
        ("workers", "2", "Site"),
        ("threads", "3", "./gunicorn.conf.py"),
        ("proc_name", "'variable'", "GUNICORN_CMD_ARGS"),
        ("backlog", "66", "command line"),
    ]:
        line = next(line for line in done.stdout.splitlines() if line.startswith(f"{name} "))
        assert f" = {value} " in line
        assert line.endswith(f"# {source}")


def test_an_applications_command_line_has_the_flags_of_the_settings(tmp_path: Path) -> None:
    (tmp_path / "site_app.py").write_text(SITE)
    (tmp_path / "main.py").write_text(WITH_COMMAND_LINE)
    wrong = python(tmp_path, "main.py", "--workers", "many")
    assert wrong.returncode == 2
    assert "argument -w/--workers: workers = 'many': expected a whole number" in wrong.stderr
    shown = python(tmp_path, "main.py", "--help")
    assert shown.returncode == 0
    assert "--graceful-timeout SECONDS" in shown.stdout
    assert "usage: main.py [OPTIONS]" in shown.stdout


def test_a_restart_reads_an_applications_file_again(scripts: Scripts) -> None:
    always = "bind = '127.0.0.1:0'\nobserve_timeout = 0\n"
    scripts.write("gunicorn.conf.py", f"workers = 1\n{always}")
    server = scripts.start(WITH_COMMAND_LINE)
    before = server.workers()
    scripts.write("gunicorn.conf.py", f"workers = 2\n{always}")
    server.signal(signal.SIGHUP)
    server.wait_for_workers(2)
    until(lambda: told(server)["pid"] not in before, "a new worker answers")
    server.stop()


def test_an_applications_directory_is_entered_once(scripts: Scripts, tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    (tmp_path / "site_app.py").rename(tmp_path / "inner" / "site_app.py")
    scripts.write("options.json", "{}")
    text = WITH_COMMAND_LINE.replace('"proc_name": "own"', '"bind": "127.0.0.1:0"')
    scripts.write("gunicorn.conf.py", "chdir = 'inner'\nworkers = 1\n")
    server = scripts.start(text)
    assert told(server)["parent"] == server.pid
    server.stop()


def test_the_command_is_a_class_and_a_function(scripts: Scripts) -> None:
    for text in [
        "from oxicorn.compat.app.wsgiapp import run\nrun()\n",
        "from oxicorn.compat.app.wsgiapp import WSGIApplication as App\n"
        "if __name__ == '__main__': App('%(prog)s [OPTIONS] [APP_MODULE]').run()\n",
    ]:
        server = scripts.launch(text, "-b", "127.0.0.1:0", "site_app")
        server.wait_for_log("Listening at: ")
        server.wait_accepting()
        answer = told(server)
        assert answer["imported by"] == answer["pid"] == server.worker
        server.stop()


def test_the_class_of_the_command_needs_an_application(scripts: Scripts) -> None:
    text = "from oxicorn.compat.app.wsgiapp import WSGIApplication\nWSGIApplication().run()\n"
    server = scripts.launch(text)
    server.expect_exit(1)
    assert "Error: No application module specified." in server.log
    server = scripts.launch(text, "-b", "127.0.0.1:0", "site_app:nothing")
    server.expect_exit(4)


def test_an_arbiter_runs_an_application(scripts: Scripts) -> None:
    text = LOADING.replace("Site().run()", "Arbiter(Site()).run()")
    server = scripts.start("from oxicorn.compat.arbiter import Arbiter\n" + text)
    assert told(server)["text"] == "one"
    server.stop()


def test_processes_of_an_embedded_server_end_with_it(scripts: Scripts) -> None:
    server = scripts.start(LOADING)
    worker = server.worker
    server.signal(signal.SIGINT)
    server.expect_exit(0)
    assert not processes.alive(worker)
