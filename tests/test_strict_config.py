"""Names in configuration files that are no settings: a warning, or, if that is wanted, an error."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from conftest import Serve
from harness.command import APP, command
from harness.server import Server

MISSPELT = {
    "gunicorn.conf.py": "wrokers = 3\n",
    "oxicorn.toml": "wrokers = 3\n",
    "pyproject.toml": "[tool.oxicorn]\nwrokers = 3\n",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The start directory, with an application."""
    (tmp_path / "site_app.py").write_text(APP)
    return tmp_path


def complaint(name: str) -> str:
    return f"'wrokers' in ./{name} is not a setting; did you mean 'workers'?"


FILES = pytest.mark.parametrize("name", MISSPELT)


@FILES
@pytest.mark.parametrize("flag", ["--strict-config", "--check-config", "--print-config"])
def test_an_unknown_name_is_an_error_where_it_is_asked_for(
    folder: Path, name: str, flag: str
) -> None:
    (folder / name).write_text(MISSPELT[name])
    done = command(folder, flag, "--bind", "127.0.0.1:0", "site_app:app")
    assert (done.returncode, done.stderr) == (1, f"Error: {complaint(name)}\n")
    assert bool(done.stdout) == (flag == "--print-config")


@FILES
def test_otherwise_it_is_a_warning(serve: Serve, folder: Path, name: str) -> None:
    (folder / name).write_text(MISSPELT[name])
    server = serve("site_app:app", cwd=folder)
    line = server.wait_for_log(rf".*\[WARNING\] '.*{name}.*")
    assert line[0].endswith(complaint(name))
    assert server.request().text == "fine"


@pytest.mark.parametrize(
    ("words", "env"),
    [
        ([], {"OXICORN_STRICT_CONFIG": "1"}),
        ([], {"GUNICORN_CMD_ARGS": "--strict-config"}),
        (["-c", "said.py"], {}),
    ],
)
def test_strictness_can_be_said_anywhere(
    folder: Path, words: list[str], env: dict[str, str]
) -> None:
    (folder / "gunicorn.conf.py").write_text("wrokers = 3\n")
    (folder / "said.py").write_text("wrokers = 3\nstrict_config = True\n")
    done = command(folder, *words, "site_app:app", env=env)
    assert done.returncode == 1
    assert "is not a setting; did you mean 'workers'?" in done.stderr


def test_all_unknown_names_are_said_at_once(folder: Path) -> None:
    (folder / "gunicorn.conf.py").write_text("wrokers = 3\nxyzzy = 1\n")
    said = command(folder, "--strict-config", "site_app:app").stderr
    assert complaint("gunicorn.conf.py") in said
    assert "'xyzzy' in ./gunicorn.conf.py is not a setting and is ignored" in said


def test_what_is_a_python_files_own_business_is_none_of_strictness(folder: Path) -> None:
    text = "import os\nfrom pathlib import Path\n_cores = 4\nROOT = 1\ndef help_me(): ...\n"
    (folder / "gunicorn.conf.py").write_text(text)
    done = command(folder, "--strict-config", "--check-config", "site_app:app")
    assert (done.returncode, done.stderr) == (0, "")


def test_in_toml_every_name_is_meant(folder: Path) -> None:
    (folder / "oxicorn.toml").write_text("WORKERS = 3\n_own = 1\nworker-class = 'sync'\n")
    said = command(folder, "--strict-config", "site_app:app").stderr
    for name, hint in [("WORKERS", "workers"), ("worker-class", "worker_class")]:
        expected = f"'{name}' in ./oxicorn.toml is not a setting; did you mean '{hint}'?"
        assert expected in said
    assert "'_own' in ./oxicorn.toml is not a setting and is ignored" in said


def test_a_strict_restart_with_an_unknown_name_changes_nothing(serve: Serve, folder: Path) -> None:
    (folder / "gunicorn.conf.py").write_text("strict_config = True\n")
    server: Server = serve("site_app:app", cwd=folder)
    worker = server.worker
    (folder / "gunicorn.conf.py").write_text("strict_config = True\nwrokers = 3\n")
    server.signal(signal.SIGHUP)
    server.wait_for_log("did you mean 'workers'")
    assert server.workers() == [worker]
    assert server.request().text == "fine"
