"""gunicorn's exceptions."""

from __future__ import annotations

from oxicorn._native import ConfigError
from oxicorn.errors import ApplicationError

__all__ = ["AppImportError", "ConfigError", "HaltServer"]


class HaltServer(BaseException):
    """The server is to end with this exit code."""

    def __init__(self, reason: str, exit_status: int = 1) -> None:
        """For this reason."""
        self.reason = reason
        self.exit_status = exit_status

    def __str__(self) -> str:
        return f"<HaltServer {self.reason!r} {self.exit_status}>"


class AppImportError(ApplicationError):
    """The application cannot be loaded: a worker exits with code 4."""
