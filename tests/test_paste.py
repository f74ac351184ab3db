"""PasteDeploy files: an application that one describes, and a server that one starts."""

from __future__ import annotations

import importlib
import json
import signal
from pathlib import Path

import pytest

from conftest import Serve
from harness.command import command, printed
from harness.script import Scripts
from harness.server import Server
from oxicorn._native import read_toml
from oxicorn.shim import FOLDER

FACTORIES = """
import json, os

def main(global_config, **settings):
    facts = {"global": dict(global_config), "settings": settings}

    def application(environ, start_response):
        start_response("200 OK", [])
        return [json.dumps({**facts, "pid": os.getpid(), "made by": MADE_BY}).encode()]

    MADE_BY = os.getpid()
    return application

def broken(global_config):
    raise ValueError("no database")
"""

INI = """
[app:main]
paste.app_factory = site_factories:main
name = main
place = %(here)s

[app:admin]
paste.app_factory = site_factories:main
name = admin

[app:modal]
paste.app_factory = site_factories:main
speed = %(mode)s speed

[app:broken]
paste.app_factory = site_factories:broken

[server:main]
use = egg:gunicorn#main
workers = 7
"""

RUNNER = """
import os
from paste.deploy import loadapp, loadserver

if __name__ == "__main__":
    uri = "config:" + os.path.abspath("site.ini")
    loadserver(uri)(loadapp(uri))
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The start directory."""
    (tmp_path / "site_factories.py").write_text(FACTORIES)
    (tmp_path / "site.ini").write_text(INI)
    return tmp_path


@pytest.fixture
def scripts(folder: Path, scripts: Scripts) -> Scripts:
    assert scripts.folder == folder
    return scripts


def told(server: Server) -> dict[str, dict[str, str]]:
    """What the application tells of itself."""
    answer = json.loads(server.request().text)
    assert isinstance(answer, dict)
    return answer


# The command.


@pytest.mark.parametrize(("uri", "name"), [("site.ini", "main"), ("site.ini#admin", "admin")])
@pytest.mark.parametrize("flag", ["--paste", "--paster"])
def test_the_application_of_the_file_is_served(
    serve: Serve, folder: Path, uri: str, name: str, flag: str
) -> None:
    server = serve("ignored:app", flag, uri, cwd=folder)
    answer = told(server)
    assert answer["settings"]["name"] == name
    assert answer["global"]["__file__"] == str(folder / "site.ini")
    assert answer["pid"] == answer["made by"] == server.worker
    server.stop()


def test_no_application_has_to_be_named(folder: Path) -> None:
    done = command(folder, "--check-config", "--paste", "site.ini")
    assert (done.returncode, done.stderr) == (0, "")


def test_global_values_are_handed_on(serve: Serve, folder: Path) -> None:
    values = ("--paste-global", "mode=slow", "--paste-global", r"a\=b=c")
    answer = told(serve("ignored", "--paste", "site.ini#modal", *values, cwd=folder))
    assert answer["settings"]["speed"] == "slow speed"
    assert answer["global"]["a=b"] == "c"


def test_the_file_is_where_the_server_was_started(serve: Serve, folder: Path) -> None:
    (folder / "elsewhere").mkdir()
    (folder / "elsewhere" / "site.ini").write_text("[app:main]\n")
    answer = told(serve("ignored", "--paste", "site.ini", "--chdir", "elsewhere", cwd=folder))
    assert answer["settings"]["place"] == str(folder)


def test_a_restart_reads_the_file_again(serve: Serve, folder: Path) -> None:
    server = serve("ignored", "--paste", "site.ini", "--observe-timeout", "0", cwd=folder)
    before = server.worker
    (folder / "site.ini").write_text(INI.replace("name = main", "name = other"))
    server.signal(signal.SIGHUP)
    server.wait_for_log(r"Generation 2 serves")
    server.wait_for_workers(1)
    assert told(server)["settings"]["name"] == "other"
    assert server.worker != before


def test_the_setting_may_be_in_the_configuration_file(serve: Serve, folder: Path) -> None:
    (folder / "gunicorn.conf.py").write_text("paste = 'site.ini#admin'\n")
    server = serve("ignored", cwd=folder)
    assert told(server)["settings"]["name"] == "admin"


def test_the_files_own_settings_are_stronger_than_the_environment_and_weaker_than_a_file(
    folder: Path,
) -> None:
    env = {"OXICORN_DEFAULT_PROC_NAME": "environment"}
    words = ("--paste", "site.ini")
    assert printed(folder, *words, env=env)["default_proc_name"] == repr(str(folder / "site.ini"))
    (folder / "gunicorn.conf.py").write_text("default_proc_name = 'file'\n")
    assert printed(folder, *words, env=env)["default_proc_name"] == "'file'"


@pytest.mark.parametrize("program", ["gunicorn", "oxicorn"])
def test_the_server_section_does_not_count_for_the_command(folder: Path, program: str) -> None:
    found = printed(folder, "--paste", "site.ini", program=program)
    assert found["workers"] == "1"
    assert found["default_proc_name"].strip("'") == str(folder / "site.ini")


LOGGERS = """
[loggers]
keys = root, gunicorn.error

[handlers]
keys = console

[formatters]
keys = own

[logger_root]
level = INFO
handlers = console

[logger_gunicorn.error]
level = INFO
handlers = console
propagate = 0
qualname = gunicorn.error

[handler_console]
class = StreamHandler
args = (sys.stderr,)
formatter = own

[formatter_own]
format = as the ini file says: %(message)s
"""


def test_the_files_logging_is_that_of_the_server(serve: Serve, folder: Path) -> None:
    (folder / "site.ini").write_text(INI + LOGGERS)
    assert printed(folder, "--paste", "site.ini")["logconfig"] == repr(str(folder / "site.ini"))
    server = serve("ignored", "--paste", "site.ini", cwd=folder)
    server.wait_for_log("as the ini file says: Listening at: ")


def test_a_file_that_is_not_there_is_named(folder: Path) -> None:
    done = command(folder, "--paste", "nowhere.ini")
    assert (done.returncode, done.stderr) == (
        1,
        f"Error: paste: '{folder}/nowhere.ini' does not exist.\n",
    )


def test_an_application_that_is_not_there_is_named(serve: Serve, folder: Path) -> None:
    server = serve("ignored", "--paste", "site.ini#nobody", cwd=folder, launch=True)
    server.expect_exit(3)
    assert "site.ini#nobody' could not be made" in server.log
    assert "nobody" in server.log


def test_an_application_that_raises_is_shown_with_its_traceback(serve: Serve, folder: Path) -> None:
    server = serve("ignored", "--paste", "site.ini#broken", cwd=folder, launch=True)
    server.expect_exit(3)
    assert "ValueError: no database" in server.log


def test_without_the_package_the_message_says_so(folder: Path) -> None:
    (folder / "sitecustomize.py").write_text("import sys\nsys.modules['paste.deploy'] = None\n")
    done = command(folder, "--paste", "site.ini", env={"PYTHONPATH": str(folder)})
    assert done.returncode == 1
    assert done.stderr == "Error: paste needs the package PasteDeploy, which is missing.\n"


# Other programs that read such a file.


def runner(scripts: Scripts, section: str, **how: object) -> Server:
    ini = INI[: INI.index("[server:main]")]
    scripts.write("site.ini", f"{ini}[server:main]\n{section}")
    server = scripts.launch(RUNNER, **how)
    server.wait_for_log("Listening at: ")
    return server.wait_accepting()


def test_the_server_section_starts_the_server_with_its_settings(scripts: Scripts) -> None:
    section = "use = egg:gunicorn#main\nhost = 127.0.0.1\nport = 0\nworkers = 2\nthreads = 2\n"
    env = {"PYTHONPATH": FOLDER}
    server = runner(scripts, section, env=env)
    server.wait_for_workers(2)
    assert told(server)["settings"]["name"] == "main"
    server.wait_for_log("Using worker: gthread")
    server.stop()


def test_the_section_is_stronger_than_a_configuration_file(scripts: Scripts) -> None:
    scripts.write("site.conf.py", "workers = 3\nthreads = 3\n")
    section = "use = egg:gunicorn#main\nbind = 127.0.0.1:0\nconfig = site.conf.py\nworkers = 1\n"
    server = runner(scripts, section, env={"PYTHONPATH": FOLDER})
    server.wait_for_workers(1)
    server.wait_for_log("Using worker: gthread")
    server.stop()


def test_an_entry_that_is_no_setting_ends_with_1(scripts: Scripts) -> None:
    section = "use = egg:gunicorn#main\nwrokers = 1\n"
    scripts.write("site.ini", INI[: INI.index("[server:main]")] + "[server:main]\n" + section)
    server = scripts.launch(RUNNER, env={"PYTHONPATH": FOLDER})
    server.expect_exit(1)
    assert "Error: No configuration setting for: wrokers" in server.log


def test_our_distribution_has_the_same_entry_point() -> None:
    root = Path(__file__).resolve().parent.parent
    text = (root / "pyproject.toml").read_text()
    runner = read_toml("project.toml", text)["project"]["entry-points"]["paste.server_runner"]
    module, _, function = runner["main"].partition(":")
    assert callable(getattr(importlib.import_module(module), function))
