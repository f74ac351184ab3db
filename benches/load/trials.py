"""Carries out one scenario against one server, once: start, check, warm up, measure, stop.

Returns numbers and remarks; what they mean together is the report's business.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from functools import partial

import plain
from clients import IdleConnections, Kind, Paced, PacedClient, percentile
from measure import Cost, Window, pss_bytes
from process import Running, StartError, free_port
from quota import Quota
from scenarios import Scenario, Way
from servers import APPS, Launch, Server
from slow import OPEN_SECONDS, SlowClients
from websocket import EchoClient
from wire import (
    Answer,
    Request,
    Wire,
    WrongAnswer,
    check_answer,
    check_closes,
    check_server,
    closes,
    streams,
)
from wrk import drive

WARM_UP_SECONDS = 1
IDLE_SETTLE_SECONDS = 12.0
"""Longer than any timer lasts that the connection of the check has left behind."""
IDLE_SECONDS = 10.0
WARM_UP_REQUESTS = 200
MIX_RATE = 600
NORMAL_RATE = 200
LAG_MAX_MS = 2.0


class Failure(Exception):
    """The server could not be measured in this scenario; the text says why."""


@dataclass(frozen=True)
class Bench:
    """What holds for every trial of a run."""

    seconds: int
    server_cpu: int
    client_cpu: int
    processors: int
    polls: bool
    """Whether wrk polls for answers instead of sleeping until they come."""
    quota: Quota


@dataclass
class Sample:
    """What one trial has found."""

    values: dict[str, float] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)
    unranked: str = ""
    """What the server leaves out, so that its numbers are not ranked."""


def attempt(server: Server, scenario: Scenario, bench: Bench) -> Sample:
    """Run one trial. Raises Failure; whatever happens, the server is ended."""
    launch = Launch(
        app=scenario.app,
        port=free_port(),
        interface=scenario.interface,
        threads=scenario.threads,
        workers=scenario.workers,
        many_connections=scenario.connections > 64,
    )
    running = Running(
        bench.quota.command(server.command(launch)),
        launch.port,
        bench.server_cpu,
        APPS,
        {"PYTHONPATH": str(APPS), "PYTHONUNBUFFERED": "1"},
    )
    try:
        with running:
            sample = _measured(running, scenario, bench)
    except StartError as error:
        raise Failure(f"did not start: {error}") from error
    if bench.quota.percent:
        # How long a request takes is then mostly how long the server is kept waiting.
        for key in ("p50_ms", "p99_ms"):
            sample.values.pop(key, None)
    return sample


def _measured(running: Running, scenario: Scenario, bench: Bench) -> Sample:
    try:
        return _WAYS[scenario.way](running, scenario, bench)
    except (WrongAnswer, RuntimeError) as error:
        status = running.exit_status()
        ended = "" if status is None else f"; the server ended with {status}"
        raise Failure(f"{error}{ended}\n{running.log_tail()}") from error


def _load(running: Running, scenario: Scenario, bench: Bench, sample: Sample) -> Sample:
    """Warm up, then drive with wrk and account."""
    driven = partial(
        drive,
        running.port,
        scenario.request,
        scenario.connections,
        cpu=bench.client_cpu,
        polls=bench.polls,
    )

    def run(seconds: int) -> dict[str, float]:
        window = Window(running.session)
        load = driven(seconds)
        cost = window.close()
        errors = load.connect_errors + load.write_errors + load.timeouts
        return {
            "cpu_us": cost.cpu_ns / 1e3 / load.requests,
            "rate": load.per_second,
            "p50_ms": load.p50_us / 1e3,
            "p99_ms": load.p99_us / 1e3,
            "server_load": cost.cpu_ns / 1e3 / load.duration_us,
            "socket_errors": errors,
            "read_errors": load.read_errors,
            "requests": load.requests,
            **_noise(cost, load.duration_us / 1e6, bench),
        }

    driven(WARM_UP_SECONDS)
    sample.values = run(bench.seconds)
    if sample.values["socket_errors"]:
        sample.remarks.append("socket errors under load")
    if sample.values["read_errors"] and "closes after each response" not in sample.remarks:
        sample.remarks.append("connections closed under load")
    return sample


def _noise(cost: Cost, seconds: float, bench: Bench) -> dict[str, float]:
    """The share of the machine that strangers used meanwhile."""
    return {"foreign_share": cost.foreign_ns / 1e9 / seconds / bench.processors}


def _closed_loop(running: Running, scenario: Scenario, bench: Bench) -> Sample:
    remarks = check_server(running.port, scenario.request, scenario.expected)
    return _load(running, scenario, bench, Sample(remarks=remarks))


def _closing(running: Running, scenario: Scenario, bench: Bench) -> Sample:
    remarks = check_server(running.port, scenario.request, scenario.expected)
    unranked = "" if closes(running.port) else "**never calls `close()`** of the response"
    return _load(running, scenario, bench, Sample(remarks=remarks, unranked=unranked))


def _churn(running: Running, scenario: Scenario, bench: Bench) -> Sample:
    remarks = check_closes(running.port, scenario.request, scenario.expected)
    return _load(running, scenario, bench, Sample(remarks=remarks))


def _stream(running: Running, scenario: Scenario, bench: Bench) -> Sample:
    remarks = check_server(running.port, scenario.request, scenario.expected)
    block_by_block = streams(
        running.port, "/probe", plain.PROBE_PAUSE, plain.BLOCKS, len(plain.BLOCK)
    )
    unranked = "" if block_by_block else "**collects** the response before it sends"
    return _load(running, scenario, bench, Sample(remarks=remarks, unranked=unranked))


def _paced_mix(running: Running, scenario: Scenario, bench: Bench) -> Sample:
    remarks = check_server(running.port, scenario.request, scenario.expected)
    kinds = [
        Kind(Request(path="/slow"), scenario.expected, every=50, counted=False),
        Kind(scenario.request, scenario.expected, every=1, counted=True),
    ]
    client = PacedClient(running.port, MIX_RATE, kinds)
    try:
        client.run(WARM_UP_SECONDS)
        window = Window(running.session)
        start = time.perf_counter()
        paced = client.run(bench.seconds)
        elapsed = time.perf_counter() - start
        cost = window.close()
    finally:
        client.close()
    values = {
        "p50_ms": paced.percentile(0.50),
        "p90_ms": paced.percentile(0.90),
        "p99_ms": paced.percentile(0.99),
        "p999_ms": paced.percentile(0.999),
        "unanswered": paced.unanswered,
        "lag_p99_ms": percentile(paced.lag_ms, 0.99),
        "cpu_us": cost.cpu_ns / 1e3 / len(paced.lag_ms),
        **_noise(cost, elapsed, bench),
    }
    return _trusted(Sample(values, remarks))


def _websocket_echo(running: Running, scenario: Scenario, bench: Bench) -> Sample:
    client = EchoClient(running.port, scenario.connections)
    try:
        client.run(WARM_UP_SECONDS)
        window = Window(running.session)
        start = time.perf_counter()
        latencies_ms = client.run(bench.seconds)
        elapsed = time.perf_counter() - start
        cost = window.close()
    finally:
        client.close()
    values = {
        "cpu_us": cost.cpu_ns / 1e3 / len(latencies_ms),
        "rate": len(latencies_ms) / elapsed,
        "p50_ms": percentile(latencies_ms, 0.50),
        "p99_ms": percentile(latencies_ms, 0.99),
        **_noise(cost, elapsed, bench),
    }
    return Sample(values)


def _idle_memory(running: Running, scenario: Scenario, bench: Bench) -> Sample:
    remarks = check_server(running.port, scenario.request, scenario.expected)
    _warm_up(running.port, scenario.request, scenario.expected)
    before = pss_bytes(running.session)
    idle = IdleConnections(running.port, scenario.connections, scenario.request, scenario.expected)
    try:
        after = pss_bytes(running.session)
        held = idle.still_open()
    finally:
        idle.close()
    if held < scenario.connections:
        raise WrongAnswer(f"only {held} of {scenario.connections} idle connections were kept")
    values = {
        "bytes_each": (after - before) / scenario.connections,
        "base_mib": before / 2**20,
        "held": held,
    }
    return Sample(values, remarks)


def _warm_up(port: int, request: Request, expected: Answer) -> None:
    """Let the server allocate what it needs once, before memory is compared."""
    wire = Wire(port)
    try:
        for _ in range(WARM_UP_REQUESTS):
            check_answer(wire.ask(request.encode()), expected)
    finally:
        wire.close()


def _idle_cpu(running: Running, scenario: Scenario, bench: Bench) -> Sample:
    remarks = check_server(running.port, scenario.request, scenario.expected)
    time.sleep(IDLE_SETTLE_SECONDS)
    window = Window(running.session)
    time.sleep(IDLE_SECONDS)
    cost = window.close()
    values = {
        "ticks": cost.ticks,
        "cpu_ms": cost.cpu_ns / 1e6,
        "voluntary_switches": cost.voluntary_switches,
        "processes": len(window.pids),
    }
    return Sample(values, remarks)


def _slow_clients(running: Running, scenario: Scenario, bench: Bench) -> Sample:
    remarks = check_server(running.port, scenario.request, scenario.expected)
    kinds = [Kind(scenario.request, scenario.expected, every=1, counted=True)]
    client = PacedClient(running.port, NORMAL_RATE, kinds)
    try:
        client.run(WARM_UP_SECONDS)
        alone = client.run(bench.seconds)
        beside, slow = _beside_slow(running.port, client, scenario, bench)
    finally:
        client.close()
    values = {
        "p99_alone_ms": alone.percentile(0.99),
        "p99_beside_ms": beside.percentile(0.99),
        "p50_beside_ms": beside.percentile(0.50),
        "unanswered": alone.unanswered + beside.unanswered,
        "lag_p99_ms": max(percentile(run.lag_ms, 0.99) for run in (alone, beside)),
        **slow,
    }
    return _trusted(Sample(values, remarks))


def _trusted(sample: Sample) -> Sample:
    """Mark a paced trial in which the client itself was kept from its processor."""
    if sample.values["lag_p99_ms"] > LAG_MAX_MS:
        sample.remarks.append("the client was late: latencies not to be trusted")
    return sample


def _beside_slow(
    port: int, client: PacedClient, scenario: Scenario, bench: Bench
) -> tuple[Paced, dict[str, float]]:
    crowd = SlowClients(port, scenario.connections, scenario.slow)
    try:
        opening = client.run(OPEN_SECONDS, crowd.step)
        beside = client.run(bench.seconds, crowd.step)
        counts = {
            "p99_opening_ms": opening.percentile(0.99),
            "slow_connected": float(crowd.connected()),
            "slow_closed": float(crowd.closed_by_server),
        }
    finally:
        crowd.close()
    return beside, counts


_WAYS = {
    Way.CLOSED_LOOP: _closed_loop,
    Way.CLOSING: _closing,
    Way.CHURN: _churn,
    Way.STREAM: _stream,
    Way.PACED_MIX: _paced_mix,
    Way.IDLE_MEMORY: _idle_memory,
    Way.IDLE_CPU: _idle_cpu,
    Way.SLOW_CLIENTS: _slow_clients,
    Way.WEBSOCKET_ECHO: _websocket_echo,
}
