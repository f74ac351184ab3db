"""gunicorn and ours with the same files, and what is observed of each in the same situation.

Both go through a scenario at the same time. What they show has to be equal, unless the situation
is on a list of differences: then it has to be just what the list says, so that a difference that
is gone fails as well.
"""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple, TypeVar

from .server import Server, clean_environment
from .wait import PATIENCE

T = TypeVar("T")

PROGRAMS = ("gunicorn", "oxicorn")


class Difference(NamedTuple):
    """What is not the same in a situation, and why."""

    reason: str
    lines: tuple[str, ...]
    """`- ` before what only gunicorn shows, `+ ` before what only ours shows."""


Differences = Mapping[str, Difference]


def differs(reason: str, *lines: str) -> Difference:
    """A difference with these lines."""
    return Difference(reason, lines)


def agree(situation: str, seen: tuple[list[str], list[str]], differences: Differences) -> None:
    """Checks what gunicorn and ours have shown: the same, or exactly what the list says."""
    found = apart(*seen)
    known = differences.get(situation, differs("there is none"))
    text = "\n".join(found)
    assert tuple(found) == known.lines, f"{situation}:\n{text}\non the list: {known.reason}"


def apart(theirs: list[str], ours: list[str]) -> list[str]:
    """The lines that only one of the two has; then whether the others are in another order."""
    only_theirs, only_ours = Counter(theirs) - Counter(ours), Counter(ours) - Counter(theirs)
    shared = [
        [line for line in side if line not in only]
        for side, only in ((theirs, only_theirs), (ours, only_ours))
    ]
    order = [] if shared[0] == shared[1] else ["~ in another order"]
    return [
        *(f"- {line}" for line in only_theirs.elements()),
        *(f"+ {line}" for line in only_ours.elements()),
        *order,
    ]


@dataclass(frozen=True)
class Ended:
    """A command that has ended."""

    code: int
    out: str
    err: str


class Side:
    """One of the two, with a folder of its own, in which it starts."""

    def __init__(self, folder: Path, program: str) -> None:
        self.folder = folder / program
        self.folder.mkdir(parents=True, exist_ok=True)
        self.program = program
        self._short = TemporaryDirectory(prefix="oxi-")
        self.short = Path(self._short.name)
        """Where sockets are, whose paths have to be short."""
        self._made: list[Server] = []

    @property
    def is_ours(self) -> bool:
        """Whether this is not gunicorn."""
        return self.program == "oxicorn"

    def write(self, **files: str) -> Side:
        """Writes files of Python, such as `site` for site.py; `conf` is the configuration."""
        for name, text in files.items():
            name = "gunicorn.conf" if name == "conf" else name
            (self.folder / f"{name}.py").write_text(text)
        return self

    def launch(
        self,
        *options: str,
        app: str | None = "site_app:app",
        bind: str | None = "127.0.0.1:0",
        env: dict[str, str] | None = None,
        **how: Any,
    ) -> Server:
        """Starts a server, which ends with the scenario."""
        place = self.folder / f"server-{len(self._made)}"
        server = Server(place, app or "", options, bind=bind, env=env, cwd=self.folder, **how)
        server.command[1:3] = ["-m", self.program]
        if app is None:
            server.command.pop()
        self._made.append(server)
        return server.launch()

    def serve(self, *options: str, **how: Any) -> Server:
        """Starts a server and waits until a worker of it has answered."""
        server = self.launch(*options, **how).wait_accepting()
        server.request("/")
        return server

    def run(
        self, *words: str, env: dict[str, str] | None = None, seconds: float = PATIENCE
    ) -> Ended:
        """Runs the command to its end."""
        done = subprocess.run(
            [sys.executable, "-m", self.program, *words],
            cwd=self.folder,
            env={**clean_environment(), "XDG_RUNTIME_DIR": str(self.folder), **(env or {})},
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
        return Ended(done.returncode, done.stdout, done.stderr)

    def destroy(self) -> None:
        """Ends whatever still runs."""
        for server in self._made:
            server.destroy()
        self._short.cleanup()


class Pair:
    """Both sides."""

    def __init__(self, folder: Path, **files: str) -> None:
        self.sides = [Side(folder, program).write(**files) for program in PROGRAMS]

    def both(self, scenario: Callable[[Side], T]) -> tuple[T, T]:
        """Goes through the scenario with both at once; what gunicorn shows, and what ours does."""
        with ThreadPoolExecutor(len(self.sides)) as pool:
            theirs, ours = pool.map(scenario, self.sides)
        return theirs, ours

    def destroy(self) -> None:
        """Ends whatever still runs."""
        for side in self.sides:
            side.destroy()


@contextmanager
def pair(folder: Path, **files: str) -> Iterator[Pair]:
    """Both, as long as the block."""
    made = Pair(folder, **files)
    try:
        yield made
    finally:
        made.destroy()
