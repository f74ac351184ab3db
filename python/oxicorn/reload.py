"""`--reload`: sees that source files change, and shows why an application could not be loaded.

The kernel says when to look (inotify), or it is looked at every so often, where files may change
unnoticed. What counts is what is seen then. A worker that sees a change ends gracefully; the
arbiter's next worker imports the new code.

Not for production: the failure page shows source lines to whoever asks.
"""

from __future__ import annotations

import glob
import html
import os
import select
import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from importlib.machinery import SourceFileLoader
from pathlib import PurePath
from typing import Any

from oxicorn._native import FileWatch, log
from oxicorn.app import Application

__all__ = ["Reloader", "failure_page"]

_Stamp = tuple[int, int]
_AWAY: _Stamp = (-1, -1)
"""Of a file that is waited for."""


class Reloader:
    """Watches the files of all loaded modules and `extra_files` (paths and glob patterns).

    Not those that are `excluded`: by a path, by a directory that they are in, or by a pattern for
    the end of their path.
    """

    def __init__(
        self,
        extra_files: Sequence[str],
        changed: Callable[[str], None],
        interval: float = 1.0,
        excluded: Sequence[str] = (),
        engine: str = "poll",
    ) -> None:
        self._extra = list(extra_files)
        self._changed = changed
        self._interval = interval
        self._excluded = [(one, os.path.abspath(one)) for one in excluded if one]
        self._seen: dict[str, _Stamp] = {}
        self._ears = None if engine == "poll" else _Ears.open(interval, forced=engine == "inotify")

    def start(self) -> None:
        """Remembers the files as they are now, and watches from a thread of its own."""
        self.remember()
        self._remember_imports()
        threading.Thread(target=self._watch, name="oxicorn-reloader", daemon=True).start()

    def remember(self, files: Iterable[str] = ()) -> None:
        """Watches `files` too, and remembers what is not yet known as it is now.

        That one of `files` comes which is away now, is a change.
        """
        files = list(files)
        self._extra.extend(files)
        self.first_change()
        for file in files:
            self._seen.setdefault(file, _AWAY)

    def _remember_imports(self) -> None:
        """Remembers each source file as it is just before it is imported.

        A file that is saved while a slow import is still running is a change then. The import
        system asks for the file's state before it reads it, and so is listened to here.
        """
        original = SourceFileLoader.path_stats
        seen = self._seen

        def path_stats(loader: SourceFileLoader, path: str) -> Any:
            stamp = _stamp(path)
            if stamp is not None:
                seen.setdefault(path, stamp)
                if self._ears is not None:
                    self._ears.follow([path])
            return original(loader, path)

        SourceFileLoader.path_stats = path_stats  # type: ignore[method-assign, assignment]

    def first_change(self) -> str | None:
        """A file that differs from when it was first seen; None if all are as they were.

        A file that is away is not a change: it is being replaced, and comes back different.
        """
        # What an import has looked at counts also if it failed, and nothing is left of the module.
        for path in (*self._seen, *self._files()):
            if self._excluded and self._is_excluded(path):
                continue
            stamp = _stamp(path)
            if stamp is not None and self._seen.setdefault(path, stamp) != stamp:
                return path
        return None

    def _watch(self) -> None:
        while (path := self.first_change()) is None:
            if self._ears is None:
                time.sleep(self._interval)
            else:
                self._ears.follow([*self._seen, *self._files()])
                self._ears.follow_all_in(_directories(self._extra))
                self._ears.wait()
        self._changed(path)

    def _files(self) -> Iterable[str]:
        yield from _module_files()
        for entry in tuple(self._extra):
            if glob.has_magic(entry):
                yield from glob.iglob(entry, recursive=True)
            else:
                yield entry

    def _is_excluded(self, path: str) -> bool:
        path = os.path.abspath(path)
        return any(
            path == place or path.startswith(place + os.sep) or PurePath(path).match(pattern)
            for pattern, place in self._excluded
        )


class _Ears:
    """Hears from the kernel when it is worth looking; where it may not hear, waits not too long.

    Whoever follows a file has seen it before, and will look once more.
    """

    @classmethod
    def open(cls, interval: float, forced: bool) -> _Ears | None:
        """None if the kernel has no watch to give.

        `forced`: where file systems do not tell of every change, nobody looks either.
        """
        try:
            return cls(FileWatch(), interval, forced)
        except OSError as error:
            reason = f"{error.strerror} (fs.inotify.max_user_instances?)"
            _say_that_it_is_looked(reason, interval)
            return None

    def __init__(self, watch: FileWatch, interval: float, forced: bool) -> None:
        self._watch, self._forced = watch, forced
        self._interval = interval
        self._known: set[str] = set()
        self._directories: set[str] = set()
        self._deaf = False
        self._full = False
        """There are no more watches for this user."""

    def follow(self, files: Iterable[str]) -> None:
        new = {os.path.abspath(file) for file in files} - self._known
        self._known |= new
        self._listen(self._watch.follow(sorted(new)))

    def follow_all_in(self, directories: Iterable[str]) -> None:
        new = set(directories) - self._directories
        self._directories |= new
        self._listen(self._watch.follow_all_in(sorted(new)))

    def _listen(self, hears: bool) -> None:
        if not hears and not self._deaf:
            self._deaf = True
            log("debug", "inotify does not tell of all files")
        if not self._full and self._watch.is_full():
            self._full = True
            _say_that_it_is_looked("fs.inotify.max_user_watches is reached", self._interval)

    def wait(self) -> None:
        """Until it is worth looking."""
        # As it is now: gevent has patched it.
        poll = select.poll()
        poll.register(self._watch.fileno(), select.POLLIN)
        looks = self._full or (self._deaf and not self._forced)
        patience = max(1, round(self._interval * 1000)) if looks else None
        while poll.poll(patience) and not self._watch.is_due():
            pass


def _say_that_it_is_looked(reason: str, interval: float) -> None:
    log(
        "warning",
        f"reload: inotify cannot tell of every change: {reason}; "
        f"the files are looked at every {interval:g} s (reload_delay)",
    )


def _directories(entries: Iterable[str]) -> Iterable[str]:
    """Those in which files can appear that a pattern finds."""
    for pattern in filter(glob.has_magic, entries):
        steady, deep = _steady(pattern), "**" in pattern
        yield steady
        found = (folder for folder, _, _ in os.walk(steady)) if deep else _parents(pattern)
        yield from (os.path.abspath(folder) for folder in found)


def _parents(pattern: str) -> Iterable[str]:
    """The directories of a pattern without `**`."""
    parts = PurePath(os.path.abspath(pattern)).parents
    return (found for part in parts for found in glob.iglob(str(part)) if glob.has_magic(str(part)))


def _steady(pattern: str) -> str:
    """The deepest directory that exists above everything in the pattern that is not literal."""
    path = PurePath(os.path.abspath(pattern))
    for parent in path.parents:
        if not glob.has_magic(str(parent)) and os.path.isdir(parent):
            return str(parent)
    return path.anchor


def _module_files() -> Iterable[str]:
    for module in tuple(sys.modules.values()):
        try:
            file = getattr(module, "__file__", None)
        except Exception:
            # One that loads itself when it is asked, and cannot.
            continue
        if isinstance(file, str):
            yield file[:-1] if file.endswith(".pyc") else file


def _stamp(path: str) -> _Stamp | None:
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        # A path with a NUL character is one that cannot exist.
        return None
    return status.st_mtime_ns, status.st_size


def failure_page(message: str) -> Application:
    """A WSGI application that answers everything with 500 and `message`, as text or HTML."""

    def application(environ: dict[str, Any], start_response: Callable[..., object]) -> list[bytes]:
        as_html = "text/html" in environ.get("HTTP_ACCEPT", "")
        kind = "text/html" if as_html else "text/plain"
        body = (_PAGE.format(html.escape(message)) if as_html else message + "\n").encode(
            "utf-8", "backslashreplace"
        )
        headers = [
            ("Content-Type", f"{kind}; charset=utf-8"),
            ("Content-Length", str(len(body))),
            ("Cache-Control", "no-store"),
        ]
        start_response("500 Internal Server Error", headers)
        return [body]

    return application


_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>The application could not be loaded</title>
<style>
body {{ margin: 3rem auto; max-width: 60rem; padding: 0 1rem; font: 1rem/1.5 system-ui }}
pre {{ padding: 1rem; overflow-x: auto; border-left: 4px solid #c0392b; background: #8881 }}
:root {{ color-scheme: light dark }}
</style>
<h1>The application could not be loaded</h1>
<pre>{}</pre>
<p>Oxicorn reloads as soon as a file is saved.</p>
</html>
"""
