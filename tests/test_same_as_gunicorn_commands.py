"""Commands that end by themselves: the same exit code as gunicorn's, and the same settings from the
same sources.
"""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from harness.pair import Ended, Pair, Side, agree, differs, pair

APP = """
def app(environ, start_response):
    start_response("200 OK", [])
    return [b""]

def make(name="x"):
    return app

not_callable = 5

def raises():
    raise RuntimeError("while it is made")
"""

FILES = {
    "site_app": APP,
    "raises": "raise RuntimeError('at the import')\n",
    "syntax": "def app(:\n",
    "imports": "import no_such_library\n",
    "other_app": "def other(environ, start_response, more): ...\n",
    "good_conf": "workers = 3\nthreads = 2\n",
    "bad_value": "workers = 'many'\n",
    "bad_type": "reload = 'perhaps'\n",
    "raising_conf": "raise ValueError('of the configuration')\n",
    "syntax_conf": "workers = = 1\n",
    "unknown_conf": "wokers = 3\nNAME = 5\n_private = 1\n",
    "negative": "workers = -1\n",
    "hook_conf": "def post_fork(server): pass\n",
    "lifespan": (
        "async def app(scope, receive, send):\n"
        "    await receive()\n"
        "    await send({'type': 'lifespan.startup.failed', 'message': 'no database'})\n"
    ),
}

BIND = ("-b", "127.0.0.1:0")

COMMANDS: dict[str, tuple[str, ...]] = {
    # what is asked for and printed
    "--version": ("--version",),
    "--help": ("--help",),
    "-v": ("-v",),
    # the application
    "no application": BIND,
    "a missing module": (*BIND, "nowhere:app"),
    "a missing attribute": (*BIND, "site_app:nowhere"),
    "a missing default attribute": (*BIND, "other_app"),
    "not callable": (*BIND, "site_app:not_callable"),
    "a module that raises": (*BIND, "raises:app"),
    "a syntax error": (*BIND, "syntax:app"),
    "an import that fails": (*BIND, "imports:app"),
    "a factory that raises": (*BIND, "site_app:raises()"),
    "a factory that is none": (*BIND, "site_app:nowhere()"),
    "a factory with a wrong argument": (*BIND, "site_app:make(1, 2)"),
    "a factory with an expression": (*BIND, "site_app:make(name)"),
    "a missing module, preloaded": (*BIND, "--preload", "nowhere:app"),
    "a module that raises, preloaded": (*BIND, "--preload", "raises:app"),
    "a missing attribute, preloaded": (*BIND, "--preload", "site_app:nowhere"),
    "a lifespan that fails": (*BIND, "-k", "asgi", "lifespan:app"),
    # the configuration
    "a missing file": (*BIND, "-c", "nowhere.py", "site_app:app"),
    "a missing module of configuration": (*BIND, "-c", "python:nowhere", "site_app:app"),
    "a file that raises": (*BIND, "-c", "raising_conf.py", "site_app:app"),
    "a file with a syntax error": (*BIND, "-c", "syntax_conf.py", "site_app:app"),
    "a wrong value in the file": (*BIND, "-c", "bad_value.py", "site_app:app"),
    "a wrong type in the file": (*BIND, "-c", "bad_type.py", "site_app:app"),
    "a negative number in the file": (*BIND, "-c", "negative.py", "site_app:app"),
    "a hook with too few arguments": (*BIND, "-c", "hook_conf.py", "site_app:app"),
    "an unknown flag": (*BIND, "--no-such-flag", "site_app:app"),
    "an ambiguous flag": (*BIND, "--log", "x", "site_app:app"),
    "a flag without its value": ("site_app:app", "--bind"),
    "a word for a number": (*BIND, "--workers", "many", "site_app:app"),
    "an unknown worker class": (*BIND, "-k", "no_such_class", "site_app:app"),
    "an unknown choice": (*BIND, "--header-map", "perhaps", "site_app:app"),
    "an unknown user": (*BIND, "--user", "no-such-user", "site_app:app"),
    "an unknown group": (*BIND, "--group", "no-such-group", "site_app:app"),
    "a directory that is none": (*BIND, "--chdir", "nowhere", "site_app:app"),
    "an address without a port number": ("-b", "127.0.0.1:port", "site_app:app"),
    "a list of networks that is none": (*BIND, "--forwarded-allow-ips", "here", "site_app:app"),
    "a hook on the command line": (*BIND, "--post-fork", "x", "site_app:app"),
    # checks
    "check: all is well": ("--check-config", "site_app:app"),
    "check: with a file": ("--check-config", "-c", "good_conf.py", "site_app:app"),
    "check: a missing module": ("--check-config", "nowhere:app"),
    "check: a missing attribute": ("--check-config", "site_app:nowhere"),
    "check: a wrong value": ("--check-config", "-c", "bad_value.py", "site_app:app"),
    "print: all is well": ("--print-config", "site_app:app"),
    "print: a missing module": ("--print-config", "nowhere:app"),
    # variables
    "a wrong flag in the variable": ("env:GUNICORN_CMD_ARGS=--no-such-flag", "site_app:app"),
    "a wrong value in the variable": ("env:GUNICORN_CMD_ARGS=-w many", "site_app:app"),
    "a wrong WEB_CONCURRENCY": ("env:WEB_CONCURRENCY=many", *BIND, "site_app:app"),
}

USAGE = differs(
    "what is typed wrongly is a usage error, whether its number or its meaning is wrong",
    "- exit 1",
    "+ exit 2",
)

DIFFERENCES = {
    "an unknown worker class": USAGE,
    "an unknown choice": USAGE,
    "an address without a port number": USAGE,
    "a list of networks that is none": USAGE,
}


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    with pair(tmp_path_factory.mktemp("commands"), **FILES) as made:
        yield made


def command(side: Side, words: tuple[str, ...]) -> Ended:
    env = dict(word[4:].split("=", 1) for word in words if word.startswith("env:"))
    return side.run(*(word for word in words if not word.startswith("env:")), env=env)


def end(ended: Ended) -> list[str]:
    """How it ended, and where it has said something."""
    said = [name for name, text in (("out", ended.out), ("err", ended.err)) if text.strip()]
    return [f"exit {ended.code}", f"says something on: {' '.join(said)}"]


@pytest.mark.parametrize("situation", COMMANDS)
def test_a_command_ends_the_same(both: Pair, situation: str) -> None:
    theirs, ours = both.both(lambda side: command(side, COMMANDS[situation]))
    agree(situation, (end(theirs), end(ours)), DIFFERENCES)


def test_the_list_of_differences_names_only_what_is_tested() -> None:
    assert DIFFERENCES.keys() <= COMMANDS.keys()


# What cannot be had.


def test_an_address_in_use_ends_the_start_with_1_after_some_tries(both: Pair) -> None:
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        name = taken.getsockname()
        place = f"{name[0]}:{name[1]}"
        theirs, ours = both.both(lambda side: side.run("-b", place, "site_app:app"))
    # An address as one would type it, not as Python writes a tuple.
    for ended, shown in ((theirs, str(name)), (ours, place)):
        lines = re.findall(r"\[ERROR\] (.*)", ended.err)
        assert ended.code == 1
        assert lines.count(f"Connection in use: {shown}") == 5
        assert lines[-1].startswith(f"Can't connect to {shown}")


@pytest.mark.parametrize("text", ["{pid}\n", "{pid}"])
def test_the_pidfile_of_a_living_process_ends_the_start_with_1(both: Pair, text: str) -> None:
    def start(side: Side) -> Ended:
        (side.folder / "taken.pid").write_text(text.format(pid=os.getpid()))
        return side.run(*BIND, "--pid", "taken.pid", "site_app:app")

    theirs, ours = both.both(start)
    assert (theirs.code, ours.code) == (1, 1)
    for ended, side in zip((theirs, ours), both.sides, strict=True):
        assert "Already running on PID" in ended.err
        assert (side.folder / "taken.pid").read_text() == text.format(pid=os.getpid())


# Which source wins.

NAMES = {
    *("bind", "workers", "threads", "timeout", "graceful_timeout"),
    *("raw_env", "loglevel", "umask"),
}

SOURCES: dict[str, tuple[str, tuple[str, ...]]] = {
    "nothing is said": ("", ()),
    "a file": ("workers = 3\ntimeout = 40\nbind = '127.0.0.1:9'\n", ()),
    "a file that computes": ("import multiprocessing as m\nworkers = 2 * len([m]) + 1\n", ()),
    "upper-case names": ("WORKERS = 3\nWorkers = 4\n", ()),
    "the command line beats the file": ("workers = 3\ntimeout = 40\n", ("-w", "5")),
    "the variable beats the file": ("workers = 3\n", ("env:GUNICORN_CMD_ARGS=--workers 4",)),
    "the command line beats the variable": (
        "workers = 3\n",
        ("env:GUNICORN_CMD_ARGS=--workers=4 -t 41", "-w5"),
    ),
    "the file beats WEB_CONCURRENCY": ("workers = 3\n", ("env:WEB_CONCURRENCY=4",)),
    "WEB_CONCURRENCY": ("", ("env:WEB_CONCURRENCY=4",)),
    "PORT": ("", ("env:PORT=8123",)),
    "the file beats PORT": ("bind = ':9'\n", ("env:PORT=8123",)),
    "several addresses": ("bind = ['127.0.0.1:9', '[::1]:9']\n", ()),
    "several addresses on the command line": ("bind = ':9'\n", ("-b", ":10", "--bind", "unix:s")),
    "numbers as texts": ("workers = '3'\nthreads = '0x10'\n", ()),
    "abbreviations": ("", ("--graceful", "5", "--time", "6", "--thr", "2")),
    "other forms of flags": ("", ("-w2", "--threads=3", "-t", "7")),
    "values with equal signs": ("", ("-e", "A=b=c", "--env", "D=")),
    "masks": ("umask = 0o22\n", ()),
    "a mask as a text": ("", ("-m", "0022")),
    "another file": ("workers = 3\n", ("-c", "other_conf.py")),
    "another file by its scheme": ("workers = 3\n", ("-c", "file:other_conf.py")),
    "a module": ("workers = 3\n", ("-c", "python:other_conf")),
    "another file in the variable": ("", ("env:GUNICORN_CMD_ARGS=-c other_conf.py",)),
    "two other files": (
        "",
        ("env:GUNICORN_CMD_ARGS=-c third_conf.py", "-c", "other_conf.py"),
    ),
    "a file without a suffix": ("", ("-c", "no_suffix")),
    "quotations in the variable": ("", ("env:GUNICORN_CMD_ARGS=-e 'A=b c' -e \"D=e\"",)),
    "more words than one": ("", ("site_app:app", "other")),
    "the level of the log": ("loglevel = 'warning'\n", ()),
}


def settings(side: Side, file: str, words: tuple[str, ...]) -> list[str]:
    """What it would run with."""
    side.write(conf=file, other_conf="timeout = 77\n", third_conf="timeout = 88\n")
    (side.folder / "no_suffix").write_text("timeout = 99\n")
    ended = command(side, ("--print-config", *words, *(() if "other" in words else ("site_app",))))
    assert ended.code == 0, ended.err
    return [line for line in map(_setting, ended.out.splitlines()) if line]


def _setting(line: str) -> str:
    """A line without who set it, and without what quotes a text."""
    name, equals, value = line.partition("=")
    value = value.partition("  # ")[0].strip()
    if not equals or name.strip() not in NAMES:
        return ""
    value = value[1:-1] if value[:1] == "'" == value[-1:] else value
    return f"{name.strip()} = {int(value, 8) if value.startswith('0o') else value}"


@pytest.mark.parametrize("situation", SOURCES)
def test_the_same_source_wins(tmp_path: Path, situation: str) -> None:
    with pair(tmp_path, site_app=f"{APP}\napplication = app\n") as made:
        seen = made.both(lambda side: settings(side, *SOURCES[situation]))
    agree(situation, seen, {})
