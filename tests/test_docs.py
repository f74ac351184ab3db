"""What the documentation shows works: its commands, its examples, its links, its names.

The commands are taken from the pages themselves. One that would serve is checked with
`--check-config`; the README's first minute is really lived through.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.certificates import Authority, Identity
from harness.server import Server, clean_environment

ROOT = Path(__file__).resolve().parent.parent
SHELL = {**clean_environment(), "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
GUIDE = ROOT / "docs" / "guide"
CONCEPTS = ROOT / "docs" / "concepts"
MIGRATE = ROOT / "docs" / "migrate"
PAGES = [
    ROOT / "README.md",
    *sorted(GUIDE.glob("*.md")),
    *sorted(CONCEPTS.glob("*.md")),
    *sorted(MIGRATE.glob("*.md")),
]
EXAMPLES = sorted((ROOT / "examples").glob("*/README.md"))
PROSE = [
    *ROOT.glob("*.md"),
    *GUIDE.glob("*.md"),
    *CONCEPTS.glob("*.md"),
    *MIGRATE.glob("*.md"),
    *EXAMPLES,
    *(ROOT / "docs" / "design").glob("*.md"),
    *ROOT.glob("crates/*/README.md"),
    *ROOT.glob("spec/**/README.md"),
]


# words


def named(value: Path | str) -> str:
    """How a page or a command is called in the report."""
    return value if isinstance(value, str) else str(value.relative_to(ROOT))


def blocks(page: Path, language: str = "") -> list[str]:
    """The fenced blocks of a page that are marked with this language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(), re.M | re.S)


def commands(page: Path) -> Iterator[str]:
    """Every complete command line of the server that the page shows, in blocks and in its text."""
    for line in "".join(blocks(page)).splitlines():
        if line.startswith(("oxicorn ", "python -m oxicorn ")):
            yield line.split("  #")[0].rstrip()
    yield from (found for found in re.findall(r"`(oxicorn [^`]+)`", page.read_text()))


def shown(pages: list[Path]) -> list[tuple[Path, str]]:
    """All such command lines but the synopsis, once for each page."""
    found = [(page, line) for page in pages for line in dict.fromkeys(commands(page))]
    return [(page, line) for page, line in found if "[OPTIONS]" not in line]


def run(line: str, folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-euc", line],
        cwd=folder,
        env={**SHELL, **variables},
        capture_output=True,
        text=True,
        timeout=60,
    )


def rows(page: Path, heading: str) -> list[list[str]]:
    """The cells of the first table below a heading, without its own head."""
    section = page.read_text().split(f"## {heading}\n", 1)[1]
    table = re.search(r"(?:^\|.*\n)+", section, re.M)
    assert table is not None, f"no table below {heading}"
    lines = table.group().splitlines()[2:]
    return [[cell.strip().strip("`") for cell in line.strip("|").split("|")] for line in lines]


APPLICATION = """
def app(environ, start_response):
    start_response("200 OK", [])
    return [b""]


class site:
    app = app


def create_app(kind="", debug=False):
    return app
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder that holds the applications that the pages speak of."""
    for name in ("site_app.py", "main.py"):
        (tmp_path / name).write_text(APPLICATION)
    for package in ("shop", "myproject"):
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").write_text(APPLICATION)
        wsgi = f"from {package} import app as application\n"
        (tmp_path / package / "wsgi.py").write_text(wsgi)
    return tmp_path


# commands


def test_the_first_minute_of_the_readme_serves(tmp_path: Path) -> None:
    """From the installation on: that `pip install .` works has been proven by running this."""
    minute = next(block for block in blocks(ROOT / "README.md") if "pip install ." in block)
    *preparation, serve = minute.split("pip install .\n")[1].rstrip().split("\n")
    prepared = run("\n".join(preparation), tmp_path)
    assert prepared.returncode == 0, prepared.stderr
    server = Server(tmp_path / "server", bind=None, cwd=tmp_path)
    server.command = ["bash", "-c", f"exec {serve}"]
    server.env = {**SHELL, "OXICORN_BIND": "127.0.0.1:0"}
    try:
        assert server.start().request("/").body == b"Hello.\n"
        server.signal(signal.SIGINT)
        server.expect_exit(0)
    finally:
        server.destroy()


@pytest.mark.parametrize(("page", "line"), shown(PAGES), ids=named)
def test_a_command_of_a_page_is_accepted(project: Path, page: Path, line: str) -> None:
    if "--certfile" in line:
        made = Authority(project / "authority").issue()
        made.move_to(Identity(project / "cert.pem", project / "key.pem"))
    done = run(f"{line} --check-config", project)
    assert (done.returncode, "Error" in done.stderr) == (0, False), f"{page}: {done.stderr}"


@pytest.mark.parametrize(("page", "line"), shown(EXAMPLES), ids=named)
def test_a_command_of_an_example_is_accepted_in_its_folder(page: Path, line: str) -> None:
    done = run(f"{line} --check-config", page.parent, PYTHONDONTWRITEBYTECODE="1")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "spec", [row[0] for row in rows(GUIDE / "first-application.md", "Naming the application")]
)
def test_a_way_to_name_the_application_is_accepted(project: Path, spec: str) -> None:
    done = run(f"oxicorn --check-config {shlex.quote(spec)}", project)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "page", [GUIDE / "first-application.md", MIGRATE / "uvicorn.md"], ids=named
)
def test_a_script_of_a_page_serves(project: Path, page: Path) -> None:
    [script] = [block for block in blocks(page, "python") if "oxicorn.run" in block]
    assert "port=8000" in script
    (project / "serve.py").write_text(script.replace("port=8000", "port=0"))
    server = Server(project / "server", bind=None, cwd=project)
    server.command = [sys.executable, "serve.py"]
    try:
        assert server.start().request("/").status == 200
        server.signal(signal.SIGINT)
        server.expect_exit(0)
    finally:
        server.destroy()


def test_the_custom_application_of_the_guide_serves(project: Path) -> None:
    [script] = blocks(GUIDE / "embedding.md", "python")
    (project / "serve.py").write_text(script.replace("127.0.0.1:8000", "127.0.0.1:0"))
    server = Server(project / "server", bind=None, cwd=project)
    server.command = [sys.executable, "serve.py"]
    try:
        assert server.start().request("/").status == 200
        server.stop()
    finally:
        server.destroy()


@pytest.mark.parametrize("page", [GUIDE / "systemd.md", CONCEPTS / "restarts.md"], ids=named)
def test_the_service_for_systemd_starts_what_exists(project: Path, page: Path) -> None:
    unit = blocks(page, "ini")[0]
    start = re.search(r"^ExecStart=\S*/(oxicorn .*)$", unit, re.M)
    assert start is not None
    command = start[1].replace("/srv/shop/current", str(project))
    done = run(f"{command} --check-config", project)
    assert done.returncode == 0, done.stderr


# examples


def test_the_demonstration_of_restarts_ends_well() -> None:
    folder = ROOT / "examples" / "restarts"
    done = run("python watch.py --restarts 1 --clients 4", folder, PYTHONDONTWRITEBYTECODE="1")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Generation 2 is confirmed." in done.stdout
    assert "4 clients made 4 connections, the server closed 0." in done.stdout
    assert done.stdout.endswith("No client noticed anything.\n")


def test_the_configuration_example_is_read_without_a_complaint(project: Path) -> None:
    [example] = blocks(GUIDE / "configuration.md", "python")
    (project / "oxicorn.conf.py").write_text(example)
    done = run("oxicorn --print-config shop:app", project)
    assert (done.returncode, done.stderr) == (0, "")
    names = re.findall(r"^(\w+) = ", example, re.M)
    read = re.findall(r"^(\w+) .*# \./oxicorn\.conf\.py$", done.stdout, re.M)
    assert names
    assert sorted(read) == sorted(names)


def test_the_configuration_example_in_toml_is_read_without_a_complaint(project: Path) -> None:
    [example] = blocks(GUIDE / "configuration.md", "toml")
    (project / "oxicorn.toml").write_text(example)
    done = run("oxicorn --print-config --strict-config shop:app", project)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(re.findall(r"# \./oxicorn\.toml$", done.stdout, re.M)) == 6


def test_readme_and_guide_show_the_same_first_application() -> None:
    example, _script = blocks(GUIDE / "first-application.md", "python")
    assert example in (ROOT / "README.md").read_text()


def test_the_often_needed_settings_have_these_options_and_defaults() -> None:
    described = json.loads((ROOT / "docs" / "reference" / "settings.json").read_text())
    settings = {setting["name"]: setting for setting in described}
    for name, option, default, _meaning in rows(GUIDE / "configuration.md", "Often needed"):
        for one, flag in zip(re.findall(r"\w+", name), re.findall(r"-[\w-]+", option), strict=True):
            assert flag in settings[one]["flags"], f"{one} has no {flag}"
        if default.isdecimal():
            assert settings[name]["default"] == int(default), name


# names


@pytest.mark.parametrize("page", sorted(PROSE), ids=named)
def test_links_inside_the_repository_lead_somewhere(page: Path) -> None:
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.M | re.S)
    targets = [target.split("#")[0] for target in re.findall(r"\]\(([^)\s]+)\)", text)]
    inside = [target for target in targets if target and "://" not in target]
    assert [target for target in inside if not (page.parent / target).exists()] == []


def test_the_files_that_the_architecture_names_exist() -> None:
    section = (ROOT / "ARCHITECTURE.md").read_text().split("## Where to look")[1]
    names = re.findall(r"`([\w/]+/[\w/.-]*)`", section)
    assert len(names) > 30
    places = (ROOT, ROOT / "crates")
    missing = [name for name in names if not any((place / name).exists() for place in places)]
    assert missing == []


def test_the_tests_that_the_architecture_names_exist() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text()
    names = re.findall(r"`([a-z0-9]+(?:_[a-z0-9]+){3,})`", text)
    assert names
    sources = "".join(path.read_text() for path in ROOT.glob("crates/*/tests/**/*.rs"))
    assert [name for name in names if f"fn {name}(" not in sources] == []
