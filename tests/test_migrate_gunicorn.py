"""The page for gunicorn's users: each line has a test, and each known difference is on it."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import test_gunicornc as gunicornc
import test_same_as_gunicorn_commands as commands
import test_same_as_gunicorn_edges as edges
import test_same_as_gunicorn_environ as environ
import test_same_as_gunicorn_http as http
import test_same_as_gunicorn_lives as lives
import test_same_as_gunicorn_logs as logs
from harness.pair import Difference

TESTS = Path(__file__).resolve().parent
PAGE = TESTS.parent / "docs" / "migrate" / "gunicorn.md"
NAMED = re.compile(r"`(test_\w+)::(test_\w+)`")

LISTS = [
    http.DIFFERENCES,
    environ.DIFFERENCES,
    commands.DIFFERENCES,
    edges.DIFFERENCES,
    lives.DIFFERENCES,
    logs.DIFFERENCES,
    logs.ACCESS_DIFFERENCES,
    gunicornc.DIFFERENCES,
]


def sections() -> dict[str, str]:
    """The text below each heading of the second level."""
    parts = re.split(r"(?m)^## (.+)$", PAGE.read_text())
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def rows(text: str) -> list[str]:
    """The lines of tables, without their heads."""
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    return [line for line in lines if line not in ("| | test |",) and "| because |" not in line]


def functions(name: str) -> set[str]:
    tree = ast.parse((TESTS / f"{name}.py").read_text())
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("heading", ["What is the same", "What is better"])
def test_each_line_names_a_test(heading: str) -> None:
    lines = rows(sections()[heading])
    assert len(lines) > 15
    assert [line for line in lines if not NAMED.search(line)] == []


def test_each_part_of_what_differs_names_a_test() -> None:
    parts = re.split(r"(?m)^### ", sections()["What differs"])[1:]
    assert len(parts) >= 5
    assert [part.partition("\n")[0] for part in parts if not NAMED.search(part)] == []


@pytest.mark.parametrize(
    ("module", "name"), sorted({found.groups() for found in NAMED.finditer(PAGE.read_text())})
)
def test_each_test_that_is_named_is_there(module: str, name: str) -> None:
    assert name in functions(module)


def test_each_known_difference_is_on_the_page_and_no_other() -> None:
    known: list[Difference] = [one for table in LISTS for one in table.values()]
    reasons = {one.reason for one in known}
    told = {line.rsplit("|", 2)[-2].strip() for line in rows(sections()["What differs"])}
    assert told == reasons
