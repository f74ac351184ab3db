"""What `oxicornctl status` shows: the server at one moment, as a table."""

from __future__ import annotations

import os
from typing import Any

__all__ = ["Paint", "status"]

_CODES = {"good": "32", "bad": "31", "under way": "33", "title": "1"}


class Paint:
    """Colours, on a terminal that wants them."""

    def __init__(self, terminal: bool) -> None:
        wanted = not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
        self._on = terminal and wanted

    def __call__(self, text: str, kind: str) -> str:
        """The text, as this kind of thing is shown."""
        return f"\x1b[{_CODES[kind]}m{text}\x1b[0m" if self._on else text


_GOOD = ("serving", "confirmed", "done")
_BAD = ("rolled back", "refused", "undone", "killed", "aborting")


def _kind(state: str) -> str:
    return "good" if state in _GOOD else "bad" if state in _BAD else "under way"


def status(status: dict[str, Any], paint: Paint) -> list[str]:
    """The lines of it."""
    state = status["state"]
    lines = [
        f"Oxicorn {status['version']} (pid {status['pid']}), {paint(state, _kind(state))},"
        f" up {_time(status['uptime'])}",
        f"Generation {status['generation']}, workers wanted: {status['target']}",
        "",
        *_workers(status, paint),
        *_stems(status["stems"], paint),
        *_orphans(status.get("orphans", []), paint),
    ]
    if restart := status["restart"]:
        lines += ["", *_restart(restart, paint)]
    if upgrade := status["upgrade"]:
        lines += ["", *_upgrade(upgrade, paint)]
    return lines


_HEADING = (
    f"{'SLOT':>4} {'PID':>8} {'GENERATION':>10}  {'STATE':<11} {'AGE':>8}"
    f"  {'OPEN':>6} {'IDLE':>6} {'RECEIVING':>9} {'WAITING':>7} {'RUNNING':>7} {'SENDING':>7}"
    f" {'BUSY':>7} {'ANSWERED':>10}"
)


def _workers(status: dict[str, Any], paint: Paint) -> list[str]:
    workers = status["workers"]
    lines = [paint(_HEADING, "title")]
    for worker in sorted(workers, key=lambda worker: (worker["slot"], worker["id"])):
        state = paint(f"{worker['state']:<11}", _kind(worker["state"]))
        lines.append(
            f"{worker['slot']:>4} {worker['pid'] or '-':>8} {worker['generation']:>10}"
            f"  {state} {_time(worker['age']):>8}  {_counts(worker)}"
        )
    if len(workers) > 1:
        for sums in status["generations"]:
            all_of_it = f"{sums['generation']:>10}  {'in all':<11}"
            lines.append(f"{'':>4} {'':>8} {all_of_it} {'':>8}  {_counts(sums)}")
    return lines


def _stems(stems: list[dict[str, Any]], paint: Paint) -> list[str]:
    return [
        f"Stem of generation {stem['generation']}: pid {stem['pid'] or '-'},"
        f" {paint(stem['state'], _kind(stem['state']))}, up {_time(stem['age'])}"
        for stem in stems
    ]


def _orphans(orphans: list[dict[str, Any]], paint: Paint) -> list[str]:
    return [
        f"Worker of an arbiter that is gone: pid {orphan['pid']},"
        f" {paint(orphan['state'], _kind(orphan['state']))}"
        for orphan in orphans
    ]


def _counts(counted: dict[str, Any]) -> str:
    """Of a worker or a generation: connections by what happens on them, threads, requests."""
    is_, threads, total = counted["connections"], counted["threads"], counted["total"]
    if is_ is None:
        return f"{'-':>6}"
    busy = f"{threads['busy']}/{threads['all']}"
    return (
        f"{is_['open']:>6} {is_['idle']:>6} {is_['head'] + is_['body']:>9} {is_['waiting']:>7}"
        f" {is_['application']:>7} {is_['sending'] + is_['closing']:>7} {busy:>7}"
        f" {total['answered']:>10}"
    )


def _restart(restart: dict[str, Any], paint: Paint) -> list[str]:
    mode = f" ({restart['mode']})" if restart["mode"] else ""
    state = paint(restart["state"], _kind(restart["state"]))
    lines = [
        f"Last restart{mode}: generation {restart['generation']}, {state},"
        f" begun {_time(restart['age'])} ago"
    ]
    if restart["served_after"] is not None:
        lines.append(f"  served after {_time(restart['served_after'])}")
    return lines + _end(restart)


def _upgrade(upgrade: dict[str, Any], paint: Paint) -> list[str]:
    to = f" to {upgrade['to']}" if upgrade["to"] else ""
    state = paint(upgrade["state"], _kind(upgrade["state"]))
    began = _time(upgrade["age"])
    return [
        f"Last upgrade: from {upgrade['from']}{to}, {state}, begun {began} ago",
        *_end(upgrade),
    ]


def _end(what: dict[str, Any]) -> list[str]:
    lines = []
    if what["ended_after"] is not None:
        lines.append(f"  ended after {_time(what['ended_after'])}")
    if what["reason"]:
        lines.append(f"  reason: {what['reason']}")
    return lines


def _time(seconds: float) -> str:
    """`0.4 s`, `59 s`, `3 min`, `5 h`, `9 d`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    for unit, length, limit in (("s", 1, 120), ("min", 60, 120), ("h", 3600, 48)):
        if seconds < length * limit:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds / 86400:.0f} d"
