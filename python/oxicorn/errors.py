"""What can go wrong before a request is served, as the person who starts the server sees it.

A message here says everything: it is shown alone, without a traceback of this package. Where code
of the user raised, that code's own traceback is part of the message (`traceback_of`).
"""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from collections.abc import Sequence
from types import TracebackType

__all__ = [
    "ApplicationError",
    "ApplicationRaised",
    "HookRaised",
    "ModuleMissing",
    "OperatorError",
    "StartupFailed",
    "traceback_of",
    "user_frames",
]

_OURS = os.path.dirname(os.path.abspath(__file__)) + os.sep


class OperatorError(Exception):
    """A setting, a file or the environment is wrong: the server does not start (exit code 1)."""


class ApplicationError(Exception):
    """The specification names no WSGI application: a worker exits with code 4."""

    exit_code = 4
    files: Sequence[str] = ()
    """Source files whose change, or whose coming, may mend the error."""

    @property
    def reason(self) -> str:
        """The message in one line."""
        return str(self).partition("\n")[0]


class ModuleMissing(ApplicationError):
    """The module of the specification does not exist: exit code 3, as with gunicorn."""

    exit_code = 3


class ApplicationRaised(ApplicationError):
    """Code of the application raised while it was imported or made: exit code 3."""

    exit_code = 3

    def __init__(self, what: str, error: BaseException) -> None:
        """`what` failed with `error`, whose traceback becomes part of the message."""
        super().__init__(f"{what}\n{traceback_of(error)}")
        self._reason = traceback.format_exception_only(error)[-1].strip()
        self.files = _files_of(error)

    @property
    def reason(self) -> str:
        """What was raised, without the way there."""
        return self._reason


class StartupFailed(ApplicationError):
    """The application's start-up (lifespan) failed: exit code 3, as with gunicorn."""

    exit_code = 3


def traceback_of(error: BaseException) -> str:
    """The traceback as its author wants it: from the first line of code that is not ours."""
    frames = user_frames(error)
    return "".join(traceback.format_exception(type(error), error, frames)).rstrip()


def user_frames(error: BaseException) -> TracebackType | None:
    """The part of the traceback below this package and the import system; None if there is none."""
    frames = error.__traceback__
    while frames is not None and _is_machinery(frames.tb_frame.f_code.co_filename):
        frames = frames.tb_next
    return frames


def _is_machinery(file: str) -> bool:
    return file.startswith(("<frozen importlib", _OURS)) or file == importlib.__file__


def _files_of(error: BaseException) -> list[str]:
    """The files that took part in the failure; a file with a syntax error never gets a frame."""
    frames = traceback.walk_tb(user_frames(error))
    files = [frame.f_code.co_filename for frame, _ in frames]
    if isinstance(error, SyntaxError) and error.filename:
        files.append(error.filename)
    return [*files, *_missing_files(error)]


def _missing_files(error: BaseException | None) -> list[str]:
    """The files that a missing module could be in; also if its error led to another."""
    if error is None:
        return []
    files = _files_of_module(error.name) if isinstance(error, ModuleNotFoundError) else []
    return files or _missing_files(error.__cause__ or error.__context__)


def _files_of_module(name: str | None) -> list[str]:
    parent, _, last = (name or "").rpartition(".")
    places = getattr(sys.modules.get(parent), "__path__", ()) if parent else sys.path
    found = [
        os.path.join(os.path.abspath(place), last)
        for place in places
        if os.path.isdir(place or ".")
    ]
    return [file for path in found for file in (f"{path}.py", os.path.join(path, "__init__.py"))]


class HookRaised(Exception):
    """A hook of a worker's boot raised: exit code 3, as with gunicorn."""

    def __init__(self, name: str, error: Exception) -> None:
        """The hook `name` failed with `error`."""
        super().__init__(f"Exception in {name} hook\n{traceback_of(error)}")
        self.reason = f"{name} raised {type(error).__name__}: {error}"
