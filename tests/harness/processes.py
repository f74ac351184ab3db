"""What the kernel says about processes: families, memory, descriptors, processor time, wake-ups."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

from .wait import until

_PROC = Path("/proc")


def _stat(pid: int | str) -> list[str]:
    """The fields of /proc/PID/stat after the command name; state is first. Empty if it is gone."""
    # Read for every process of the machine whenever a test waits for some of them: without layers.
    try:
        with open(f"{_PROC}/{pid}/stat", "rb", buffering=0) as stat:
            text = stat.read(4096)
    except (FileNotFoundError, ProcessLookupError):
        return []
    return text.rpartition(b")")[2].decode().split()


def _all() -> dict[int, list[str]]:
    found = {int(name): _stat(name) for name in os.listdir(_PROC) if name.isdigit()}
    return {pid: fields for pid, fields in found.items() if fields}


def children(pid: int) -> list[int]:
    """Living children of `pid` (no zombies), oldest first."""
    found = _all().items()
    alive = [(int(f[19]), child) for child, f in found if int(f[1]) == pid and f[0] not in "ZX"]
    return [child for _started, child in sorted(alive)]


def family(group: int) -> list[int]:
    """Every process of the process group or session `group`, zombies of lost parents included."""
    return [pid for pid, f in _all().items() if group in (int(f[2]), int(f[3]))]


def parent(pid: int) -> int:
    """The process whose child `pid` is."""
    return int(_stat(pid)[1])


def session(pid: int) -> int:
    """The session that `pid` belongs to."""
    return int(_stat(pid)[3])


def zombies(pid: int) -> list[int]:
    """Children of `pid` that ended and were not collected."""
    return [child for child, f in _all().items() if int(f[1]) == pid and f[0] == "Z"]


def title(pid: int) -> str:
    """The command line, as `ps` shows it; empty if the process is gone."""
    try:
        return (_PROC / str(pid) / "cmdline").read_text(errors="replace").strip("\0")
    except (FileNotFoundError, ProcessLookupError):
        return ""


def shared_out(pid: int) -> int:
    """Anonymous memory in KiB; of a page that several processes share, an equal part each."""
    text = (_PROC / str(pid) / "smaps_rollup").read_text()
    found = (line.split() for line in text.splitlines())
    return next(int(words[1]) for words in found if words[0] == "Pss_Anon:")


def alive(pid: int) -> bool:
    """Whether `pid` runs (a zombie does not)."""
    fields = _stat(pid)
    return bool(fields) and fields[0] not in "ZX"


def _status(pid: int, task: int | None = None) -> dict[str, str]:
    folder = _PROC / str(pid) if task is None else _PROC / str(pid) / "task" / str(task)
    lines = (folder / "status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def resident(pid: int) -> int:
    """Resident anonymous memory in KiB: what the process itself holds, without mapped files."""
    return int(_status(pid)["RssAnon"].split()[0])


def peak(pid: int) -> int:
    """The highest resident size so far, in KiB (VmHWM)."""
    return int(_status(pid)["VmHWM"].split()[0])


def available() -> int:
    """Memory that the system would give without swapping, in KiB."""
    lines = (_PROC / "meminfo").read_text().splitlines()
    found = {name: value.split()[0] for name, _, value in (line.partition(":") for line in lines)}
    return int(found["MemAvailable"])


def descriptors(*pids: int) -> Counter[str]:
    """How many file descriptors of each kind the processes have open, together."""
    found: Counter[str] = Counter()
    for pid in pids:
        for one in (_PROC / str(pid) / "fd").iterdir():
            with suppress(FileNotFoundError):
                found[re.sub(r"\d+", "", os.readlink(one))] += 1
    return found


def wait_for_no_more_than(before: Counter[str], pids: Callable[[], Iterable[int]]) -> None:
    """Waits until the processes have no kind of descriptor open more often than `before`.

    Less is right as well: something may have been about to be closed when `before` was taken.
    """

    def more() -> Counter[str]:
        return descriptors(*pids()) - before

    try:
        until(lambda: not more(), "no more descriptors than before")
    except AssertionError as error:
        raise AssertionError(f"{error}; more are {more()}, before were {before}") from None


def has_epoll(pid: int) -> bool:
    """Whether the process waits for the network: it has made itself an epoll instance."""
    folder = _PROC / str(pid) / "fd"
    try:
        return any("eventpoll" in os.readlink(folder / name) for name in os.listdir(folder))
    except FileNotFoundError:
        return False


def ticks(pid: int) -> int:
    """User and system time used so far by all threads, in clock ticks."""
    fields = _stat(pid)
    return int(fields[11]) + int(fields[12])


def wakeups(pid: int) -> int:
    """Voluntary context switches so far of all threads."""
    tasks = os.listdir(_PROC / str(pid) / "task")
    return sum(int(_status(pid, int(task))["voluntary_ctxt_switches"]) for task in tasks)


def is_settled(pid: int) -> bool:
    """Whether the process does not wake up for a good second."""
    before = wakeups(pid)
    try:
        until(lambda: wakeups(pid) != before, "a wake-up", 1.5)
    except AssertionError:
        return True
    return False


def threads(pid: int) -> int:
    """How many threads the process has."""
    return len(os.listdir(_PROC / str(pid) / "task"))
