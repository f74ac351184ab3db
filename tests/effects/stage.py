"""Servers that show what settings do: each has a configuration of its own, says in its application
what it is, and is started once, when the first of its settings is looked at.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from harness.server import PROGRAM, Server

__all__ = ["OF", "Act", "Stage", "act", "shows"]

SITE = Path(__file__).with_name("site_app.py")

Act = Callable[["Stage", Path], Server]

ACTS: dict[str, Act] = {}
OF: dict[str, Callable[[Stage], None]] = {}
"""What shows that a setting does what it says."""


class Stage:
    """All servers of a run."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.chmod(0o711)
        self._short = TemporaryDirectory(prefix="oxi-")
        self.short = Path(self._short.name)
        """Where sockets are, whose paths have to be short."""
        self._servers: dict[str, Server] = {}
        self._failed: dict[str, str] = {}
        self._made: list[Server] = []
        self._shown: set[Callable[[Stage], None]] = set()

    def server(self, name: str) -> Server:
        """The server of this act, which is started if it has not been."""
        assert name not in self._failed, f"{name} has failed before: {self._failed[name]}"
        if name not in self._servers:
            try:
                self._servers[name] = ACTS[name](self, self.folder(name))
            except AssertionError as error:
                self._failed[name] = str(error)
                raise
        return self._servers[name]

    def folder(self, name: str) -> Path:
        """Where its files are."""
        folder = self._folder / name
        folder.mkdir(exist_ok=True)
        (folder / "site_app.py").write_text(SITE.read_text())
        return folder

    def launch(
        self,
        folder: Path,
        config: str,
        *options: str,
        log: str | None = None,
        app: str | None = None,
    ) -> Server:
        """Starts a server with a configuration file, which says where it listens."""
        (folder / "gunicorn.conf.py").write_text(config)
        place = folder / f"server-{len(self._made)}"
        server = Server(place, app or "", options, bind=None, cwd=folder)
        if app is None:
            server.command.pop()
        if PROGRAM == "gunicorn":
            # The worker class is the configuration's to say.
            server.command = [word for word in server.command if word not in ("-k", "gthread")]
        self._made.append(server)
        server.launch()
        if log is not None:
            (folder / log).touch()
            server.path = folder / log
        return server

    def show(self, name: str) -> None:
        """Fails unless this setting does what it says; what shows several is looked at once."""
        if OF[name] not in self._shown:
            OF[name](self)
            self._shown.add(OF[name])

    def destroy(self) -> None:
        """Ends all that still run."""
        for server in self._made:
            server.destroy()
        self._short.cleanup()


def act(name: str) -> Callable[[Act], Act]:
    """Declares how a server is started."""

    def declare(function: Act) -> Act:
        ACTS[name] = function
        return function

    return declare


def shows(*names: str) -> Callable[[Callable[[Stage], None]], Callable[[Stage], None]]:
    """Declares that a function fails if one of these settings does nothing."""

    def declare(function: Callable[[Stage], None]) -> Callable[[Stage], None]:
        for name in names:
            assert name not in OF, f"{name} is shown twice"
            OF[name] = function
        return function

    return declare
