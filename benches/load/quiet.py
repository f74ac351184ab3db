"""Whether the machine runs at its own speed just now: how long a fixed piece of work takes.

A neighbour on the same physical core takes up to a third of a virtual processor's speed, for
seconds or minutes, and nothing in /proc tells. So the same work is timed before and after each
trial, on both processors; a trial that began or ended on a slow one is done again. Judged is the
machine, never what the trial has found: whoever repeats until a result pleases measures that.
"""

from __future__ import annotations

import os
import socket
import statistics
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trials import Sample

TOLERANCE = 1.12
"""Times the shortest time seen in this run."""
PASSES, MESSAGES = 5, 1000
PAUSE_SECONDS = 0.25
STRANGERS_SHARE = 0.05
"""Of the machine, as far as others may use it during a trial."""


class Machine:
    """The processors of server and client; `patience`: seconds to wait for both to be quiet."""

    def __init__(self, processors: tuple[int, int], patience: float) -> None:
        """Find out how fast they are at their best."""
        self._best = dict.fromkeys(processors, float("inf"))
        self.patience = patience
        for _ in range(20 if patience else 0):
            self.is_quiet()
            time.sleep(PAUSE_SECONDS)

    def is_quiet(self) -> bool:
        """Whether both processors do the work nearly as fast as they ever did."""
        home = os.sched_getaffinity(0)
        try:
            took = {processor: _work_on(processor) for processor in self._best}
        finally:
            os.sched_setaffinity(0, home)
        self._best = {one: min(best, took[one]) for one, best in self._best.items()}
        return all(took[one] <= best * TOLERANCE for one, best in self._best.items())

    def wait(self) -> bool:
        """Waits until it is quiet; false where that has taken longer than the patience."""
        until = time.monotonic() + self.patience
        while not self.is_quiet():
            if time.monotonic() > until:
                return False
            time.sleep(PAUSE_SECONDS)
        return True

    def quietly(self, attempt: Callable[[], Sample]) -> Sample:
        """The sample of a trial on a quiet machine; or the last one, remarked, if patience ends."""
        until = time.monotonic() + self.patience
        while True:
            quiet = self.wait()
            sample = attempt()
            alone = sample.values.get("foreign_share", 0.0) <= STRANGERS_SHARE
            if not self.patience or (quiet and alone and self.is_quiet()):
                return sample
            if time.monotonic() > until:
                sample.remarks.append("the machine was not quiet")
                return sample


def _work_on(processor: int) -> float:
    """Microseconds of processor time for a message through the kernel and back."""
    os.sched_setaffinity(0, {processor})
    ours, theirs = socket.socketpair()
    with ours, theirs:
        return statistics.median(_pass(ours, theirs) for _ in range(PASSES))


def _pass(ours: socket.socket, theirs: socket.socket) -> float:
    began = time.thread_time_ns()
    for _ in range(MESSAGES):
        ours.send(b"-" * 200)
        theirs.recv(400)
    return (time.thread_time_ns() - began) / MESSAGES / 1e3
