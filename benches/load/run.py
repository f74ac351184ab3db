"""The command: `python benches/load/run.py --servers ... --scenarios ...`; see benches/README.md.

Plans the rounds, runs the trials one after the other and has the result written.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from quiet import Machine
from quota import Quota, limited
from report import Circumstances, describe_machine, scrub, write
from results import FAILED, SKIPPED, Results
from scenarios import SCENARIOS, Scenario
from servers import (
    BENCHES,
    PEERS,
    Server,
    ceiling,
    oxicorn,
    python_of,
    unavailable,
    version,
)
from trials import Bench, Failure, attempt
from wrk import POLLING
from wrk import version as wrk_version

DESCRIPTORS = 8192
"""File descriptors that server and client each need for 2,000 connections, with room."""


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Compare servers under load; see benches/README.md."
    )
    parser.add_argument("--servers", default="all", help="names, separated by commas")
    parser.add_argument("--scenarios", default="all", help="names, separated by commas")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=3, help="of each measured run")
    parser.add_argument("--name", default="latest", help="of the files in benches/results/")
    parser.add_argument("--oxicorn", type=Path, default=BENCHES.parent / ".venv/bin/oxicorn")
    parser.add_argument("--ceiling", metavar="CMD", help="command of the engine without Python")
    parser.add_argument("--server-cpu", type=int, default=0)
    parser.add_argument("--client-cpu", type=int, default=1)
    parser.add_argument(
        "--client", choices=("polls", "sleeps"), default="polls", help="how wrk waits for answers"
    )
    parser.add_argument(
        "--patience",
        type=float,
        default=0,
        metavar="SECONDS",
        help="repeat a trial on a machine that is not quiet, for so long (default: take it)",
    )
    parser.add_argument(
        "--quota",
        type=int,
        default=0,
        metavar="PERCENT",
        help="of its processor that the server gets, so that no client is slower (default: all)",
    )
    parser.add_argument("--list", action="store_true", help="print the names and stop")
    return parser.parse_args()


def _chosen(names: str, known: Sequence[str], what: str) -> list[str]:
    """The names asked for, in the order of `known`; ends the program on an unknown one."""
    if names == "all":
        return list(known)
    asked = [name.strip() for name in names.split(",") if name.strip()]
    unknown = [name for name in asked if name not in known]
    if unknown:
        sys.exit(f"no such {what}: {', '.join(unknown)}; there are {', '.join(known)}")
    return [name for name in known if name in asked]


def _servers(arguments: argparse.Namespace) -> list[Server]:
    rows = [oxicorn(arguments.oxicorn.absolute())]
    if arguments.ceiling:
        rows.append(ceiling(arguments.ceiling))
    rows += PEERS
    names = _chosen(arguments.servers, [row.name for row in rows], "server")
    if arguments.ceiling and "ceiling" not in names:
        names.append("ceiling")
    return [row for row in rows if row.name in names]


def _scenarios(arguments: argparse.Namespace) -> list[Scenario]:
    names = _chosen(arguments.scenarios, [row.name for row in SCENARIOS], "scenario")
    return [row for row in SCENARIOS if row.name in names]


def _trial(
    server: Server, scenario: Scenario, bench: Bench, machine: Machine, results: Results
) -> None:
    """One trial into its cell; a server that failed once is not tried again."""
    cell = results.cell(scenario, server.name)
    if cell.outcome in (FAILED, SKIPPED):
        return
    try:
        sample = machine.quietly(lambda: attempt(server, scenario, bench))
    except Failure as failure:
        cell.fail(scrub(str(failure)))
        print(f"  {server.name:17} FAILED: {cell.reason}", flush=True)
        return
    if server.remark:
        sample.remarks.insert(0, server.remark)
    cell.add(sample)
    shown = [
        f"{measure.title} {sample.values[measure.key]:,.{measure.digits}f}"
        for measure in scenario.measures
        if measure.key in sample.values
    ]
    print(f"  {server.name:17} {', '.join(shown)}", flush=True)


def _skip_unfit(
    servers: Sequence[Server], scenario: Scenario, results: Results, absent: dict[str, str]
) -> None:
    for server in servers:
        reason = absent[server.name] or scenario.unfit(server)
        if reason:
            cell = results.cell(scenario, server.name)
            cell.outcome, cell.reason = SKIPPED, reason
            print(f"  {server.name:17} skipped: {reason}", flush=True)


def _run(
    servers: Sequence[Server],
    plan: Sequence[Scenario],
    rounds: int,
    bench: Bench,
    machine: Machine,
    absent: dict[str, str],
) -> Results:
    """All trials: scenario by scenario, rounds interleaved, the order rotated each round."""
    results = Results()
    for scenario in plan:
        takers = [server for server in servers if scenario.interface in server.interfaces]
        for server in takers:
            results.cell(scenario, server.name)
        _skip_unfit(takers, scenario, results, absent)
        for number in range(rounds):
            print(f"{scenario.name}, round {number + 1} of {rounds}", flush=True)
            turn = number * len(takers) // rounds
            for server in [*takers[turn:], *takers[:turn]]:
                _trial(server, scenario, bench, machine, results)
    return results


def _circumstances(arguments: argparse.Namespace, servers: Sequence[Server]) -> Circumstances:
    versions = {"harness": f"Python {sys.version.split()[0]}", "wrk": wrk_version()}
    for server in servers:
        python = python_of(server, arguments.oxicorn.absolute())
        found = version(server, python)
        if found and server.distribution not in versions:
            versions[server.distribution] = found
    pinning = f"server on core {arguments.server_cpu}, client on core {arguments.client_cpu}"
    options = {
        "rounds": str(arguments.rounds),
        "seconds": str(arguments.seconds),
        "pinning": pinning,
        "wrk": arguments.client,
        "patience": f"{arguments.patience:g} s",
        "quota of the server": f"{arguments.quota} %" if arguments.quota else "none",
    }
    return Circumstances(describe_machine(), versions, options)


def _prepare(bench: Bench) -> None:
    """Pin this process beside the client, raise its limits, look for the tools."""
    missing = [tool for tool in ("wrk", "taskset") if shutil.which(tool) is None]
    if missing:
        sys.exit(f"not found: {', '.join(missing)}; run benches/setup.sh")
    if bench.polls and not POLLING.exists():
        sys.exit("benches/.venv/polling.so is missing; run benches/setup.sh")
    os.sched_setaffinity(0, {bench.client_cpu})
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < DESCRIPTORS:
        sys.exit(f"{hard} file descriptors allowed, {DESCRIPTORS} needed: raise `ulimit -Hn`")
    resource.setrlimit(resource.RLIMIT_NOFILE, (DESCRIPTORS, hard))


def _end(_number: int, _frame: FrameType | None) -> None:
    """Leave through the context managers, so that no server stays behind."""
    sys.exit("ended by a signal")


def main() -> None:
    """Run what the command line asks for and print where the result is."""
    arguments = _arguments()
    servers = _servers(arguments)
    plan = _scenarios(arguments)
    if arguments.list:
        print("servers:", *(row.name for row in servers))
        print("scenarios:", *(row.name for row in plan))
        return
    where = _circumstances(arguments, servers)
    signal.signal(signal.SIGTERM, _end)
    with limited(arguments.quota) as quota:
        results = _measure(arguments, servers, plan, quota)
    page = write(arguments.name, plan, results, where)
    print(f"written: {scrub(str(page))}")


def _measure(
    arguments: argparse.Namespace,
    servers: Sequence[Server],
    plan: Sequence[Scenario],
    quota: Quota,
) -> Results:
    bench = Bench(
        seconds=arguments.seconds,
        server_cpu=arguments.server_cpu,
        client_cpu=arguments.client_cpu,
        processors=os.cpu_count() or 1,
        polls=arguments.client == "polls",
        quota=quota,
    )
    _prepare(bench)
    absent = {row.name: unavailable(row, arguments.oxicorn.absolute()) for row in servers}
    machine = Machine((bench.server_cpu, bench.client_cpu), arguments.patience)
    return _run(servers, plan, arguments.rounds, bench, machine, absent)


if __name__ == "__main__":
    main()
