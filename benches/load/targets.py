"""What Oxicorn promises to reach, judged on the medians of a run.

Every promise is a line of the report, met or missed; one that the run cannot judge says so. Where
no lead is promised, "level" is an outcome too: the medians differ, and the rounds cannot tell by
more than chance who is cheaper.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from results import CEILING, Results

US = "oxicorn"
OURS = frozenset({US, CEILING})
RATE_LIMIT = 3200.0
RATE_ASKED = 3120.0
IDLE_BYTES_MAX = 1024.0
ASGI = (
    "asgi_hello",
    "asgi_fastapi_json",
    "asgi_echo_10k",
    "asgi_await_10ms",
    "asgi_websocket_echo",
)


@dataclass(frozen=True)
class Verdict:
    """One promise and what became of it."""

    promise: str
    outcome: str
    figures: str


def _judge(promise: str, ours: float | None, limit: float | None, figures: str) -> Verdict:
    if ours is None or limit is None:
        return Verdict(promise, "not measured", "")
    return Verdict(promise, "met" if ours <= limit else "MISSED", figures)


def _best_peer(results: Results, scenario: str, key: str) -> tuple[str, float] | None:
    found = [
        (value, name)
        for name in results.cells.get(scenario, {})
        if name not in OURS and (value := results.value(scenario, name, key)) is not None
    ]
    if not found:
        return None
    value, name = min(found)
    return name, value


def _against_best(results: Results, scenario: str, key: str, factor: float) -> Verdict:
    ours = results.value(scenario, US, key)
    best = _best_peer(results, scenario, key)
    equal = "never later than" if key == "p99_ms" else "never dearer than"
    wording = equal if factor == 1 else f"{factor} × cheaper than"
    promise = f"{scenario}: {wording} the best peer ({key})"
    if ours is None or best is None:
        return _judge(promise, None, None, "")
    name, value = best
    least, most = _interval(results.ratios(scenario, US, name, key))
    figures = f"{ours:.2f} against {value:.2f} of {name}; {least:.2f} to {most:.2f} of it by rounds"
    verdict = _judge(promise, ours, value / factor, figures)
    is_level = factor == 1 and verdict.outcome == "MISSED" and least <= 1
    return replace(verdict, outcome="level") if is_level else verdict


def _interval(ratios: Sequence[float]) -> tuple[float, float]:
    """Where the true median of `ratios` lies with nine chances in ten, by their order alone.

    Fewer than five ratios cannot tell as much: then it is all of their range.
    """
    ordered, rounds = sorted(ratios), len(ratios)
    left_out, chance = 0, 2 / 2**rounds
    while True:
        chance += 2 * math.comb(rounds, left_out + 1) / 2**rounds
        if chance > 0.1:
            return ordered[left_out], ordered[-1 - left_out]
        left_out += 1


def _against(results: Results, scenario: str, other: str, factor: float, text: str) -> Verdict:
    ours = results.value(scenario, US, "cpu_us")
    theirs = results.value(scenario, other, "cpu_us")
    if ours is None or theirs is None:
        return _judge(f"{scenario}: {text}", None, None, "")
    figures = f"{ours:.2f} against {theirs:.2f} of {other}"
    if other != CEILING:
        figures += f", {theirs / ours:.2f} ×"
        # It takes part in the scenarios of WSGI, of which those of ASGI are the like.
        floor = results.value(scenario.removeprefix("asgi_"), CEILING, "cpu_us")
        figures += "" if floor is None else f"; without Python it would be {theirs / floor:.2f} ×"
    return _judge(f"{scenario}: {text}", ours, theirs * factor, figures)


def _under(results: Results, scenario: str, key: str, limit: float, text: str) -> Verdict:
    ours = results.value(scenario, US, key)
    figures = "" if ours is None else f"{ours:.2f}, limit {limit:.2f}"
    return _judge(f"{scenario}: {text}", ours, limit, figures)


def _rate(results: Results) -> Verdict:
    rate = results.value("sleep_10ms_32t", US, "rate")
    promise = f"sleep_10ms_32t: at least {RATE_ASKED:.0f} of {RATE_LIMIT:.0f} requests/s"
    figures = "" if rate is None else f"{rate:.0f} requests/s"
    return _judge(promise, None if rate is None else -rate, -RATE_ASKED, figures)


def _slow(results: Results, scenario: str) -> Verdict:
    """Unchanged means within the noise of a p99: 1.5 × and a millisecond."""
    promise = f"{scenario}: p99 of the normal client unchanged, every request answered"
    alone = results.value(scenario, US, "p99_alone_ms")
    beside = results.value(scenario, US, "p99_beside_ms")
    unanswered = results.value(scenario, US, "unanswered")
    if alone is None or beside is None or unanswered is None:
        return _judge(promise, None, None, "")
    figures = f"{alone:.2f} ms alone, {beside:.2f} ms beside, {unanswered:.0f} unanswered"
    return _judge(promise, beside if not unanswered else float("inf"), alone * 1.5 + 1, figures)


def verdicts(results: Results) -> Iterator[Verdict]:
    """Every promise, judged."""
    for scenario in ("hello", "browser"):
        yield _against_best(results, scenario, "cpu_us", 1.05)
        yield _against(results, scenario, "granian", 1 / 2.2, "2.2 × cheaper than granian")
        yield _against(results, scenario, CEILING, 1.25, "within 1.25 × of no Python")
    for scenario in ("body_in_10k", "body_out_10k", "stream", "flask_json", "django_json"):
        yield _against_best(results, scenario, "cpu_us", 1)
    yield _against_best(results, "sleep_10ms_32t", "cpu_us", 1)
    yield _rate(results)
    yield _against_best(results, "mixed_50ms", "p99_ms", 1)
    yield _against(results, "asgi_hello", "uvicorn", 1 / 3.5, "3.5 × cheaper than uvicorn")
    for scenario in ASGI:
        yield _against_best(results, scenario, "cpu_us", 1)
        yield _against_best(results, scenario, "p99_ms", 1)
    yield _under(results, "idle_memory", "bytes_each", IDLE_BYTES_MAX, "under 1 KiB each")
    yield _under(results, "idle_cpu", "ticks", 0, "no CPU tick in 10 s")
    yield _under(results, "idle_cpu", "voluntary_switches", 0, "no voluntary wake-up in 10 s")
    for kinds in ("heads", "bodies", "readers", "clients"):
        yield _slow(results, f"slow_{kinds}")
