"""A uvicorn beside ours, to compare what an application and its clients see."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

from .client import Connection
from .server import TESTS
from .wait import until


class Uvicorn:
    """A uvicorn that serves an application of the tests."""

    def __init__(self, folder: Path, app: str, *options: str):
        self._log = folder / "uvicorn.log"
        command = [sys.executable, "-m", "uvicorn", "--port", "0", "--loop", "asyncio"]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [*command, *options, app],
                cwd=TESTS,
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
            )

    @property
    def port(self) -> int:
        """Where it listens."""
        pattern = r"running on http://127\.0\.0\.1:(\d+)"
        found = until(lambda: re.search(pattern, self._log.read_text()), "uvicorn serves")
        assert found is not None
        return int(found.group(1))

    def connect(self) -> Connection:
        """A connection to it."""
        return Connection(("127.0.0.1", self.port))

    def stop(self) -> None:
        """Ends it."""
        os.kill(self._process.pid, signal.SIGTERM)
        self._process.wait(30)
