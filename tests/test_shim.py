"""The package `gunicorn` by Oxicorn, for programs that import it where it is not installed."""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from conftest import Serve
from harness.bare import Bare
from harness.command import APP
from harness.server import Server, clean_environment
from harness.wait import PATIENCE
from oxicorn.shim import FOLDER

NAMES = {
    "gunicorn": ["__version__", "version_info", "SERVER", "SERVER_SOFTWARE"],
    "gunicorn.app.base": ["Application", "BaseApplication"],
    "gunicorn.app.pasterapp": ["get_wsgi_app", "has_logging_config", "serve"],
    "gunicorn.app.wsgiapp": ["WSGIApplication", "run"],
    "gunicorn.arbiter": ["Arbiter"],
    "gunicorn.config": [
        "KNOWN_SETTINGS",
        "Config",
        "Setting",
        "get_default_config_file",
        "make_settings",
    ],
    "gunicorn.debug": ["spew", "unspew"],
    "gunicorn.errors": ["AppImportError", "ConfigError", "HaltServer"],
    "gunicorn.glogging": [
        "CONFIG_DEFAULTS",
        "SYSLOG_FACILITIES",
        "Logger",
        "SafeAtoms",
        "loggers",
        "parse_syslog_address",
    ],
    "gunicorn.http.message": ["Request"],
    "gunicorn.http.wsgi": ["Response"],
    "gunicorn.instrument.statsd": ["Statsd"],
    "gunicorn.util": [
        "bytes_to_str",
        "check_is_writable",
        "chown",
        "close",
        "close_on_exec",
        "get_arity",
        "getcwd",
        "http_date",
        "import_app",
        "is_hoppish",
        "is_ipv6",
        "load_class",
        "parse_address",
        "set_non_blocking",
        "to_bytestring",
        "unlink",
        "warn",
    ],
    "gunicorn.workers": ["SUPPORTED_WORKERS"],
    "gunicorn.workers.base": ["Worker"],
    "gunicorn.workers.gasgi": ["ASGIWorker"],
    "gunicorn.workers.ggevent": ["GeventPyWSGIWorker", "GeventWorker"],
    "gunicorn.workers.gtornado": ["TornadoWorker"],
    "gunicorn.workers.gthread": ["ThreadWorker"],
    "gunicorn.workers.sync": ["SyncWorker"],
}
"""What can be imported."""

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def bare(tmp_path: Path) -> Bare:
    """An interpreter without gunicorn."""
    return Bare(tmp_path / "packages")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The start directory, with an application."""
    made = tmp_path / "start"
    made.mkdir()
    (made / "site_app.py").write_text(APP)
    return made


@pytest.fixture
def run(folder: Path, bare: Bare) -> Run:
    """Runs the bare interpreter."""

    def run(*words: str, **env: str) -> subprocess.CompletedProcess[str]:
        if "PYTHONPATH" in env:
            env["PYTHONPATH"] += os.pathsep + bare.env["PYTHONPATH"]
        return subprocess.run(
            [*bare.words, *words],
            cwd=folder,
            env={**clean_environment(), **bare.env, **env},
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )

    return run


@pytest.fixture
def start(folder: Path, bare: Bare, tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Starts the bare interpreter, which becomes a server."""
    made: list[Server] = []

    def start(*words: str, **env: str) -> Server:
        if "PYTHONPATH" in env:
            env["PYTHONPATH"] += os.pathsep + bare.env["PYTHONPATH"]
        server = Server(tmp_path / f"server-{len(made)}", bind=None, env={**bare.env, **env})
        server.command, server.cwd = [*bare.words, *words], folder
        made.append(server)
        server.launch().wait_for_log("Listening at: ")
        return server.wait_accepting()

    try:
        yield start
        for server in made:
            server.stop()
    finally:
        for server in made:
            server.destroy()


# What there is.


def importing(names: dict[str, list[str]] = NAMES) -> str:
    lines = [f"from {module} import {', '.join(names[module])}" for module in names]
    return "\n".join(lines) + "\n"


def defined(module: str) -> set[str]:
    """The names that a module of the real gunicorn defines; it is not imported."""
    found = importlib.util.find_spec(module)
    assert found is not None
    assert found.origin is not None
    assert not found.origin.startswith(FOLDER)
    names = set()
    for node in ast.parse(Path(found.origin).read_text()).body:
        match node:
            case ast.ClassDef(name=name) | ast.FunctionDef(name=name):
                names.add(name)
            case ast.Assign(targets=targets):
                names |= {target.id for target in targets if isinstance(target, ast.Name)}
            case ast.ImportFrom(names=imported):
                names |= {one.asname or one.name for one in imported}
    return names


@pytest.mark.parametrize("module", NAMES)
def test_every_name_is_one_of_gunicorns(module: str) -> None:
    assert set(NAMES[module]) - defined(module) == set()


def test_every_name_can_be_imported_and_the_version_is_gunicorns(run: Run) -> None:
    import gunicorn

    text = importing() + "print(__version__, version_info, SERVER_SOFTWARE)\n"
    done = run("-c", text, PYTHONPATH=FOLDER)
    assert done.returncode == 0, done.stderr
    expected = f"{gunicorn.__version__} {gunicorn.version_info} {gunicorn.SERVER_SOFTWARE}\n"
    assert done.stdout == expected


def test_a_program_sees_the_distribution(run: Run) -> None:
    text = "import importlib.metadata as m; print(m.version('gunicorn'))"
    assert run("-c", text, PYTHONPATH=FOLDER).stdout == "27.0.1\n"
    assert "PackageNotFoundError" in run("-c", text).stderr


# When it is there.

SAYS_WHO = APP.replace("b'fine'", "os.environ['SERVER_SOFTWARE'].encode()")


def test_who_did_not_ask_for_it_cannot_import_it(run: Run, folder: Path) -> None:
    (folder / "site_app.py").write_text("import gunicorn\n" + APP)
    done = run("-m", "oxicorn", "--check-config", "site_app:app")
    assert done.returncode == 1
    assert "No module named 'gunicorn'" in done.stderr


@pytest.mark.parametrize(
    ("words", "env"),
    [
        (["--gunicorn-shim", "site_app:app"], {}),
        (["--gunicorn-shim=missing", "site_app:app"], {}),
        (["--gunicorn-shim=always", "site_app:app"], {}),
        (["site_app:app"], {"OXICORN_GUNICORN_SHIM": "true"}),
        (["site_app:app"], {"GUNICORN_CMD_ARGS": "--gunicorn-shim"}),
    ],
)
def test_the_application_and_the_configuration_can_import_it(
    run: Run, folder: Path, words: list[str], env: dict[str, str]
) -> None:
    (folder / "site_app.py").write_text(importing() + APP)
    (folder / "gunicorn.conf.py").write_text(
        "from gunicorn.workers.gthread import ThreadWorker\nworker_class = ThreadWorker\n"
        "import gunicorn\nproc_name = gunicorn.SERVER_SOFTWARE\n"
    )
    done = run("-m", "oxicorn", "--print-config", *words, **env)
    assert done.returncode == 0, done.stderr
    assert "worker_class                       = 'gunicorn.workers.gthread" in done.stdout
    assert "proc_name                          = 'gunicorn/27.0.1'" in done.stdout


def test_a_configuration_file_can_ask_for_it(run: Run, folder: Path) -> None:
    (folder / "site_app.py").write_text(importing() + APP)
    (folder / "oxicorn.toml").write_text('gunicorn_shim = "missing"\n')
    done = run("-m", "oxicorn", "--check-config", "site_app:app")
    assert (done.returncode, done.stderr) == (0, "")


def test_the_workers_have_it_and_say_that_gunicorn_serves(
    start: Callable[..., Server], folder: Path
) -> None:
    (folder / "site_app.py").write_text(importing() + "import os\n" + SAYS_WHO)
    server = start("-m", "oxicorn", "-b", "127.0.0.1:0", "--gunicorn-shim", "site_app:app")
    assert server.request().text == "gunicorn/27.0.1"
    server.signal(signal.SIGHUP)
    server.wait_for_log("Generation 2 serves")
    assert server.request().text == "gunicorn/27.0.1"


SHOWS = "import gunicorn\nimport sys\nprint(gunicorn.__file__, file=sys.stderr)\n" + APP


@pytest.mark.parametrize(
    ("when", "is_ours"), [("off", False), ("missing", False), ("always", True)]
)
def test_an_installed_gunicorn_is_hidden_only_by_always(
    serve: Serve, folder: Path, when: str, is_ours: bool
) -> None:
    (folder / "site_app.py").write_text(SHOWS)
    server = serve("site_app:app", f"--gunicorn-shim={when}", cwd=folder)
    assert (FOLDER in server.log) == is_ours
    assert "gunicorn/__init__.py" in server.log


def test_an_imported_gunicorn_cannot_be_hidden_any_more(run: Run, folder: Path) -> None:
    text = "import gunicorn, oxicorn\noxicorn.run('site_app:app', gunicorn_shim='always')\n"
    done = subprocess.run(
        [sys.executable, "-c", text], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "gunicorn_shim = 'always': gunicorn itself is imported already." in done.stderr


# Programs as they are published.

STANDALONE = """
import sys
import gunicorn.app.base

def number_of_workers():
    return 2

def handler_app(environ, start_response):
    import os
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(os.getppid()).encode()]

class StandaloneApplication(gunicorn.app.base.BaseApplication):

    def __init__(self, app, options=None):
        self.options = options or {}
        self.application = app
        super().__init__()

    def load_config(self):
        config = {key: value for key, value in self.options.items()
                  if key in self.cfg.settings and value is not None}
        for key, value in config.items():
            self.cfg.set(key.lower(), value)

    def load(self):
        return self.application

if __name__ == '__main__':
    options = {
        'bind': '%s:%s' % ('127.0.0.1', '0'),
        'workers': number_of_workers(),
    }
    StandaloneApplication(handler_app, options).run()
"""


def test_the_documented_custom_application_runs_unmodified(
    start: Callable[..., Server], folder: Path
) -> None:
    (folder / "standalone.py").write_text(STANDALONE)
    server = start("standalone.py", PYTHONPATH=FOLDER)
    server.wait_for_workers(2)
    assert server.request().text == str(server.pid)


NAMED = """
from gunicorn.app.wsgiapp import WSGIApplication


class StandaloneApplication(WSGIApplication):
    def __init__(self, app_uri, options=None):
        self.options = options or {}
        self.app_uri = app_uri
        super().__init__()

    def load_config(self):
        config = {
            key: value
            for key, value in self.options.items()
            if key in self.cfg.settings and value is not None
        }
        for key, value in config.items():
            self.cfg.set(key.lower(), value)


def run():
    options = {
        "bind": "127.0.0.1:0",
        "workers": 1,
        "worker_class": "gunicorn.workers.gthread.ThreadWorker",
    }
    StandaloneApplication("site_app:app", options).run()


run()
"""


def test_the_documented_application_by_its_name_runs_unmodified(
    start: Callable[..., Server], folder: Path
) -> None:
    (folder / "named.py").write_text(NAMED)
    server = start("named.py", PYTHONPATH=FOLDER)
    assert server.request().text == "fine"
    server.wait_for_log("Using worker: gthread")


def test_a_program_can_ask_for_it_in_its_first_line(
    start: Callable[..., Server], folder: Path
) -> None:
    (folder / "standalone.py").write_text("import oxicorn.compat.install\n" + STANDALONE)
    server = start("standalone.py")
    assert server.request().text == str(server.pid)


LOGGER = """
from gunicorn.glogging import Logger

bind = "127.0.0.1:0"
accesslog = "-"

class OwnLogger(Logger):
    def access(self, resp, req, environ, request_time):
        self.access_log.info("own line for %s", req.path)

logger_class = OwnLogger
"""


def test_a_logger_class_derives_from_it(start: Callable[..., Server], folder: Path) -> None:
    (folder / "gunicorn.conf.py").write_text(LOGGER)
    server = start("-m", "oxicorn", "--gunicorn-shim", "site_app:app")
    assert server.request("/here").text == "fine"
    server.wait_for_log("own line for /here")


DJANGO = {
    "manage.py": """
import os, sys

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")
    from django.core.management import execute_from_command_line
    execute_from_command_line(sys.argv)
""",
    "shop/__init__.py": "",
    "shop/settings.py": """
SECRET_KEY = "for a test"
DEBUG = False
ALLOWED_HOSTS = ["*"]
INSTALLED_APPS = ["django.contrib.contenttypes", "shop"]
ROOT_URLCONF = "shop.urls"
WSGI_APPLICATION = "shop.wsgi.application"
""",
    "shop/models.py": """
from django.db import models

class Item(models.Model):
    name = models.CharField(max_length=20)
""",
    "shop/urls.py": """
from django.http import JsonResponse
from django.urls import path
from shop.models import Item

urlpatterns = [path("", lambda request: JsonResponse({"model": Item._meta.label}))]
""",
    "shop/wsgi.py": """
from django.core.wsgi import get_wsgi_application
application = get_wsgi_application()
""",
    "shop/management/__init__.py": "",
    "shop/management/commands/__init__.py": "",
    "shop/management/commands/run_gunicorn.py": """
import sys
from django.core.management.base import BaseCommand
from django.core.servers.basehttp import get_internal_wsgi_application
from gunicorn.app.wsgiapp import WSGIApplication
from gunicorn.config import make_settings

class GunicornApplication(WSGIApplication):
    def __init__(self, options):
        self.options = options
        super().__init__()

    def load_config(self):
        for name, value in self.options.items():
            if name in self.cfg.settings and value is not None:
                self.cfg.set(name, value)

    def load(self):
        return get_internal_wsgi_application()

class Command(BaseCommand):
    help = "Serves this project with gunicorn."

    def add_arguments(self, parser):
        parser.add_argument("addrport", nargs="?", default="127.0.0.1:0")
        for name, setting in make_settings(ignore=["version"]).items():
            flags = [flag for flag in setting.cli if flag.startswith("--workers")]
            if flags:
                parser.add_argument(*flags, dest=name, help=setting.short)

    def handle(self, *args, **options):
        options["bind"] = options.pop("addrport")
        GunicornApplication(options).run()
""",
}


def test_a_management_command_of_django_embeds_it(
    start: Callable[..., Server], folder: Path
) -> None:
    for name, text in DJANGO.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    server = start("manage.py", "run_gunicorn", "--workers", "2", PYTHONPATH=FOLDER)
    server.wait_for_workers(2)
    assert json.loads(server.request().text) == {"model": "shop.Item"}
    server.signal(signal.SIGHUP)
    server.wait_for_log("Generation 2 serves")
    assert json.loads(server.request().text) == {"model": "shop.Item"}


FLASK = """
from flask import Flask
from gunicorn.app.base import Application

app = Flask(__name__)

@app.get("/")
def index():
    return "from flask"

class FlaskApplication(Application):
    def init(self, parser, opts, args):
        return {"bind": "127.0.0.1:0", "workers": 1, "threads": 2, "accesslog": "-"}

    def load(self):
        return app

if __name__ == "__main__":
    FlaskApplication().run()
"""


def test_a_flask_application_that_serves_itself(start: Callable[..., Server], folder: Path) -> None:
    (folder / "serving.py").write_text(FLASK)
    server = start("serving.py", PYTHONPATH=FOLDER)
    assert server.request().text == "from flask"
    server.wait_for_log(r'"GET / HTTP/1.1" 200')
    server.wait_for_log("Using worker: gthread")


LAUNCHER = """
import sys
from gunicorn.app.wsgiapp import run

def serve(limit_request_line=0):
    sys.argv = ["superset", "-w", "1", "-b", "127.0.0.1:0", "--timeout", "60",
                "--limit-request-line", str(limit_request_line), "site_app:app"]
    run()

if __name__ == "__main__":
    serve()
"""


def test_a_program_that_writes_the_command_line_for_it(
    start: Callable[..., Server], folder: Path
) -> None:
    (folder / "launch.py").write_text(LAUNCHER)
    assert start("launch.py", PYTHONPATH=FOLDER).request().text == "fine"


def test_the_module_is_the_command(start: Callable[..., Server]) -> None:
    words = ("-m", "gunicorn", "--bind", "127.0.0.1:0", "site_app:app")
    assert start(*words, PYTHONPATH=FOLDER).request().text == "fine"


PROMETHEUS = """
from prometheus_client import CollectorRegistry, Gauge, generate_latest, multiprocess
import gunicorn, os

BUSY = Gauge("busy", "Busy workers", multiprocess_mode="liveall")

def app(environ, start_response):
    BUSY.set(1)
    registry = CollectorRegistry()
    multiprocess.MultiProcessCollector(registry)
    start_response("200 OK", [])
    return [generate_latest(registry)]
"""

RECIPE = """
import gunicorn
from gunicorn.workers.base import Worker
from prometheus_client import multiprocess

bind = "127.0.0.1:0"

def child_exit(server, worker):
    assert isinstance(worker, Worker)
    multiprocess.mark_process_dead(worker.pid)
    server.log.info("dead: %s", worker.pid)
"""


def test_the_recipe_of_prometheus_for_several_processes(
    start: Callable[..., Server], folder: Path, tmp_path: Path
) -> None:
    (folder / "site_app.py").write_text(PROMETHEUS)
    (folder / "gunicorn.conf.py").write_text(RECIPE)
    metrics = tmp_path / "metrics"
    metrics.mkdir()
    server = start(
        "-m", "oxicorn", "--gunicorn-shim", "site_app:app", PROMETHEUS_MULTIPROC_DIR=str(metrics)
    )
    worker = server.worker
    assert f'busy{{pid="{worker}"}} 1.0' in server.request().text
    os.kill(worker, signal.SIGTERM)
    server.wait_for_log(f"dead: {worker}")
    server.wait_for_successor(worker)
    server.wait_accepting()
    assert f'pid="{worker}"' not in server.request().text
