"""All settings, read at the start and again for each restart.

A restart reads them as the start did: the same command line and environment, from the directory
in which the server was started, by the name that the shell knew it by, so that a symbolic link
that was moved to a new release leads there. Only a worker enters what it read; the arbiter stays
what it was made at the start. A script says its settings itself, and once: of a restart it sees the
environment and the files that it named.

Invariant: a configuration that cannot be used raises, and leaves nothing behind.
"""

from __future__ import annotations

import importlib
import os
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from oxicorn import config_file, paste_file, shim
from oxicorn._native import CommandLine, Config
from oxicorn.app import Application
from oxicorn.config_file import Layer
from oxicorn.errors import OperatorError
from oxicorn.hooks import Hooks

__all__ = ["Script", "Source"]

_AT_START = (
    "backlog",
    "bind",
    "control_socket",
    "control_socket_disable",
    "control_socket_mode",
    "daemon",
    "disable_redirect_access_to_syslog",
    "dogstatsd_tags",
    "enable_backlog_metric",
    "enable_stdio_inheritance",
    "errorlog",
    "accesslog",
    "group",
    "initgroups",
    "log_format",
    "logger_class",
    "loglevel",
    "logs_through_python",
    "pidfile",
    "reuse_port",
    "statsd_host",
    "statsd_prefix",
    "syslog",
    "syslog_addr",
    "syslog_facility",
    "syslog_prefix",
    "umask",
    "user",
)
"""Settings that the arbiter itself was made with: workers cannot change them."""


@dataclass(frozen=True)
class Script:
    """What there is of a server that a script starts, and the command does not."""

    application: Application | str
    """The application itself, or what names it."""
    directories: tuple[str, ...] = ()
    """Where the script's own modules are."""
    modules: Mapping[str, object] = field(default_factory=dict)
    """What the script had imported."""
    makes: bool = False
    """What was handed over makes the application, in each process that serves it."""

    @property
    def is_loaded_anew(self) -> bool:
        """Whether a new process comes to another application than the one before."""
        return self.makes or isinstance(self.application, str)


class Source:
    """Where the settings come from, and what the process was before it entered them."""

    embedded: Any = None
    """The object of a program that embeds the server, which hooks find as `server.app`."""

    def __init__(
        self, command_line: CommandLine, environ: Mapping[str, str], script: Script | None = None
    ) -> None:
        self.script = script
        self._command_line = command_line
        self._environ = dict(environ)
        self._directory = _working_directory()
        self._importable: list[str] = []
        self._entered: Config | None = None
        self._variables: dict[str, str] = {}
        self._modules: dict[str, object] = {}

    def read(self) -> tuple[Config, list[str]]:
        """All settings, and what is to be said about them once there is a log."""
        self._make_start_importable()
        shim.install(self._command_line.gunicorn_shim)
        known = set(sys.modules)
        try:
            config, warnings = self._resolve()
            shim.install(config.gunicorn_shim)
            # What they import is the configuration's as well.
            Hooks(config)
        finally:
            self._modules = {name: sys.modules[name] for name in set(sys.modules) - known}
            self._modules.update(self.script.modules if self.script else {})
        if config.strict_config and config.unknown_names:
            raise OperatorError("\n".join(config.unknown_names))
        if config.app is None:
            raise OperatorError("No application was named: oxicorn [OPTIONS] MODULE[:VARIABLE]")
        _check(config)
        # By the arbiter, which keeps its rights. Absolute: it is about to change its directory.
        directory = os.path.join(os.getcwd(), config.chdir or "")
        warnings = [*warnings, *config.read_certificates(directory)]
        if config.reload and self.script and not self.script.is_loaded_anew:
            raise OperatorError("reload needs the application by its name, such as 'main:app'.")
        return config, warnings

    def read_again(self) -> tuple[Config, list[str]]:
        """The same for a restart; also says which changes have to wait for a new start."""
        modules, importable = self._modules, list(self._importable)
        with self._at_the_start(), _no_longer_than(self._entered):
            self.forget_modules()
            try:
                config, warnings = self.read()
            except BaseException:
                sys.modules.update(modules)  # type: ignore[arg-type]
                self._modules = modules
                raise
            finally:
                self._forget_directories(keep=importable)
        return config, [*warnings, *self._unheeded(config)]

    @property
    def directory(self) -> str:
        """Where the server was started."""
        return self._directory

    def command(self) -> tuple[str, list[str], dict[str, str], str]:
        """How this server was started: program, arguments, environment, directory."""
        return sys.executable, sys.orig_argv[1:], self._environ, self._directory

    def enter(self, config: Config) -> None:
        """Makes this process what the settings say: directory, import path, environment."""
        self._entered = config
        if config.chdir:
            try:
                os.chdir(config.chdir)
            except OSError as error:
                raise OperatorError(f"chdir: {config.chdir!r}: {error.strerror}.") from None
            self._make_importable(os.getcwd())
        for path in filter(None, (config.pythonpath or "").split(",")):
            self._make_importable(os.path.abspath(path))
        self._variables = {**self._file_variables(config), **_variables(config)}
        os.environ.update(self._variables)

    def enter_again(self, config: Config) -> None:
        """The same in a worker, where what the arbiter had entered is in force."""
        self.forget_modules()
        self._forget_directories(keep=[])
        for name in self._variables:
            if name in self._environ:
                os.environ[name] = self._environ[name]
            else:
                os.environ.pop(name, None)
        os.chdir(self._directory)
        self._make_start_importable()
        self.enter(config)
        importlib.invalidate_caches()

    def _resolve(self) -> tuple[Config, list[str]]:
        layers, notes = self._layers()
        config = self._command_line.resolve(layers)
        if config.paste:
            paste = paste_file.layer(config.paste)
            config = self._command_line.resolve([paste, *layers])
        return config, [*notes, *config.warnings]

    def _layers(self) -> tuple[list[Layer], list[str]]:
        """What is between the environment and the command line, and what is to be said of it."""
        if self._command_line.config_file is None:
            return [], []
        source, _named = self._command_line.config_file
        file = config_file.load(source)
        return [file.layer], [text for text in (file.warning, self._overlooked(source)) if text]

    def _overlooked(self, source: str) -> str | None:
        others = self._command_line.overlooked_files
        if not others:
            return None
        verb = "is" if len(others) == 1 else "are"
        return (
            f"The configuration is read from {source}; {' and '.join(others)} {verb} there as "
            "well, and not read. (Name a file with --config.)"
        )

    @contextmanager
    def _at_the_start(self) -> Iterator[None]:
        here = os.open(".", os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.chdir(self._directory)
            yield
        except OSError as error:
            raise OperatorError(f"{self._directory!r}: {error.strerror}.") from None
        finally:
            os.fchdir(here)
            os.close(here)

    def _unheeded(self, config: Config) -> list[str]:
        changed = [name for name in _AT_START if _differ(name, self._entered, config)]
        texts = []
        if changed:
            texts.append(
                f"Changed in the configuration, but not by a restart: {', '.join(changed)}. "
                "Stop the server and start it again."
            )
        return texts

    def _file_variables(self, config: Config) -> dict[str, str]:
        """What `env_file` says, without what the environment says already."""
        if not config.env_file:
            return {}
        path = os.path.join(self._directory, config.env_file)
        found = _dotenv(path, config.env_file)
        return {name: value for name, value in found.items() if name not in self._environ}

    def _make_start_importable(self) -> None:
        """A script has its import path already."""
        if self.script is None:
            self._make_importable(os.getcwd())

    def _make_importable(self, directory: str) -> None:
        if directory not in sys.path:
            sys.path.insert(0, directory)
        if directory not in self._importable:
            self._importable.append(directory)

    def _forget_directories(self, keep: list[str]) -> None:
        for directory in self._importable:
            if directory not in keep and directory in sys.path:
                sys.path.remove(directory)
        self._importable = keep

    def forget_modules(self) -> None:
        """What was imported here from the application's directories is imported anew."""
        ours = (*self._importable, *(self.script.directories if self.script else ()))
        for name, module in self._modules.items():
            file = getattr(module, "__file__", None) or ""
            if file.startswith(ours) and file.endswith(".py") and "site-packages" not in file:
                sys.modules.pop(name, None)


def _working_directory() -> str:
    """The directory as the shell calls it, if that is the one."""
    name, here = os.environ.get("PWD", ""), os.getcwd()
    try:
        same = os.path.isabs(name) and os.path.samefile(name, here)
    except OSError:
        same = False
    return name if same else here


def _check(config: Config) -> None:
    if config.chdir and not os.path.isdir(config.chdir):
        raise OperatorError(f"chdir: {config.chdir!r} is not a directory.")
    uploads = os.path.join(config.chdir or "", config.tmp_upload_dir or "")
    if config.tmp_upload_dir and not os.path.isdir(uploads):
        raise OperatorError(f"tmp_upload_dir: {config.tmp_upload_dir!r} is not a directory.")


class _TooLate(BaseException):
    """No `except Exception` of the file's may keep it."""


@contextmanager
def _no_longer_than(config: Config | None) -> Iterator[None]:
    """The arbiter does nothing else meanwhile, so it waits no longer than for a worker's boot."""

    def late(*_: object) -> None:
        raise _TooLate

    limit = config.boot_timeout if config else 0
    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, limit)
    try:
        yield
    except _TooLate:
        raise OperatorError(f"The configuration was not read within {limit:g} s.") from None
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _variables(config: Config | None) -> dict[str, str]:
    entries = config.raw_env if config else []
    return {name: value for name, _, value in (entry.partition("=") for entry in entries)}


def _dotenv(path: str, name: str) -> dict[str, str]:
    try:
        read = importlib.import_module("dotenv.main").DotEnv
    except ImportError:
        raise OperatorError("env_file needs the package python-dotenv, which is missing.") from None
    try:
        with open(path, encoding="utf-8") as stream:
            # As uvicorn reads it: also in `${NAME}` the environment is stronger than the file.
            found = read(None, stream, override=False).dict()
    except (OSError, UnicodeDecodeError) as error:
        raise OperatorError(f"env_file: {name!r} cannot be read: {error}.") from None
    return {name: value for name, value in found.items() if value is not None}


def _differ(name: str, old: Config | None, new: Config) -> bool:
    return old is not None and getattr(old, name) != getattr(new, name)
