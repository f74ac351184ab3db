"""What the arbiter says once its sockets are bound: what runs, where, and with what.

A person at a terminal gets a few aligned lines, in colour unless `NO_COLOR` is set (no-color.org)
or `color` says otherwise. Log files get log lines only. The lines "Starting", "Using worker" and
the arbiter's "Listening at" are gunicorn's: tools search for them. Which worker is used is decided
by the application, unless `interface` is `wsgi`: then the first worker says it.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TextIO

from oxicorn import __version__
from oxicorn._native import Config
from oxicorn.boot import interface

__all__ = ["Facts", "log_lines", "show"]


@dataclass(frozen=True)
class Facts:
    """What there is to tell."""

    application: str
    urls: Sequence[str]
    workers: int
    threads: int
    worker_class: str | None
    """None where the application decides it: the first worker says so when it has loaded it."""
    pid: int
    color: str = "auto"

    @classmethod
    def of(cls, config: Config, application: str, urls: Sequence[str]) -> Facts:
        """The facts of this process, the arbiter."""
        decided = config.worker_class if interface(config) == "wsgi" else None
        processes = (config.workers, config.threads, decided)
        return cls(application, urls, *processes, os.getpid(), config.color)


def log_lines(facts: Facts) -> list[str]:
    """The facts for the error log, one a line; where it listens is said by the arbiter."""
    lines = [f"Starting oxicorn {__version__}"]
    if facts.worker_class is not None:
        lines.append(f"Using worker: {facts.worker_class}")
    return lines


def show(facts: Facts, stream: TextIO, environ: Mapping[str, str]) -> None:
    """Writes the banner if `stream` is a terminal."""
    if not stream.isatty():
        return
    stream.write(banner(facts, _painter(environ, facts.color)))
    stream.flush()


Paint = Callable[[str, str], str]
"""(text, style) to text with the terminal's codes around it."""

_STYLES = {"title": "1", "faint": "2", "url": "1;36"}


def _painter(environ: Mapping[str, str], color: str) -> Paint:
    plain = bool(environ.get("NO_COLOR")) or environ.get("TERM") == "dumb"
    if color == "never" or (color == "auto" and plain):
        return lambda text, style: text
    return lambda text, style: f"\x1b[{_STYLES[style]}m{text}\x1b[0m"


def banner(facts: Facts, paint: Paint) -> str:
    """The banner's text."""
    urls = [f"  {paint('->', 'faint')} {paint(url, 'url')}" for url in facts.urls]
    rows = [
        ("application", facts.application),
        ("python", f"{platform.python_version()} ({platform.python_implementation()})"),
        ("workers", _workers(facts)),
        ("pid", f"{facts.pid}, Ctrl-C to stop"),
    ]
    lines = [f"  {paint(f'{name:<11}', 'faint')} {value}" for name, value in rows]
    title = f"  {paint('Oxicorn', 'title')} {paint(__version__, 'faint')}"
    return "\n".join(["", title, "", *urls, "", *lines, "", ""])


def _workers(facts: Facts) -> str:
    threads = "1 thread" if facts.threads == 1 else f"{facts.threads} threads"
    kind = f" ({facts.worker_class})" if facts.worker_class else ""
    return f"{facts.workers} x {threads}{kind}"
