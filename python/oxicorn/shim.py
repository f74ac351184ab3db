"""The package `gunicorn` for those who import it where it is not installed (`gunicorn_shim`).

It lies in a folder that is on the import path only where somebody asked for it. Its modules have
the names and the classes of gunicorn's, as far as they are here (`oxicorn.compat`).

Invariant: who did not ask for it never imports it, and `missing` never hides an installed gunicorn.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Iterable

from oxicorn.compat import SERVER_SOFTWARE
from oxicorn.errors import OperatorError

__all__ = ["FOLDER", "announce", "install"]

FOLDER = os.path.join(os.path.dirname(os.path.realpath(__file__)), "compat", "shim")
"""What has to be on the import path, also of other processes (`PYTHONPATH`)."""


def install(when: str | None = "missing") -> None:
    """Makes `gunicorn` importable: behind an installed one, or, with `always`, before it."""
    match when:
        case "missing":
            if FOLDER not in sys.path:
                sys.path.append(FOLDER)
        case "always":
            _put_first()
        case _:
            return


def announce(variables: Iterable[str]) -> None:
    """Says in the environment that gunicorn serves, if this package is what `gunicorn` names.

    Libraries look there. What the person says (`variables`: `NAME=VALUE`) counts more.
    """
    if FOLDER not in sys.path:
        return
    spec = importlib.util.find_spec("gunicorn")
    is_ours = spec is not None and _is_below(spec.origin)
    if is_ours and not any(entry.startswith("SERVER_SOFTWARE=") for entry in variables):
        os.environ["SERVER_SOFTWARE"] = SERVER_SOFTWARE


def _put_first() -> None:
    known = sys.modules.get("gunicorn")
    if known is not None and not _is_below(known.__file__):
        raise OperatorError("gunicorn_shim = 'always': gunicorn itself is imported already.")
    if FOLDER in sys.path:
        sys.path.remove(FOLDER)
    sys.path.insert(0, FOLDER)


def _is_below(file: str | None) -> bool:
    return file is not None and os.path.realpath(file).startswith(FOLDER + os.sep)
