"""The process title, as `ps` shows it: `oxicorn: worker [name]`.

Changed only if the package `setproctitle` is installed; nothing depends on it.
"""

from __future__ import annotations

from importlib import import_module

from oxicorn._native import Config

__all__ = ["set_title"]


def set_title(role: str, config: Config) -> None:
    """Names this process by its role and `proc_name`, or else by its application."""
    try:
        setproctitle = import_module("setproctitle").setproctitle
    except ImportError:
        return
    setproctitle(f"oxicorn: {role} [{config.proc_name or config.default_proc_name}]")
