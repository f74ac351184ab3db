"""gunicorn's `config` and `util`, as programs that embed the server use them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from oxicorn.compat import config, util
from oxicorn.compat.errors import AppImportError, ConfigError, HaltServer


def test_a_setting_that_was_set_has_its_value_in_the_settings_form() -> None:
    cfg = config.Config()
    for name, value in [("workers", "3"), ("bind", "127.0.0.1:9"), ("umask", "0077")]:
        cfg.set(name, value)
    assert (cfg.workers, cfg.bind, cfg.umask) == (3, ["127.0.0.1:9"], 0o77)
    assert cfg.address == [("127.0.0.1", 9)]
    assert cfg.settings["workers"].get() == cfg.settings["workers"].value == 3


def test_what_was_not_set_is_of_the_environment_or_the_default(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("WEB_CONCURRENCY", "4")
    monkeypatch.setenv("GUNICORN_CMD_ARGS", "--threads 9")
    cfg = config.Config()
    assert (cfg.workers, cfg.threads, cfg.settings["workers"].get()) == (4, 1, 4)
    cfg.set("workers", 2)
    assert cfg.workers == 2
    assert cfg.get_cmd_args_from_env() == ["--threads", "9"]


def test_a_value_that_cannot_be_is_both_errors_that_programs_expect() -> None:
    cfg = config.Config()
    for kind in (ValueError, ConfigError):
        with pytest.raises(kind, match="workers = 'x': expected a whole number"):
            cfg.set("workers", "x")
    with pytest.raises(ValueError, match="dirty_workers = 2: not supported: run long jobs"):
        cfg.set("dirty_workers", 2)
    assert cfg.workers == 1


def test_a_name_that_is_no_setting_is_an_attribute_error() -> None:
    cfg = config.Config()
    with pytest.raises(AttributeError, match="No configuration setting for: wrokers"):
        cfg.set("wrokers", 2)
    with pytest.raises(AttributeError):
        _ = cfg.wrokers
    with pytest.raises(AttributeError):
        cfg.workers = 3


def test_settings_that_need_each_other_may_be_set_in_any_order() -> None:
    cfg = config.Config()
    cfg.set("keyfile", "a.key")
    with pytest.raises(ConfigError, match="needs certfile"):
        cfg.validate()
    cfg.set("certfile", "a.pem")
    cfg.validate()
    assert cfg.is_ssl


def test_hooks_are_functions_that_can_be_called() -> None:
    cfg = config.Config()
    assert cfg.post_fork(None, None) is None
    cfg.set("post_fork", lambda server, worker: worker)
    assert cfg.post_fork(1, 2) == 2


def test_a_directory_is_meant_as_seen_from_where_it_was_set(tmp_path: Path) -> None:
    cfg = config.Config()
    cfg.set("chdir", "inner")
    assert cfg.chdir == os.path.join(os.getcwd(), "inner")


def test_every_setting_is_known_as_a_class() -> None:
    from oxicorn.compat.config import KNOWN_SETTINGS

    names = [kind.name for kind in KNOWN_SETTINGS]
    assert len(names) == len(set(names)) >= 120
    workers = next(kind for kind in KNOWN_SETTINGS if kind.name == "workers")
    assert (workers.__name__, workers.cli, workers.default) == ("Workers", ("-w", "--workers"), 1)
    assert workers.short == "The number of worker processes."
    made = config.make_settings(ignore=["bind"])
    assert set(made) == set(names) - {"bind"}
    assert sorted(made.values())[0].section <= sorted(made.values())[-1].section
    copied = made["workers"].copy()
    copied.set(7)
    assert (copied.get(), made["workers"].get()) == (7, 1)


def test_a_default_is_not_shared() -> None:
    config.make_settings()["bind"].get().append("other")
    assert config.make_settings()["bind"].get() == ["127.0.0.1:8000"]


def test_the_default_file_is_found_by_its_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert config.get_default_config_file() is None
    (tmp_path / "gunicorn.conf.py").write_text("")
    assert config.get_default_config_file() == str(tmp_path / "gunicorn.conf.py")


@pytest.mark.parametrize(
    "text",
    [
        "unix:/run/a.sock",
        "unix:///run/a.sock",
        "fd://3",
        "tcp://LOCALHOST:80",
        "[::1]:80",
        "[::1]",
        "a:1",
        "a",
        "8000",
        ":80",
        "",
    ],
)
def test_addresses_are_read_as_gunicorn_reads_them(text: str) -> None:
    theirs = pytest.importorskip("gunicorn.util")
    assert util.parse_address(text) == theirs.parse_address(text)


@pytest.mark.parametrize("text", ["a:b", "fd://x", "[::1]:x"])
def test_what_is_no_address_is_a_runtime_error(text: str) -> None:
    with pytest.raises(RuntimeError, match="is not a valid"):
        util.parse_address(text)


def test_an_application_is_imported_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "imported_site.py").write_text("def app(environ, start_response): ...\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert util.import_app("imported_site:app").__name__ == "app"
    with pytest.raises(AppImportError):
        util.import_app("imported_site:nothing")


def test_a_halt_passes_by_handlers_of_exceptions() -> None:
    assert not issubclass(HaltServer, Exception)
    assert str(HaltServer("Worker failed to boot.", 3)) == "<HaltServer 'Worker failed to boot.' 3>"
