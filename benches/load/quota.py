"""A share of one processor for a server with all its processes: a control group with a quota.

At the top the client is slower than the server, which then waits for single requests instead of
finding many: what is measured is how the two happen to meet. With a quota the server is always the
one that is waited for, and two rounds differ by a few per cent instead of twenty. Needs root.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

PERIOD_US = 10_000
JOIN = 'echo $$ >"$0" && exec "$@"'
"""Enters the group before it becomes the server, so that no process of it stays outside."""


class Quota:
    """A context manager: the group exists inside. `percent` of one processor; 0 for no limit."""

    def __init__(self, percent: int) -> None:
        """Only name the group."""
        self.percent = percent
        self._group: Path | None = None

    def command(self, command: list[str]) -> list[str]:
        """The same command inside the group."""
        if self._group is None:
            return command
        return ["sh", "-c", JOIN, str(self._group / "cgroup.procs"), *command]

    def __enter__(self) -> Quota:
        """Make the group. Ends the program where that cannot be done."""
        if not self.percent:
            return self
        name = f"oxicorn-load-{os.getpid()}"
        failures = []
        for root, limits in _controllers(self.percent * PERIOD_US // 100):
            try:
                self._group = root / name
                self._group.mkdir()
                for file, text in limits.items():
                    (self._group / file).write_text(text)
                return self
            except OSError as error:
                failures.append(str(error))
                self._remove()
        sys.exit(f"--quota needs the cpu controller of a control group: {failures or 'none found'}")

    def _remove(self) -> None:
        if self._group is not None and self._group.exists():
            self._group.rmdir()
        self._group = None

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Remove the group; its servers have ended."""
        self._remove()


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
            (root / "cgroup.subtree_control").write_text("+cpu")
            yield root, {"cpu.max": f"{quota_us} {PERIOD_US}"}
