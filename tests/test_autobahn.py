"""The Autobahn cases against the WebSocket codec, by way of its example `echo`.

The cases are those of the Autobahn testsuite, run by kosoku. What takes long (large messages; a
thousand compressed messages of many KiB each) is left to `make autobahn`, which runs all cases.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ALL = os.environ.get("OXICORN_AUTOBAHN") == "all"
PATIENCE = 1800 if ALL else 300

QUICK = [f"{n}.*" for n in (1, 2, 3, 4, 5, 6, 7, 10)] + [f"9.7.{n}" for n in (1, 2)]
SHORT = [f"{group}.{n}" for group in ("12.1", "12.2", "12.5") for n in (1, 2, 3, 4, 11)]
EACH_OFFER = [f"13.{offer}.{n}" for offer in range(1, 8) for n in (1, 4, 11)]
CASES = None if ALL else [*QUICK, *SHORT, *EACH_OFFER]

UNSPECIFIED = {"7.1.6", "7.13.1", "7.13.2"}
"""Cases that the RFC leaves open, and the suite only tells about: a close while a large message is
on its way, and close codes that nobody has assigned."""

JUDGE = """
import asyncio, json, os, sys
from kosoku import run_fuzzingclient

results = asyncio.run(run_fuzzingclient(sys.argv[1], json.loads(sys.argv[2]), concurrency=2))
verdicts = [[it.case_id, it.behavior.value, it.behavior_close.value] for it in results]
print(json.dumps(verdicts), flush=True)
os._exit(0)
"""
"""In a process of its own: kosoku brings a `pkg_resources` along that other tests must not meet. It
leaves at once: a thread of kosoku's that wants the interpreter while that shuts down aborts."""


@pytest.fixture(scope="module")
def program() -> Path:
    """The example `echo`, built."""
    command = "cargo build --locked --release -p oxicorn-websocket --example echo"
    built = subprocess.run(
        [*command.split(), "--message-format=json"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        timeout=900,
        check=True,
    )
    messages = [json.loads(line) for line in built.stdout.splitlines()]
    [path] = [message["executable"] for message in messages if message.get("executable")]
    return Path(path)


@contextmanager
def serving(program: Path, *options: str) -> Iterator[str]:
    """Runs the example; its address."""
    with subprocess.Popen(
        [program, *options], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        yield process.stdout.readline().strip()


@pytest.mark.parametrize("options", [[], ["--takeover"]], ids=["shared", "takeover"])
def test_every_case_passes_strictly(program: Path, options: list[str]) -> None:
    with serving(program, *options) as address:
        judge = subprocess.run(
            [sys.executable, "-c", JUDGE, f"ws://{address}", json.dumps(CASES)],
            stdout=subprocess.PIPE,
            timeout=PATIENCE,
            check=True,
        )
    results = json.loads(judge.stdout.splitlines()[-1])
    assert len(results) > (500 if ALL else 280)
    verdicts = {case: verdict for case, verdict, _ in results}
    assert {case for case, verdict in verdicts.items() if verdict != "OK"} == UNSPECIFIED
    assert {verdicts[case] for case in UNSPECIFIED} == {"INFORMATIONAL"}
    closings = {case: closing for case, _, closing in results}
    unclean = {case for case, closing in closings.items() if closing not in ("OK", "INFORMATIONAL")}
    assert unclean == set()
