"""A share of one processor for a server with all its processes: a control group with a quota.

At the top the client is slower than the server, which then waits for single requests instead of
finding many: what is measured is how the two happen to meet. With a quota the server is always the
one that is waited for, and two rounds differ by a few per cent instead of twenty. Needs root.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

PERIOD_US = 10_000
JOIN = 'echo $$ >"$0" && exec "$@"'
"""Enters the group before it becomes the server, so that no process of it stays outside."""


@dataclass(frozen=True)
class Quota:
    """What the servers of a run get of their processor."""

    percent: int
    """0: all of it."""
    group: Path | None = None

    def command(self, command: list[str]) -> list[str]:
        """The same command inside the group."""
        if self.group is None:
            return command
        return ["sh", "-c", JOIN, str(self.group / "cgroup.procs"), *command]


@contextmanager
def limited(percent: int) -> Iterator[Quota]:
    """The group exists inside. Ends the program where it cannot be made."""
    group = _made(percent) if percent else None
    try:
        yield Quota(percent, group)
    finally:
        if group is not None:
            # Its servers have ended.
            group.rmdir()


def _made(percent: int) -> Path:
    failures = []
    for root, limits in _controllers(percent * PERIOD_US // 100):
        group = root / f"oxicorn-load-{os.getpid()}"
        try:
            group.mkdir()
            for file, text in limits.items():
                (group / file).write_text(text)
            return group
        except OSError as error:
            failures.append(str(error))
            if group.exists():
                group.rmdir()
    sys.exit(
        f"--quota {percent}: no control group with a cpu controller could be made "
        f"({'; '.join(failures) or 'none is mounted'}); run it as root, or without --quota"
    )


def _controllers(quota_us: int) -> Iterator[tuple[Path, dict[str, str]]]:
    """Where groups with a limit can be made, and the files that say it (cgroups(7))."""
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        place, _, kind = line.partition(" - ")
        root, (version, _, options) = Path(place.split()[4]), kind.split(maxsplit=2)
        if version == "cgroup" and "cpu" in options.split(","):
            files = ("cpu.cfs_period_us", "cpu.cfs_quota_us")
            yield root, dict(zip(files, (str(PERIOD_US), str(quota_us)), strict=True))
        controllers = root / "cgroup.controllers"
        if version == "cgroup2" and "cpu" in controllers.read_text().split():
            limit = f"{quota_us} {PERIOD_US}"
            yield root, {"../cgroup.subtree_control": "+cpu", "cpu.max": limit}
