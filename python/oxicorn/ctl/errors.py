"""How a command can fail: what is said, and with which code the program ends."""

from __future__ import annotations

__all__ = ["INTERRUPTED", "LOST", "REFUSED", "UNDER_WAY", "UNREACHABLE", "Failure"]

REFUSED, UNREACHABLE, LOST, UNDER_WAY, INTERRUPTED = 1, 3, 4, 5, 130


class Failure(Exception):
    """The message says why, and what to do."""

    def __init__(self, message: str, code: int = REFUSED) -> None:
        """The program ends with `code`."""
        super().__init__(message)
        self.code = code

    def __str__(self) -> str:
        return f"oxicornctl: {super().__str__()}"
