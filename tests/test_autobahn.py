"""The Autobahn cases against an application that echoes, on the real server.

The cases are those of the Autobahn testsuite, run by kosoku. What takes long (large messages; a
thousand compressed messages of many KiB each) is left to `make autobahn`, which runs all cases.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from conftest import Serve

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


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
@pytest.mark.parametrize("contexts", ["shared", "takeover"])
def test_every_case_passes_strictly(serve: Serve, loop: str, contexts: str) -> None:
    # kosoku takes a text that is not compressed for an error in cases 12 and 13.
    options = ["--asgi-loop", loop, "--ws-deflate-min-size", "0"]
    if contexts == "takeover":
        options.append("--ws-deflate-takeover")
    server = serve("apps.websocket_probe:application", *options)
    judge = subprocess.run(
        [sys.executable, "-c", JUDGE, f"ws://127.0.0.1:{server.port}/echo", json.dumps(CASES)],
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
