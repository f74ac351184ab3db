"""What the kernel says a process tree has used: processor time, switches, memory.

Reads /proc only; starts and signals nothing. A tree is a *session*: every server is started as the
leader of a session of its own, so a worker whose parent has gone still counts.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
TICK_NS = 1_000_000_000 // TICKS_PER_SECOND


@dataclass(frozen=True)
class Usage:
    """Totals of one session at one moment."""

    pids: frozenset[int]
    run_ns: int
    """Time on a processor of all living threads (schedstat), in nanoseconds."""
    ticks: int
    """User and system time in clock ticks, threads that have ended included."""
    voluntary_switches: int

    def cpu_ns_since(self, earlier: Usage) -> int:
        """Processor time between two moments, in nanoseconds.

        schedstat has the resolution but forgets a thread that ends; ticks forget nothing but are
        coarse. The larger of both, less the tick each process may have rounded up.
        """
        coarse = (self.ticks - earlier.ticks - len(self.pids)) * TICK_NS
        return max(self.run_ns - earlier.run_ns, coarse)


def _stat_fields(path: Path) -> list[str]:
    """Fields of a stat file from the third (state) on; the name before them may hold anything."""
    return path.read_text().rpartition(")")[2].split()


def session_pids(session: int) -> list[int]:
    """Living processes of a session, zombies excluded."""
    found = []
    for entry in PROC.iterdir():
        if not entry.name.isdigit():
            continue
        try:
            fields = _stat_fields(entry / "stat")
        except OSError:
            continue
        if int(fields[3]) == session and fields[0] != "Z":
            found.append(int(entry.name))
    return found


def _thread_usage(task: Path) -> tuple[int, int]:
    """Run time in nanoseconds and voluntary switches of one thread."""
    run_ns = int((task / "schedstat").read_text().split()[0])
    switches = 0
    for line in (task / "status").read_text().splitlines():
        if line.startswith("voluntary_ctxt_switches:"):
            switches = int(line.split()[1])
    return run_ns, switches


def usage(session: int) -> Usage:
    """What a session has used so far."""
    pids: set[int] = set()
    run_ns = ticks = switches = 0
    for pid in session_pids(session):
        try:
            fields = _stat_fields(PROC / str(pid) / "stat")
            tasks = list((PROC / str(pid) / "task").iterdir())
        except OSError:
            continue
        pids.add(pid)
        ticks += int(fields[11]) + int(fields[12])
        for task in tasks:
            try:
                thread_ns, thread_switches = _thread_usage(task)
            except OSError:
                continue
            run_ns += thread_ns
            switches += thread_switches
    return Usage(frozenset(pids), run_ns, ticks, switches)


def pss_bytes(session: int) -> int:
    """Proportional set size of a session: its memory, shared pages divided among their users."""
    total = 0
    for pid in session_pids(session):
        for line in (PROC / str(pid) / "smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                total += int(line.split()[1]) * 1024
    return total


def machine_busy_ns() -> int:
    """Time that all processors together have spent on anything, in nanoseconds."""
    fields = [int(field) for field in (PROC / "stat").read_text().split("\n", 1)[0].split()[1:]]
    user, nice, system, _idle, _iowait, irq, softirq, steal = fields[:8]
    return (user + nice + system + irq + softirq + steal) * TICK_NS


def own_cpu_ns() -> int:
    """Processor time of this process and its ended children, in nanoseconds."""
    times = os.times()
    seconds = times.user + times.system + times.children_user + times.children_system
    return int(seconds * 1e9)


@dataclass(frozen=True)
class Cost:
    """What a measured window has cost."""

    cpu_ns: int
    ticks: int
    voluntary_switches: int
    foreign_ns: int
    """Processor time of everything that is neither the server nor the client: the noise."""


class Window:
    """A measured stretch of a server's life, opened on construction."""

    def __init__(self, session: int) -> None:
        """Take the first readings."""
        self._session = session
        self._usage = usage(session)
        self._busy = machine_busy_ns()
        self._own = own_cpu_ns()

    @property
    def pids(self) -> frozenset[int]:
        """The processes that are measured."""
        return self._usage.pids

    def close(self) -> Cost:
        """Take the last readings.

        Raises RuntimeError if a process came or went: its time would be missing.
        """
        busy = machine_busy_ns() - self._busy
        own = own_cpu_ns() - self._own
        now = usage(self._session)
        if now.pids != self._usage.pids:
            raise RuntimeError("the server's processes changed while it was measured")
        cpu = now.cpu_ns_since(self._usage)
        return Cost(
            cpu_ns=cpu,
            ticks=now.ticks - self._usage.ticks,
            voluntary_switches=now.voluntary_switches - self._usage.voluntary_switches,
            foreign_ns=max(0, busy - own - cpu),
        )
