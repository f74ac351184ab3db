"""Single settings as gunicorn's `config` has them: a class for each, made from the table.

Invariant: what can be said about a setting is in the table alone; here it has gunicorn's form.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Iterable
from functools import cache
from typing import TYPE_CHECKING, Any

from oxicorn._native import ConfigError, check_setting, setting_rows
from oxicorn.config_file import plain

if TYPE_CHECKING:
    from oxicorn.compat.config import Config

__all__ = [
    "KNOWN_SETTINGS",  # noqa: F822
    "Setting",
    "SettingError",
    "fixed",
    "known",
    "make_settings",
]


class SettingError(ConfigError, ValueError):
    """A setting cannot have this value."""


class Setting:
    """One setting and its value."""

    name = ""
    section = ""
    cli: tuple[str, ...] = ()
    meta: str | None = None
    default: Any = None
    short = ""
    desc = ""
    order = 0

    def __init__(self) -> None:
        """It has its default."""
        self._value = copy.copy(self.default)
        self._cfg: Config | None = None
        self._is_fixed = False
        self.said_by: str | None = None
        """Who has set it."""

    def belong_to(self, cfg: Config) -> None:
        """It is one of these settings."""
        self._cfg = cfg

    def get(self) -> Any:
        """The value: what was set, or what the environment says, or the default."""
        if self.said_by is None and self._cfg is not None:
            return getattr(self._cfg._config, self.name)
        return self._value

    value = property(get)

    def set(self, value: Any) -> None:
        """Sets the value, in whatever form a configuration file may have it."""
        if self._is_fixed:
            raise AttributeError(
                f"{self.name} is set in the configuration, or on the command line."
            )
        self._value = _checked(self.name, value)
        self.said_by = self._cfg.changed() if self._cfg is not None else "the program"

    def copy(self) -> Setting:
        """Another one with this value."""
        return copy.copy(self)

    def __lt__(self, other: Setting) -> bool:
        return (self.section, self.order) < (other.section, other.order)

    def __repr__(self) -> str:
        return f"<{type(self).__module__}.{type(self).__name__} object with value {self.get()!r}>"


def fixed(name: str, value: Any) -> Setting:
    """The setting `name` of a server that runs."""
    setting = known()[name]()
    setting._value, setting._is_fixed = value, True
    return setting


def make_settings(ignore: Iterable[str] | None = None) -> dict[str, Setting]:
    """All settings by their names, but some."""
    without = set(ignore or ())
    return {name: kind() for name, kind in known().items() if name not in without}


@cache
def known() -> dict[str, type[Setting]]:
    """The classes of all settings."""
    return {row["name"]: _class_of(order, row) for order, row in enumerate(setting_rows())}


def __getattr__(name: str) -> Any:
    if name == "KNOWN_SETTINGS":
        return list(known().values())
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _class_of(order: int, row: dict[str, Any]) -> type[Setting]:
    name = "".join(word.title() for word in row["name"].split("_"))
    words = ("name", "section", "meta", "default", "short", "desc")
    facts = {word: row[word] for word in words}
    return type(name, (Setting,), {**facts, "order": order, "cli": tuple(row["cli"])})


def _checked(name: str, value: Any) -> Any:
    if name == "chdir" and isinstance(value, str):
        # As of now; whoever enters it may be elsewhere.
        value = os.path.abspath(value)
    try:
        return check_setting(name, plain(name, value))
    except ConfigError as error:
        raise SettingError(str(error)) from None
