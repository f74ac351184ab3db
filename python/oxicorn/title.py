"""The process title, as `ps` shows it: `oxicorn: worker [name]`.

Changed only if the package `setproctitle` is installed; nothing depends on it.
"""

from __future__ import annotations

from importlib import import_module

from oxicorn._native import Config

__all__ = ["set_title"]


def set_title(role: str, config: Config, suffix: str = "") -> None:
    """Names this process by its role and `proc_name`, or else by its application.

    `suffix`: what tells the process from another one of that name.
    """
    try:
        setproctitle = import_module("setproctitle").setproctitle
    except ImportError:
        return
    name = config.proc_name or config.default_proc_name
    setproctitle(f"oxicorn: {role} [{name}{suffix}]")
