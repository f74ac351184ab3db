"""The page for uvicorn's users: it knows every flag of the installed uvicorn, and it is right."""

from __future__ import annotations

import inspect
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import uvicorn

from harness.certificates import Authority
from harness.server import clean_environment
from oxicorn._native import CommandLine, ConfigError

PAGE = Path(__file__).resolve().parent.parent / "docs" / "migrate" / "uvicorn.md"
APPLICATION = "async def app(scope, receive, send):\n    pass\n"


def rows() -> list[tuple[str, str, str]]:
    """A flag of uvicorn's, what says the same here, and what becomes of it."""
    table = PAGE.read_text().split("|---|---|---|---|\n")[1].split("\n\n")[0]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]
    return [(theirs.strip("`"), ours.strip("`"), word) for theirs, ours, word, _ in cells]


def flag(words: str) -> str:
    return words.split()[0]


def test_the_page_has_every_flag_of_uvicorn_and_no_other() -> None:
    command = [sys.executable, "-m", "uvicorn", "--help"]
    told = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    lines = re.findall(r"^  (--[\w-]+)(?: / (--[\w-]+))?", told, re.MULTILINE)
    theirs = [one for pair in lines for one in pair if one]
    assert len(theirs) > 50
    known = [flag(row[0]) for row in rows()]
    assert sorted(known) == sorted(theirs)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("project")
    (folder / "main.py").write_text(APPLICATION)
    (folder / "made.py").write_text(f"{APPLICATION}\ndef make():\n    return app\n")
    (folder / ".env").write_text("A=b\n")
    (folder / "log.ini").write_text("[loggers]\nkeys=root\n")
    made = Authority(folder / "authority").issue()
    (folder / "a.pem").write_text(made.cert.read_text())
    (folder / "a.key").write_text(made.key.read_text())
    (folder / "both.pem").write_text(made.cert.read_text() + made.key.read_text())
    return folder


def run(project: Path, words: str, *more: str) -> subprocess.CompletedProcess[str]:
    application = "made:make" if "--factory" in words else "main:app"
    return subprocess.run(
        [sys.executable, "-m", "oxicorn", *shlex.split(words), *more, application],
        cwd=project,
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=60,
    )


def values(project: Path, words: str) -> list[str]:
    """What the server would run with, without who has set it."""
    done = run(project, words, "--print-config")
    assert done.returncode == 0, done.stderr
    return [line.partition("  # ")[0].rstrip() for line in done.stdout.splitlines()]


@pytest.mark.parametrize(("theirs", "ours", "word"), rows(), ids=[row[0] for row in rows()])
def test_what_the_page_says_of_a_flag_is_so(
    project: Path, theirs: str, ours: str, word: str
) -> None:
    if word in ("same", "no effect"):
        assert values(project, theirs) == values(project, ours)
        return
    assert word in ("refused", "not yet")
    assert ours == ""
    done = run(project, theirs, "--check-config")
    assert done.returncode in (1, 2)
    assert "not supported" in done.stderr


def test_run_knows_every_argument_of_uvicorns() -> None:
    arguments = list(inspect.signature(uvicorn.run).parameters)
    assert len(arguments) > 50
    for name in arguments[1:]:
        CommandLine.from_arguments("main:app", {name: None}, {})


def test_run_takes_uvicorns_defaults_for_what_there_is() -> None:
    wrong = {}
    for name, parameter in list(inspect.signature(uvicorn.run).parameters.items())[1:]:
        try:
            CommandLine.from_arguments("main:app", {name: parameter.default}, {})
        except ConfigError as error:
            wrong[name] = str(error)
    # Of what there is not, these ask for it by default.
    assert wrong.keys() == {"log_config", "timeout_worker_healthcheck"}, wrong
