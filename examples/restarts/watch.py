"""Restarts Oxicorn again and again under load, and shows what the clients see of it.

The README beside this file says how to run it, and what it shows.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import signal
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

from clients import Fleet, Relay, answers, percentile

HERE = Path(__file__).resolve().parent
COLUMNS = "{:>6} {:>9} {:>9} {:>8} {:>12}   {}"
TITLES = (
    ("", "answered", "p99", "failed", "connections", ""),
    ("time", "in 1 s", "in 1 s", "so far", "closed", "what the server says"),
)
INTRODUCTION = """
New code goes live {restarts} times ({way}) while {clients} clients send {rate:g} requests
a second each. They keep their connections and never try again, so every failure counts.
"""
WAYS = {
    "hot": "hot restarts",
    "phased": "phased restarts",
    "regular": "regular restarts",
    "upgrade": "the server itself is replaced, in place",
    "usr2": "a second server takes the place of the first",
}
NEWS = r"(Restart \(|Restart rolled back|Generation \d|Upgraded|Successor|Master has).*"
ENDS = ("confirmed", "rolled back", "promoted")
BROKEN = 3
"""With --broken: the version that cannot be imported."""


class Server:
    """Oxicorn with the example's site, and what its log said last."""

    def __init__(self, folder: Path, mode: str) -> None:
        """Plan a server whose application is copied to `folder`."""
        self._folder = folder
        self._mode = mode
        self._control = folder / "control"
        self._pid = 0
        self._process: asyncio.subprocess.Process | None = None
        self._log: list[str] = []
        self._listens = asyncio.Event()
        """It does, or it has ended."""
        self.port = 0
        self.says = "Generation 1 serves."
        """Its last word about restarts."""
        self.outcomes = 0
        """How many restarts have ended, well or not."""

    async def start(self) -> None:
        """Start it and wait until it serves."""
        self.deploy()
        environ = {**os.environ, "ORDERS": str(self._folder / "orders")}
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "oxicorn", "site_app:app", "--workers", "2"),
            *("--bind", "127.0.0.1:0", "--control-socket", str(self._control)),
            *("--restart-mode", "hot" if self._mode in ("upgrade", "usr2") else self._mode),
            *("--observe-timeout", "1", "--keep-alive", "60"),
            cwd=self._folder,
            env=environ,
            stderr=asyncio.subprocess.PIPE,
        )
        self._reader = asyncio.create_task(self._read())
        self._pid = self._process.pid
        await self._listens.wait()
        if not self.port:
            sys.exit("\n".join(self._log))
        await answers(self.port)

    def deploy(self, broken: bool = False) -> None:
        """Put a new version of the code in place."""
        text = (HERE / "site_app.py").read_text()
        (self._folder / "site_app.py").write_text("import nothing_of_this_name\n" * broken + text)

    async def restart(self) -> None:
        """Ask for a restart, or what stands for it."""
        if self._mode == "upgrade":
            command = (*("-m", "oxicorn.ctl", "--socket", str(self._control)), "upgrade")
            await asyncio.create_subprocess_exec(
                sys.executable, *command, stdout=asyncio.subprocess.DEVNULL
            )
        else:
            os.kill(self._pid, signal.SIGUSR2 if self._mode == "usr2" else signal.SIGHUP)

    async def stop(self) -> None:
        """End it in the orderly way."""
        assert self._process
        with suppress(ProcessLookupError):
            os.kill(self._pid, signal.SIGTERM)
        await self._process.wait()
        await self._reader

    def orders(self) -> Counter[str]:
        """How often each order was executed."""
        path = self._folder / "orders"
        return Counter(path.read_text().split()) if path.exists() else Counter()

    async def _read(self) -> None:
        assert self._process and self._process.stderr
        async for raw in self._process.stderr:
            line = raw.decode(errors="replace").rstrip()
            self._log.append(line)
            if found := re.search(r"Listening at: http://127\.0\.0\.1:(\d+)", line):
                self.port = int(found.group(1))
                self._listens.set()
            if found := re.search(NEWS, line):
                self.says = found.group().partition(": Worker")[0]
                self.outcomes += any(word in line for word in ENDS)
            if found := re.search(r"Successor \(pid:(\d+)\) serves", line):
                self._hand_over(int(found.group(1)))
        self._listens.set()

    def _hand_over(self, successor: int) -> None:
        os.kill(self._pid, signal.SIGTERM)
        self._pid = successor


def row(*values: object) -> None:
    """Print one line of the table."""
    print(COLUMNS.format(*values), flush=True)


async def show(fleet: Fleet, server: Server, start: float, note: str = "") -> None:
    """Print a line of the table for the last second."""
    tally = fleet.tally
    before = (tally.answered, len(tally.steady), len(tally.restarting))
    await asyncio.sleep(1)
    recent = tally.steady[before[1] :] + tally.restarting[before[2] :]
    row(
        f"{time.perf_counter() - start:.0f} s",
        tally.answered - before[0],
        f"{percentile(recent, 0.99):.1f} ms",
        len(tally.failures),
        tally.closed,
        server.says + note,
    )


async def watch(options: argparse.Namespace, folder: Path) -> bool:
    """The whole demonstration; whether no client noticed anything."""
    print(INTRODUCTION.format(way=WAYS[options.mode], **vars(options)), flush=True)
    server = Server(folder, options.mode)
    await server.start()
    relay = Relay(server.port, options.delay / 1000)
    async with relay, Fleet(relay.port, options.clients, options.rate) as fleet:
        start = time.perf_counter()
        for titles in TITLES:
            row(*titles)
        await show(fleet, server, start)
        for number in range(1, options.restarts + 1):
            await one_restart(fleet, server, start, options.broken and number == BROKEN)
        await show(fleet, server, start)
    await server.stop()
    return verdict(fleet, server, options.clients)


async def one_restart(fleet: Fleet, server: Server, start: float, broken: bool) -> None:
    """Deploy, restart, and show what happens until it is decided."""
    server.deploy(broken)
    note = " (broken code)" * broken
    outcomes = server.outcomes
    fleet.is_restarting = True
    await server.restart()
    while server.outcomes == outcomes:
        await show(fleet, server, start, note)
    fleet.is_restarting = False
    await show(fleet, server, start, note)


def verdict(fleet: Fleet, server: Server, clients: int) -> bool:
    """Print the summary."""
    tally = fleet.tally
    executed = server.orders()
    wrong = [order for order in tally.orders if executed[order] != 1]
    twice = [order for order, times in executed.items() if times > 1]
    print(f"\n{tally.answered} requests answered, {len(tally.failures)} failed.")
    for failure in tally.failures[:5]:
        print(f"  {failure}")
    print(f"{clients} clients made {tally.opened} connections, the server closed {tally.closed}.")
    print(f"{len(tally.orders)} POST requests, {len(wrong)} of them not executed exactly once.")
    steady, restarting = percentile(tally.steady, 0.99), percentile(tally.restarting, 0.99)
    print(f"p99 latency {steady:.1f} ms, while restarting {restarting:.1f} ms.")
    noticed = tally.failures or wrong or twice or tally.closed
    print("Clients noticed the restarts." if noticed else "No client noticed anything.")
    return not (tally.failures or wrong or twice)


def main() -> int:
    """Run as a program."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mode", choices=WAYS, default="hot")
    parser.add_argument("--restarts", type=int, default=10)
    parser.add_argument("--clients", type=int, default=60)
    parser.add_argument("--rate", type=float, default=12, help="requests a second of each client")
    parser.add_argument("--delay", type=float, default=0, help="milliseconds each way")
    parser.add_argument("--broken", action="store_true", help=f"version {BROKEN} is broken")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        return 0 if asyncio.run(watch(options, Path(folder))) else 1


if __name__ == "__main__":
    sys.exit(main())
