"""Runs wrk, the load generator of the closed-loop scenarios, and reads its summary."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from servers import BENCHES
from wire import Request, WrongAnswer

POLLING = BENCHES / ".venv/polling.so"
"""Made from polling.c by setup.sh."""
SCRIPT = Path(__file__).with_name("wrk.lua")
GRACE_SECONDS = 20


@dataclass(frozen=True)
class Load:
    """What wrk counted in one run."""

    requests: int
    duration_us: int
    connect_errors: int
    read_errors: int
    write_errors: int
    timeouts: int
    status_errors: int
    p50_us: float
    p99_us: float

    @property
    def per_second(self) -> float:
        """Requests per second."""
        return self.requests / (self.duration_us / 1e6)


def drive(
    port: int, request: Request, connections: int, seconds: int, cpu: int, polls: bool
) -> Load:
    """Drive a server with one wrk thread pinned to `cpu`, which never sleeps if it `polls`.

    Raises WrongAnswer if wrk fails, or if an answer in the load was not a success.
    """
    headers = [f"{name}: {value}" for name, value in request.headers]
    command = ["taskset", "-c", str(cpu), "wrk", "-t1", f"-c{connections}", f"-d{seconds}s"]
    command += ["-s", str(SCRIPT), f"http://127.0.0.1:{port}{request.path}", "--"]
    command += [request.method, str(len(request.body)), *headers]
    environment = {**os.environ, "LD_PRELOAD": str(POLLING)} if polls else None
    try:
        run = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=seconds + GRACE_SECONDS,
            check=False,
            env=environment,
        )
    except subprocess.TimeoutExpired as error:
        raise WrongAnswer("wrk did not end in time") from error
    summary = [line for line in run.stdout.splitlines() if line.startswith("{")]
    if run.returncode != 0 or not summary:
        raise WrongAnswer(f"wrk failed: {run.stderr.strip() or run.stdout.strip()}")
    load = Load(**json.loads(summary[-1]))
    if load.status_errors:
        raise WrongAnswer(f"{load.status_errors} of {load.requests} answers were not a success")
    if not load.requests:
        raise WrongAnswer("no request was answered")
    return load


def version() -> str:
    """The version wrk prints, or "not installed"."""
    try:
        run = subprocess.run(["wrk", "-v"], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return "not installed"
    return " ".join(run.stdout.split()[:2])
