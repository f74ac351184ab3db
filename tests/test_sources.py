"""Where settings come from: files in TOML, which file is read, and gunicorn's order of sources."""

from __future__ import annotations

import argparse
import signal
from pathlib import Path

import pytest
from gunicorn import config

from conftest import Serve
from harness.command import APP, command, printed
from harness.script import WSGI, Scripts
from harness.server import Server
from harness.wait import until
from oxicorn._native import CommandLine, ConfigError

TABLE = "[tool.oxicorn]\nworkers = 5\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The start directory, with an application."""
    (tmp_path / "site_app.py").write_text(APP)
    return tmp_path


def failure(folder: Path, *words: str) -> str:
    """What the command says when it does not start."""
    done = command(folder, *words, "site_app:app")
    assert done.returncode == 1, done.stderr
    return done.stderr


# TOML.


def test_oxicorn_toml_is_found_in_the_start_directory(folder: Path) -> None:
    (folder / "oxicorn.toml").write_text('workers = 3\nbind = ["127.0.0.1:9", "unix:s"]\n')
    found = printed(folder)
    assert (found["workers"], found["from workers"]) == ("3", "./oxicorn.toml")
    assert found["bind"] == "['127.0.0.1:9', 'unix:s']"


def test_a_project_file_is_found_if_it_has_our_table(folder: Path) -> None:
    (folder / "pyproject.toml").write_text(f"[project]\nname = 'shop'\n{TABLE}")
    found = printed(folder)
    assert (found["workers"], found["from workers"]) == ("5", "./pyproject.toml")


@pytest.mark.parametrize("text", ["[tool.other]\nworkers = 5\n", "[tool.other]\nworkers = \n"])
def test_a_project_file_of_somebody_else_is_not_looked_at(folder: Path, text: str) -> None:
    (folder / "pyproject.toml").write_text(text)
    assert printed(folder)["workers"] == "1"


@pytest.mark.parametrize("source", ["site.toml", "file:site.toml", "{folder}/site.toml"])
def test_a_file_in_toml_is_named_as_any_other(folder: Path, source: str) -> None:
    (folder / "site.toml").write_text("threads = 7\n")
    (folder / "oxicorn.toml").write_text("threads = 8\n")
    assert printed(folder, "-c", source.format(folder=folder))["threads"] == "7"


def test_a_named_project_file_has_to_have_our_table(folder: Path) -> None:
    (folder / "pyproject.toml").write_text("[project]\nname = 'shop'\n")
    said = failure(folder, "-c", "pyproject.toml")
    assert "'pyproject.toml' cannot be used: it has no table [tool.oxicorn]." in said


FILES = {
    "oxicorn.conf.py": "workers = 2\n",
    "gunicorn.conf.py": "workers = 3\n",
    "oxicorn.toml": "workers = 4\n",
    "pyproject.toml": TABLE,
}


@pytest.mark.parametrize("first", range(len(FILES)))
def test_the_first_file_counts_and_the_others_are_named(folder: Path, first: int) -> None:
    names = list(FILES)[first:]
    for name in names:
        (folder / name).write_text(FILES[name])
    done = command(folder, "--print-config", "site_app:app")
    assert f"# ./{names[0]}\n" in done.stdout
    if len(names) == 1:
        assert done.stderr == ""
        return
    verb = "is" if len(names) == 2 else "are"
    others = " and ".join(f"./{name}" for name in names[1:])
    expected = f"read from ./{names[0]}; {others} {verb} there as well, and not read."
    assert expected in done.stderr


def test_of_a_file_that_is_named_no_other_is_said_to_be_overlooked(folder: Path) -> None:
    for name, text in FILES.items():
        (folder / name).write_text(text)
    assert command(folder, "--check-config", "-c", "oxicorn.toml", "site_app:app").stderr == ""


def test_a_mistake_in_toml_is_named_by_file_line_and_column(folder: Path) -> None:
    (folder / "oxicorn.toml").write_text("workers = 3\nbind = \n")
    assert "The configuration file './oxicorn.toml' cannot be used: line 2, column 8: " in failure(
        folder
    )


def test_a_mistake_in_a_project_file_with_our_table_is_an_error(folder: Path) -> None:
    (folder / "pyproject.toml").write_text("[tool.oxicorn]\nworkers = \n")
    assert "'./pyproject.toml' cannot be used: line 2, column 11: " in failure(folder)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("raw_env = [1]", "raw_env = [1] (from ./oxicorn.toml): expected a list of texts"),
        ("bind = 8000", "bind = 8000 (from ./oxicorn.toml): expected a list of texts"),
        ("daemon = 1", "daemon = 1 (from ./oxicorn.toml): expected true or false"),
        ("workers = []", "workers = [] (from ./oxicorn.toml): expected a whole number"),
        ("chdir = {}", "chdir = {} (from ./oxicorn.toml): expected a text"),
        ("timeout = 2026-01-31", "timeout = 2026-01-31: there is no setting that is a date"),
    ],
)
def test_a_value_of_a_wrong_type_is_named_by_file_and_key(
    folder: Path, text: str, said: str
) -> None:
    (folder / "oxicorn.toml").write_text(text + "\n")
    assert said in failure(folder)


def test_text_that_is_not_utf_8_is_no_toml(folder: Path) -> None:
    (folder / "oxicorn.toml").write_bytes(b"proc_name = '\xff'\n")
    assert "oxicorn.toml' is not in UTF-8" in failure(folder)


def test_a_hook_in_toml_is_a_dotted_name(serve: Serve, folder: Path) -> None:
    hooks = "def post_fork(server, worker):\n    server.log.info('forked %s', worker.pid)\n"
    (folder / "site_hooks.py").write_text(hooks)
    (folder / "oxicorn.toml").write_text('post_fork = "site_hooks.post_fork"\n')
    server = serve("site_app:app", cwd=folder)
    server.wait_for_log(rf"forked {server.worker}\b")


def test_a_hook_that_is_not_there_is_named(folder: Path) -> None:
    (folder / "oxicorn.toml").write_text('post_fork = "site_app.nothing"\n')
    assert "post_fork = 'site_app.nothing': 'site_app' has no 'nothing'." in failure(folder)


def test_a_restart_reads_toml_again(serve: Serve, folder: Path) -> None:
    (folder / "oxicorn.toml").write_text("workers = 1\n")
    server = serve("site_app:app", "--observe-timeout", "0", cwd=folder)
    (folder / "oxicorn.toml").write_text("workers = 2\n")
    server.signal(signal.SIGHUP)
    server.wait_for_workers(2)
    server.wait_serving()


def test_a_restart_with_broken_toml_changes_nothing(serve: Serve, folder: Path) -> None:
    (folder / "oxicorn.toml").write_text("workers = 1\n")
    server = serve("site_app:app", cwd=folder)
    worker = server.worker
    (folder / "oxicorn.toml").write_text("workers = \n")
    server.signal(signal.SIGHUP)
    server.wait_for_log(r"oxicorn.toml' cannot be used: line 1, column 11")
    assert server.workers() == [worker]
    assert server.request().text == "fine"


def test_a_script_reads_toml_if_it_names_it(scripts: Scripts) -> None:
    scripts.write("site_app.py", WSGI)
    scripts.write("oxicorn.toml", "workers = 7\n")
    scripts.write("site.toml", 'bind = "127.0.0.1:0"\nworkers = 2\n')
    call = "import oxicorn\noxicorn.run('site_app:app', config='site.toml')\n"
    server: Server = scripts.start(call, workers=2)
    until(lambda: len(server.workers()) == 2, "two workers")
    server.stop()


# As with gunicorn.

BOTH = pytest.mark.parametrize("program", ["gunicorn", "oxicorn"])

LEVELS: list[tuple[dict[str, str], str, list[str], str]] = [
    ({}, "", [], "1"),
    ({"WEB_CONCURRENCY": "2"}, "", [], "2"),
    ({"WEB_CONCURRENCY": "2"}, "workers = 3\n", [], "3"),
    ({"WEB_CONCURRENCY": "2", "GUNICORN_CMD_ARGS": "-w 4"}, "workers = 3\n", [], "4"),
    ({"GUNICORN_CMD_ARGS": "--workers=4"}, "workers = 3\n", ["-w5"], "5"),
]


@BOTH
@pytest.mark.parametrize("level", range(len(LEVELS)))
def test_each_source_is_stronger_than_the_one_before(
    folder: Path, program: str, level: int
) -> None:
    env, text, words, expected = LEVELS[level]
    if text:
        (folder / "gunicorn.conf.py").write_text(text)
    assert printed(folder, *words, env=env, program=program)["workers"] == expected


@BOTH
@pytest.mark.parametrize(
    ("words", "name", "value"),
    [
        (["--graceful", "7"], "graceful_timeout", "7"),
        (["--max-requests", "5"], "max_requests", "5"),
        (["--max-requests-j", "5"], "max_requests_jitter", "5"),
        (["--work-cl"], "", ""),
        (["--worker-con=9"], "worker_connections", "9"),
        (["--rel"], "", ""),
        (["--relo", "--reload-eng", "poll"], "", ""),
        (["--prel"], "preload_app", "True"),
        (["--check"], "check_config", "True"),
    ],
)
def test_flags_are_shortened_as_argparse_has_it(
    folder: Path, program: str, words: list[str], name: str, value: str
) -> None:
    if name:
        assert printed(folder, *words, program=program)[name] == value
        return
    done = command(folder, "--print-config", *words, "site_app:app", program=program)
    assert done.returncode == 2, done.stdout


@BOTH
def test_a_shortened_flag_is_understood_in_the_variable_too(folder: Path, program: str) -> None:
    env = {"GUNICORN_CMD_ARGS": "--graceful 7 --access-logformat '%(h)s %(r)s'"}
    found = printed(folder, env=env, program=program)
    assert found["graceful_timeout"] == "7"
    assert found["access_log_format"].strip("'") == "%(h)s %(r)s"


@BOTH
def test_the_file_of_the_command_line_is_stronger_than_that_of_the_variable(
    folder: Path, program: str
) -> None:
    for name, number in [("gunicorn.conf.py", 2), ("a.py", 3), ("b.py", 4)]:
        (folder / name).write_text(f"workers = {number}\n")
    env = {"GUNICORN_CMD_ARGS": "-c a.py"}
    assert printed(folder, program=program)["workers"] == "2"
    assert printed(folder, env=env, program=program)["workers"] == "3"
    assert printed(folder, "-c", "b.py", env=env, program=program)["workers"] == "4"


@BOTH
def test_a_variable_with_a_usage_error_ends_with_2(folder: Path, program: str) -> None:
    env = {"GUNICORN_CMD_ARGS": "--no-such-flag"}
    assert command(folder, "site_app:app", env=env, program=program).returncode == 2


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("WORKERS", "4", "4"),
        ("BIND", "127.0.0.1:9, unix:s", "['127.0.0.1:9', 'unix:s']"),
        ("RELOAD", "true", "True"),
        ("UMASK", "0077", "63"),
        ("SECURE_SCHEME_HEADERS", "X-A=b", "{'X-A': 'b'}"),
        ("ASGI_DISCONNECT_GRACE_PERIOD", "1.5", "1.5"),
        ("MAX_WORKER_MEMORY", "1M", "1048576"),
    ],
)
def test_every_setting_has_a_variable(folder: Path, name: str, text: str, value: str) -> None:
    found = printed(folder, env={f"OXICORN_{name}": text})
    setting = name.lower()
    assert (found[setting], found[f"from {setting}"]) == (value, f"environment OXICORN_{name}")


def test_our_piece_of_command_line_is_stronger_than_gunicorns(folder: Path) -> None:
    env = {"GUNICORN_CMD_ARGS": "-w 3 --threads 3", "OXICORN_CMD_ARGS": "-w 4"}
    found = printed(folder, env=env)
    assert (found["workers"], found["from workers"]) == ("4", "OXICORN_CMD_ARGS")
    assert (found["threads"], found["from threads"]) == ("3", "GUNICORN_CMD_ARGS")


def abbreviations() -> dict[str, argparse.Action]:
    """Every way to shorten a long flag of gunicorn's, and what it stands for."""
    actions = config.Config().parser()._actions
    flags = {flag: action for action in actions for flag in action.option_strings}
    found = {}
    for flag, action in flags.items():
        for length in range(3, len(flag)):
            short = flag[:length]
            if sum(other.startswith(short) for other in flags) == 1:
                found[short] = action
    return found


def is_understood(short: str, action: argparse.Action) -> bool:
    """Whether we take it for the same setting, be it to refuse the value."""
    words = [short] if action.nargs == 0 else [short, "xyzzy"]
    line = CommandLine([*words, "site_app"], {})
    if line.exit is not None:
        return f"argument {action.option_strings[0]}" in line.exit[1]
    try:
        report = line.resolve([]).report()
    except ConfigError as error:
        return str(error).startswith(f"{action.dest} = ")
    # What has no effect is not in the report.
    said = [row for row in report.splitlines() if row.endswith("# command line")]
    return all(row.startswith((f"{action.dest} ", "wsgi_app ", "default_proc")) for row in said)


def test_every_abbreviation_of_gunicorns_means_the_same_but_that_which_is_uvicorns() -> None:
    texts = (argparse._HelpAction, argparse._VersionAction)
    settings = {short: one for short, one in abbreviations().items() if not isinstance(one, texts)}
    assert len(settings) > 500
    others = [short for short, one in settings.items() if not is_understood(short, one)]
    assert others == ["--header"]
