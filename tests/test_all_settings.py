"""Each of gunicorn's 120 settings, from gunicorn's own list: set in every way that gunicorn has, it
is understood as gunicorn understands it and does what it says (`effects`), or it is refused with
advice, or accepted with a word on why there is nothing for it to do.

What is expected follows from the status in the table of settings: a setting that gets another
status is tested for that one.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from gunicorn.config import KNOWN_SETTINGS, Config

import effects
from effects.values import ENVIRONMENT, VALUES
from harness.server import PROGRAM, Server, clean_environment
from oxicorn._native import CommandLine, ConfigError

THEIRS = {setting.name: setting for setting in KNOWN_SETTINGS}
TABLE = Path(__file__).resolve().parent.parent / "docs" / "reference" / "settings.json"
ROWS = {row["name"]: row for row in json.loads(TABLE.read_text())}
STATUS = {name: ROWS[name]["status"] for name in THEIRS}
IN_EFFECT = sorted(name for name, status in STATUS.items() if status in ("same", "better"))
REFUSED = sorted(name for name, status in STATUS.items() if status in ("refused", "later"))
IDLE = sorted(name for name, status in STATUS.items() if status == "without effect")

BESIDE = {"keyfile": {"certfile": "a.pem"}}
"""What a setting needs beside it."""

NOT_SETTABLE_BY_FLAG = {
    "suppress_ragged_eofs": "gunicorn's flag says True, which is the default",
}


def settable(name: str) -> list[str]:
    return [] if name in NOT_SETTABLE_BY_FLAG else list(THEIRS[name].cli or [])


def test_every_setting_of_gunicorn_has_a_status_and_a_value() -> None:
    assert len(KNOWN_SETTINGS) == len(THEIRS) == 120
    assert list(THEIRS.keys() - ROWS.keys()) == []
    assert list(THEIRS.keys() - VALUES.keys()) == []
    assert list(VALUES.keys() - THEIRS.keys()) == []
    assert len(IN_EFFECT) + len(REFUSED) + len(IDLE) == 120


def test_every_value_is_another_one_than_gunicorns_default() -> None:
    usual = Config()
    same = [name for name, value in VALUES.items() if value.value == usual.settings[name].get()]
    assert same == []


# What is understood.


def ours(
    name: str,
    *words: str,
    file: dict[str, Any] | None = None,
    env: dict[str, str] | None = None,
) -> Any:
    """The configuration that these words, this file and this environment make."""
    command_line = CommandLine(list(words), env or {})
    if command_line.exit is not None:
        raise ConfigError(command_line.exit[1])
    values = {**BESIDE.get(name, {}), **(file or {})}
    return command_line.resolve([("gunicorn.conf.py", values, True)])


def theirs(name: str, value: Any) -> Any:
    """What gunicorn's configuration makes of a value."""
    config = Config()
    config.set(name, value)
    return config.settings[name].get()


def is_hook(name: str) -> bool:
    return callable(VALUES[name].value)


@pytest.mark.parametrize("name", sorted(IN_EFFECT + IDLE))
def test_a_value_in_the_file_is_understood_as_by_gunicorn(name: str) -> None:
    value = VALUES[name]
    written = eval(value.written)
    found = getattr(ours(name, file={name: written}), name)
    if is_hook(name):
        assert found is written
        return
    assert value.is_read_as(found)
    assert value.is_read_as(theirs(name, written))


@pytest.mark.parametrize(
    ("name", "flag"),
    [(name, flag) for name in sorted(IN_EFFECT + IDLE) for flag in settable(name)],
)
def test_a_flag_of_gunicorn_is_understood_as_by_gunicorn(name: str, flag: str) -> None:
    value = VALUES[name]
    parsed = vars(Config().parser().parse_args([flag, *value.words]))[name]
    assert value.is_read_as(theirs(name, parsed))
    assert value.is_read_as(getattr(ours(name, flag, *value.words), name))
    glued = f"{flag}{value.said}" if len(flag) == 2 else f"{flag}={value.said}"
    if value.words:
        assert value.is_read_as(getattr(ours(name, glued), name))


@pytest.mark.parametrize(
    ("name", "flag"),
    [(name, flag) for name in sorted(IN_EFFECT + IDLE) for flag in settable(name)],
)
def test_a_flag_is_abbreviated_as_for_gunicorn(name: str, flag: str) -> None:
    every = {flag for setting in KNOWN_SETTINGS for flag in setting.cli or ()}
    every |= {"--help", "--version"}
    parser, value = Config().parser(), VALUES[name]
    own = {flag for row in ROWS.values() for flag in row["flags"]}
    for short in (flag[:end] for end in range(3, len(flag))):
        # `--header` is a flag of ours.
        if short not in own and [one for one in every if one.startswith(short)] == [flag]:
            assert vars(parser.parse_args([short, *value.words]))[name] is not None
            assert value.is_read_as(getattr(ours(name, short, *value.words), name)), short


@pytest.mark.parametrize("name", [name for name in sorted(IN_EFFECT + IDLE) if settable(name)])
def test_gunicorn_cmd_args_reaches_whatever_has_a_flag(name: str) -> None:
    words = " ".join([settable(name)[-1], *VALUES[name].words])
    found = getattr(ours(name, env={"GUNICORN_CMD_ARGS": words}), name)
    assert VALUES[name].is_read_as(found)


@pytest.mark.parametrize("name", ENVIRONMENT)
def test_the_variables_of_single_settings_are_read(name: str) -> None:
    variable, text, value = ENVIRONMENT[name]
    config = ours(name, env={variable: text})
    assert getattr(config, name) == value
    assert f"# environment {variable}" in config.report()
    read = f"from gunicorn.config import Config; print(repr(Config().{name}))"
    done = subprocess.run(
        [sys.executable, "-c", read],
        env={**clean_environment(), variable: text},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert eval(done.stdout) == value


@pytest.mark.parametrize("name", IN_EFFECT)
def test_print_config_shows_it_and_who_has_set_it(name: str) -> None:
    value = VALUES[name].value if is_hook(name) else eval(VALUES[name].written)
    report = ours(name, file={name: value}).report()
    [line] = [line for line in report.splitlines() if line.split(" ")[0] == name]
    assert line.endswith("  # gunicorn.conf.py")


# What is refused, and what does nothing.


@pytest.mark.parametrize("name", REFUSED)
def test_a_value_that_is_not_supported_says_what_to_do_instead(name: str) -> None:
    value = VALUES[name]
    for refused in refusals(name):
        assert refused.startswith(f"{name} = ")
        assert "not supported" in refused
        assert ROWS[name]["note"] in refused
    usual = getattr(ours(name), name)
    assert getattr(ours(name, file={name: None}), name) == usual
    assert not value.is_read_as(usual)


def refusals(name: str) -> Iterator[str]:
    """What is said of each way to set it."""
    value = VALUES[name]
    ways: list[dict[str, Any]] = [{"file": {name: eval(value.written)}}]
    ways += [{"words": [flag, *value.words]} for flag in settable(name)]
    for way in ways:
        with pytest.raises(ConfigError) as caught:
            ours(name, *way.get("words", []), file=way.get("file"))
        yield str(caught.value)


@pytest.mark.parametrize("name", REFUSED)
def test_a_server_with_a_value_that_is_not_supported_does_not_start(
    tmp_path: Path, name: str
) -> None:
    (tmp_path / "gunicorn.conf.py").write_text(f"{name} = {VALUES[name].written}\n")
    (tmp_path / "site_app.py").write_text("def app(environ, start_response): return []\n")
    done = subprocess.run(
        [sys.executable, "-m", "oxicorn", "site_app:app"],
        cwd=tmp_path,
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.startswith(f"Error: {name} = ")
    assert "(from ./gunicorn.conf.py): not supported" in done.stderr
    assert ROWS[name]["note"] in done.stderr


@pytest.fixture(scope="module")
def idle(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What a server says at debug of all settings for which there is nothing to do."""
    folder = tmp_path_factory.mktemp("idle")
    lines = [f"{name} = {VALUES[name].written}" for name in IDLE]
    (folder / "gunicorn.conf.py").write_text("\n".join(lines))
    server = Server(folder, "apps.same:app", ("--log-level", "debug"), cwd=folder)
    try:
        assert server.launch().wait_accepting().request().status == 200
        return server.log
    finally:
        server.destroy()


@pytest.mark.parametrize("name", IDLE)
def test_a_setting_without_effect_says_so_at_debug(idle: str, name: str) -> None:
    line = f" (from ./gunicorn.conf.py): without effect; {ROWS[name]['note']}\n"
    assert re.search(rf"\[DEBUG\] {name} = .*{re.escape(line)}", idle)


# What it does.


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[effects.Stage]:
    """The servers of this module, each started when the first of its settings is tested."""
    made = effects.Stage(tmp_path_factory.mktemp("effects"))
    yield made
    made.destroy()


def test_every_setting_that_does_something_has_a_test_of_what_it_does() -> None:
    assert [name for name in IN_EFFECT if name not in effects.OF] == []
    assert list(effects.OF.keys() - THEIRS.keys()) == []


# gunicorn itself, with `OXICORN_TEST_SERVER`, has all of them.
@pytest.mark.parametrize("name", IN_EFFECT if PROGRAM == "oxicorn" else sorted(effects.OF))
def test_a_setting_does_what_it_says(stage: effects.Stage, name: str) -> None:
    stage.show(name)
