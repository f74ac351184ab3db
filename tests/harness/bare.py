"""An interpreter with all that is installed here but gunicorn, for programs that only name it."""

from __future__ import annotations

import importlib.util
import os
import site
import sys
from pathlib import Path


class Bare:
    """`words` start the interpreter; `env` tells it where its packages are."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        for place in site.getsitepackages():
            for found in Path(place).iterdir():
                if not found.name.startswith(("gunicorn", "__pycache__")):
                    (folder / found.name).symlink_to(found)
        self.words = (sys.executable, "-S")
        # Where it is not installed, but lies beside the tests.
        home = _home_of("oxicorn")
        others = [] if home in site.getsitepackages() else [home]
        self.env = {"PYTHONPATH": os.pathsep.join([str(folder), *others])}


def _home_of(package: str) -> str:
    found = importlib.util.find_spec(package)
    assert found is not None
    assert found.origin is not None
    return str(Path(found.origin).parent.parent)
