"""The configuration as gunicorn has it: for hooks, and for programs that embed the server.

Hooks see that of a server that runs (`server.cfg`, `worker.cfg`: `Cfg`); a program makes one that
it can change until it runs (`Config`).

Every setting is an attribute by its name. Where gunicorn's has another form than ours (users are
numbers there, names here), it is gunicorn's.
"""

from __future__ import annotations

import grp
import os
import pwd
import shlex
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from oxicorn import _native
from oxicorn.boot import interface
from oxicorn.compat import settings
from oxicorn.compat.settings import Setting, fixed, known, make_settings
from oxicorn.config_file import Layer
from oxicorn.hooks import ARGUMENTS, Hooks
from oxicorn.paste_file import global_values

if TYPE_CHECKING:
    import argparse

__all__ = [
    "KNOWN_SETTINGS",  # noqa: F822
    "Cfg",
    "Config",
    "Setting",
    "get_default_config_file",
    "make_settings",
]


def __getattr__(name: str) -> Any:
    return getattr(settings, name)


class Cfg:
    """The settings in force."""

    def __init__(self, config: _native.Config) -> None:
        """`config` is what this is a view of."""
        self._given = config
        self._names = frozenset(config.names())
        self._hooks: Hooks | None = None

    @property
    def _config(self) -> _native.Config:
        return self._given

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name not in self._names:
            raise AttributeError(f"No configuration setting for: {name}", name=name, obj=self)
        return self._hook(name) if name in ARGUMENTS else getattr(self._config, name)

    def __setattr__(self, name: str, value: object) -> None:
        if not name.startswith("_") and name in self._names:
            raise AttributeError(f"{name} is set in the configuration, or on the command line.")
        super().__setattr__(name, value)

    def set(self, name: str, value: Any) -> None:
        """There is no changing a server that runs: raises."""
        setattr(self, name, value)

    @property
    def settings(self) -> Mapping[str, Setting]:
        """Every setting by its name."""
        return {name: fixed(name, getattr(self, name)) for name in sorted(self._names)}

    @property
    def address(self) -> list[tuple[str, int] | str | int]:
        """Where the server listens: host and port, a path, or the number of a descriptor."""
        return [_address(bind) for bind in self._config.bind]

    @property
    def env(self) -> dict[str, str]:
        """The variables of `raw_env`."""
        return {
            name: value
            for name, _, value in (entry.partition("=") for entry in self._config.raw_env)
        }

    @property
    def uid(self) -> int:
        """The user that workers run as."""
        name = self._config.user
        if name is None:
            return os.geteuid()
        return int(name) if str(name).isdigit() else pwd.getpwnam(str(name)).pw_uid

    @property
    def gid(self) -> int:
        """The group that workers run as."""
        name = self._config.group
        if name is None:
            return os.getegid()
        return int(name) if str(name).isdigit() else grp.getgrnam(str(name)).gr_gid

    user = uid
    group = gid

    @property
    def statsd_host(self) -> tuple[str, int] | str | None:
        """Where metrics go: host and port, or a path."""
        given = self._config.statsd_host
        if not given:
            return None
        path = given.removeprefix("unix:")
        if path != given and not path.isdigit():
            return path.removeprefix("//")
        host, port = _host_and_port(given, 8125)
        return host or "0.0.0.0", port

    @property
    def logger_class(self) -> Any:
        """The class that logs; of the native log, the one in whose place it is."""
        from oxicorn.compat.loggers import find_class

        return find_class(self._config)

    @property
    def chdir(self) -> str:
        """The directory to run in."""
        return self._config.chdir or os.getcwd()

    @property
    def proc_name(self) -> str:
        """The name for process titles."""
        return self._config.proc_name or self._config.default_proc_name

    @property
    def worker_class_str(self) -> str:
        """What kind of worker runs."""
        kind = interface(self._config)
        return "asgi" if kind.startswith("asgi") else self._config.worker_class

    @property
    def is_ssl(self) -> str | None:
        """Whether TLS ends here."""
        return self._config.certfile or self._config.keyfile

    def _hook(self, name: str) -> Any:
        if self._hooks is None:
            self._hooks = Hooks(self._config)
        return self._hooks.get(name) or _nothing


class Config(Cfg):
    """The settings of a program that embeds the server, until it runs: `cfg.set(name, value)`.

    What nobody has set is what the environment says, or the default.
    """

    def __init__(self, usage: str | None = None, prog: str | None = None) -> None:
        """`usage` and `prog` are for messages about the command line, if that is read."""
        self._names = frozenset(known())
        self.usage = usage
        self.prog = prog or os.path.basename(sys.argv[0])
        self.env_orig = dict(os.environ)
        self._hooks = None
        self._resolved: _native.Config | None = None
        self._label = "the program"
        self._strangers: dict[str, dict[str, object]] = {}
        self._settings = make_settings()
        for one in self._settings.values():
            one.belong_to(self)

    @property
    def settings(self) -> dict[str, Setting]:
        """Every setting by its name."""
        return self._settings

    def set(self, name: str, value: Any) -> None:
        """Sets a setting; an error says what is wrong with the value."""
        if name not in self._settings:
            raise AttributeError(f"No configuration setting for: {name}")
        self._settings[name].set(value)

    @contextmanager
    def said_by(self, label: str) -> Iterator[None]:
        """Messages about what is set meanwhile say that this has set it."""
        before, self._label = self._label, label
        try:
            yield
        finally:
            self._label = before

    def add_file(self, layer: Layer) -> None:
        """Sets what a configuration file says; names that are no settings are told of later."""
        label, values, _ = layer
        with self.said_by(label):
            for name, value in values.items():
                if name in self._settings:
                    self.set(name, value)
                else:
                    self._strangers.setdefault(label, {})[name] = value

    def changed(self) -> str:
        """What was known of all settings together is so no more; says who changes it."""
        self._resolved, self._hooks = None, None
        return self._label

    def layers(self) -> list[Layer]:
        """All that was set, by who has set it."""
        said = {label: dict(values) for label, values in self._strangers.items()}
        for name, one in self._settings.items():
            if one.said_by is not None:
                said.setdefault(one.said_by, {})[name] = one.get()
        return [(label, values, True) for label, values in said.items()]

    def validate(self) -> None:
        """Checks what follows from several settings together."""
        self._resolved = self._resolve()

    def get_cmd_args_from_env(self) -> list[str]:
        """The words of `GUNICORN_CMD_ARGS`."""
        return shlex.split(self.env_orig.get("GUNICORN_CMD_ARGS", ""))

    def parser(self) -> argparse.ArgumentParser:
        """For a command line: every setting's flags, and `args` for the rest."""
        # The arbiter, which needs none, does not pay for argparse.
        from oxicorn.compat.parser import parser

        return parser(self.usage, self.prog)

    @property
    def paste_global_conf(self) -> dict[str, str]:
        """The global values of `raw_paste_global_conf`."""
        return global_values(self._config.raw_paste_global_conf)

    @property
    def _config(self) -> _native.Config:
        if self._resolved is None:
            self._resolved = self._resolve()
        return self._resolved

    def _resolve(self) -> _native.Config:
        pieces = ("GUNICORN_CMD_ARGS", "OXICORN_CMD_ARGS")
        environ = {name: value for name, value in self.env_orig.items() if name not in pieces}
        return _native.CommandLine([], environ).resolve(self.layers())

    def __str__(self) -> str:
        return self._config.report()


def get_default_config_file() -> str | None:
    """The path of the configuration file that is read if none is named."""
    found = _native.CommandLine([], {}).config_file
    return None if found is None else os.path.abspath(found[0])


def _nothing(*_: object) -> None:
    """A hook that is not set."""


def _address(bind: str) -> tuple[str, int] | str | int:
    """As gunicorn's `parse_address`, of what is known to be an address."""
    kind, _, rest = bind.partition("://")
    if bind.startswith("unix:"):
        return bind.removeprefix("unix:").removeprefix("//")
    if kind == "fd":
        return int(rest)
    host, port = _host_and_port(rest if kind == "tcp" else bind, 8000)
    return host or "0.0.0.0", port


def _host_and_port(place: str, default: int) -> tuple[str, int]:
    if place.startswith("["):
        host, _, port = place[1:].partition("]")
        return host.lower(), int(port.removeprefix(":") or default)
    host, _, port = place.partition(":")
    return host.lower(), int(port or default)
