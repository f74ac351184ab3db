"""The configuration as gunicorn's hooks see it: `server.cfg`, `worker.cfg`.

Every setting is an attribute by its name. Where gunicorn's has another form than ours (users are
numbers there, names here), it is gunicorn's.
"""

from __future__ import annotations

import grp
import os
import pwd
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from oxicorn import _native
from oxicorn.boot import interface
from oxicorn.hooks import ARGUMENTS, Hooks

__all__ = ["Cfg", "Setting"]


@dataclass(frozen=True)
class Setting:
    """One setting, as `cfg.settings` has them."""

    name: str
    value: Any

    def get(self) -> Any:
        """The value."""
        return self.value


class Cfg:
    """The settings in force."""

    def __init__(self, config: _native.Config) -> None:
        """`config` is what this is a view of."""
        self._config = config
        self._names = frozenset(config.names())
        self._hooks: Hooks | None = None

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name not in self._names:
            raise AttributeError(f"No configuration setting for: {name}", name=name, obj=self)
        return self._hook(name) if name in ARGUMENTS else getattr(self._config, name)

    def __setattr__(self, name: str, value: object) -> None:
        if not name.startswith("_") and name in self._names:
            raise AttributeError(f"{name} is set in the configuration, or on the command line.")
        super().__setattr__(name, value)

    def set(self, name: str, value: object) -> None:
        """There is no changing a server that runs: raises."""
        setattr(self, name, value)

    @property
    def settings(self) -> Mapping[str, Setting]:
        """Every setting by its name."""
        return {name: Setting(name, getattr(self, name)) for name in sorted(self._names)}

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
