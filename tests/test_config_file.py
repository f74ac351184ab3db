"""The configuration file: what is executed, which names count, and what failure says."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from oxicorn import config_file
from oxicorn.errors import OperatorError

APP = "def app(environ, start_response):\n    return []\n"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The start directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


def values(text: str) -> dict[str, object]:
    Path("oxicorn.conf.py").write_text(text)
    return config_file.load("oxicorn.conf.py").values


def failure(source: str) -> str:
    with pytest.raises(OperatorError) as caught:
        config_file.load(source)
    return str(caught.value)


def printed(folder: Path, *options: str) -> dict[str, str]:
    """The settings that `--print-config` shows when started in `folder`."""
    (folder / "site_app.py").write_text(APP)
    result = oxicorn(folder, "--print-config", *options, "site_app:app")
    assert result.returncode == 0, result.stderr
    pairs = (line.partition("=") for line in result.stdout.splitlines())
    return {name.strip(): value.partition("  #")[0].strip() for name, _, value in pairs}


def oxicorn(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "oxicorn", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60)


# Names.


def test_lower_case_names_are_settings() -> None:
    assert values("workers = 3\nWorkers = 4\nWORKERS = 5\n_workers = 6\n") == {"workers": 3}


def test_imported_modules_are_not_settings() -> None:
    assert values("import os.path, sys\nworkers = 2\n") == {"workers": 2}


def test_hooks_are_passed_on_so_that_they_can_be_judged() -> None:
    assert list(values("def post_fork(server, worker):\n    pass\n")) == ["post_fork"]


def test_a_file_can_compute_its_values() -> None:
    assert values("_cores = 4\nworkers = _cores * 2 + 1\n") == {"workers": 9}


# Sources.


@pytest.mark.parametrize("source", ["some.conf.py", "file:some.conf.py"])
def test_a_path_is_executed(folder: Path, source: str) -> None:
    (folder / "some.conf.py").write_text("threads = 7\n")
    assert config_file.load(source).values == {"threads": 7}


def test_a_module_is_imported(folder: Path) -> None:
    (folder / "deploy").mkdir()
    (folder / "deploy/__init__.py").write_text("")
    (folder / "deploy/settings_of_site.py").write_text("threads = 8\n")
    loaded = config_file.load("python:deploy.settings_of_site")
    assert loaded == ("python:deploy.settings_of_site", {"threads": 8}, None)


def test_the_file_is_the_module_config(folder: Path) -> None:
    text = "import sys\nproc_name = sys.modules['__config__'].__file__ + '|' + __name__\n"
    assert values(text) == {"proc_name": f"{folder}/oxicorn.conf.py|__config__"}


def test_a_changed_file_is_read_afresh_even_within_one_second() -> None:
    assert [values("workers = 1\n"), values("workers = 2\n")] == [{"workers": 1}, {"workers": 2}]


def test_reading_leaves_no_cache_behind(folder: Path) -> None:
    values("workers = 1\n")
    assert [path.name for path in folder.iterdir()] == ["oxicorn.conf.py"]


def test_a_compiled_file_is_executed(folder: Path) -> None:
    import py_compile

    (folder / "made.py").write_text("threads = 9\n")
    py_compile.compile("made.py", cfile="made.pyc")
    (folder / "made.py").unlink()
    assert config_file.load("made.pyc").values == {"threads": 9}


def test_a_file_without_the_suffix_is_read_with_a_warning(folder: Path) -> None:
    (folder / "oxicorn.conf").write_text("threads = 5\n")
    loaded = config_file.load("oxicorn.conf")
    assert loaded.values == {"threads": 5}
    assert "'oxicorn.conf' has no .py suffix" in str(loaded.warning)


# Failures.


def test_a_missing_file_is_named(folder: Path) -> None:
    assert failure("nowhere.py") == f"The configuration file '{folder}/nowhere.py' does not exist."


def test_a_directory_cannot_be_read(folder: Path) -> None:
    (folder / "conf").mkdir()
    assert failure("conf").endswith("cannot be read: Is a directory.")


def test_a_missing_module_is_named() -> None:
    assert "The configuration module 'no.where' does not exist" not in failure("python:os.nowhere")
    assert "The configuration module 'nowhere' does not exist" in failure("python:nowhere")


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("workers = 1 / 0\n", "ZeroDivisionError: division by zero"),
        ("workers = = 1\n", "SyntaxError: invalid syntax"),
        ("import nowhere\n", "ModuleNotFoundError: No module named 'nowhere'"),
        ("raise SystemExit(0)\n", "SystemExit: 0"),
    ],
)
def test_an_error_inside_comes_with_its_traceback(folder: Path, text: str, cause: str) -> None:
    (folder / "bad.py").write_text(text)
    message = failure("bad.py")
    assert message.startswith("The configuration file 'bad.py' failed:\n")
    assert cause in message
    assert f'File "{folder}/bad.py", line 1' in message
    assert "oxicorn/config_file.py" not in message


# From the command.


def test_the_default_file_is_read(folder: Path) -> None:
    (folder / "gunicorn.conf.py").write_text("workers = 3\ntimeout = 45\n")
    settings = printed(folder)
    assert (settings["workers"], settings["timeout"]) == ("3", "45")


def test_our_default_file_comes_before_gunicorns(folder: Path) -> None:
    (folder / "gunicorn.conf.py").write_text("workers = 3\nthreads = 2\n")
    (folder / "oxicorn.conf.py").write_text("workers = 4\n")
    settings = printed(folder)
    assert (settings["workers"], settings["threads"]) == ("4", "1")


def test_a_named_file_replaces_the_default_one(folder: Path) -> None:
    (folder / "gunicorn.conf.py").write_text("workers = 3\n")
    (folder / "other.py").write_text("threads = 2\n")
    settings = printed(folder, "--config", "other.py")
    assert (settings["workers"], settings["threads"]) == ("1", "2")


def test_the_command_line_wins_over_the_file(folder: Path) -> None:
    (folder / "oxicorn.conf.py").write_text("workers = 3\n")
    assert printed(folder, "--workers", "5")["workers"] == "5"


def test_the_file_is_searched_in_the_start_directory_whatever_chdir_says(folder: Path) -> None:
    (folder / "inner").mkdir()
    (folder / "inner/site_app.py").write_text(APP)
    (folder / "inner/oxicorn.conf.py").write_text("workers = 9\n")
    (folder / "oxicorn.conf.py").write_text("workers = 3\nchdir = 'inner'\n")
    assert printed(folder)["workers"] == "3"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("workers = 'many'\n", "workers"),
        ("workers = 1 / 0\n", "ZeroDivisionError: division by zero"),
    ],
)
def test_a_bad_file_ends_the_start_with_1(folder: Path, text: str, message: str) -> None:
    (folder / "oxicorn.conf.py").write_text(text)
    result = oxicorn(folder, "site_app:app")
    assert result.returncode == 1
    assert result.stderr.startswith("Error: ")
    assert message in result.stderr
    assert "oxicorn.conf.py" in result.stderr


def test_a_missing_named_file_ends_the_start_with_1(folder: Path) -> None:
    result = oxicorn(folder, "-c", "nowhere.py", "site_app:app")
    expected = f"Error: The configuration file '{folder}/nowhere.py' does not exist.\n"
    assert (result.returncode, result.stderr) == (1, expected)


def test_helpers_of_the_file_are_not_warned_about(folder: Path) -> None:
    (folder / "site_app.py").write_text(APP)
    text = "from os import cpu_count\nimport math\ndef half(n):\n    return n\nworkers = half(2)\n"
    (folder / "oxicorn.conf.py").write_text(text)
    result = oxicorn(folder, "--check-config", "site_app:app")
    assert (result.returncode, result.stderr) == (0, "")
