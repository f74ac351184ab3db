"""The command `oxicornctl`: asks a running server for things, over its control socket.

The protocol is the server's (one line of words, answered by one line of JSON); here are only the
command line, finding the socket, and showing the answer. Nothing of the server is imported but its
version, and nothing is decided that the server could decide.
"""

from __future__ import annotations

import argparse
import contextlib
import glob
import json
import os
import socket
import struct
import sys
from collections.abc import Sequence
from typing import Any

from oxicorn.output import let_go

__all__ = ["main"]

REFUSED = 1
UNREACHABLE = 3
LOST = 4
UNDER_WAY = 5
INTERRUPTED = 130

_PROTOCOL = "oxicorn/1"
_SYSTEM = "/run/oxicorn"
_PATTERN = "oxicorn-*.ctl"
_PATIENCE = 10.0
"""Seconds for an answer that does not wait for the end of a restart."""

_DESCRIPTION = "Controls a running Oxicorn server."
_EPILOG = f"""\
The server is found by --socket, or else in $XDG_RUNTIME_DIR and {_SYSTEM},
if there is only one.

exit codes:
  0    done; with `--wait`: the new generation is confirmed
  1    the server refused, or the restart was rolled back, or the upgrade undone
  2    usage
  3    no server to ask: none found, more than one, or no permission
  4    the server went away, or gave no answer
  5    with `--wait --timeout`: not over yet, and it goes on
"""


class Unreachable(Exception):
    """There is no server to ask; the message says why, and what to do."""

    code = UNREACHABLE


class Lost(Unreachable):
    """A server was asked, and there is no answer."""

    code = LOST


class UnderWay(Unreachable):
    """What was asked for has begun, and was not over in time."""

    code = UNDER_WAY


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command with `argv` (without the program's name) and returns the exit code."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    if getattr(arguments, "timeout", None) is not None and not arguments.wait:
        parser.error("--timeout is of use with --wait only")
    try:
        with _connect(arguments.socket) as connection:
            answer = _ask(connection, arguments)
        return _show(answer, arguments)
    except Unreachable as error:
        print(f"oxicornctl: {error}", file=sys.stderr)
        return error.code
    except BrokenPipeError:
        let_go()
        return REFUSED
    except KeyboardInterrupt:
        return INTERRUPTED


# The command line.


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="oxicornctl",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--socket", metavar="PATH", help="the server's control socket")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)

    restart = commands.add_parser("restart", help="bring new code and configuration into service")
    restart.add_argument(
        "--mode", choices=("hot", "phased", "regular"), help="how (default: as configured)"
    )
    upgrade = commands.add_parser(
        "upgrade", help="become the version of Oxicorn that is installed now, in place"
    )
    for command in (restart, upgrade):
        command.add_argument(
            "--wait", action="store_true", help="until it is confirmed (0) or has failed (1)"
        )
        command.add_argument(
            "--timeout",
            type=_seconds,
            metavar="SECONDS",
            help="with --wait: not for longer than this (5)",
        )
    status = commands.add_parser("status", help="show workers, generations and the last restart")
    status.add_argument("--json", action="store_true", help="as the server says it")
    workers = commands.add_parser("workers", help="change the number of workers")
    workers.add_argument("number", type=int, metavar="N", help="how many there should be")
    stop = commands.add_parser("stop", help="stop the server gracefully")
    stop.add_argument("--quick", action="store_true", help="without waiting for requests")
    commands.add_parser("reopen-logs", help="open the log files anew, after a rotation")
    return parser


def _seconds(text: str) -> float:
    """A time to wait for."""
    seconds = float(text)
    if not 0 < seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds above 0")
    return seconds


def _request(arguments: argparse.Namespace) -> str:
    words = [_PROTOCOL, arguments.command]
    match arguments.command:
        case "restart":
            words += [arguments.mode] if arguments.mode else []
            words += ["wait"] if arguments.wait else []
        case "upgrade":
            words += ["wait"] if arguments.wait else []
        case "workers":
            words.append(str(arguments.number))
        case "stop":
            words += ["quick"] if arguments.quick else []
    return " ".join(words)


# Finding the server.


def _connect(path: str | None) -> socket.socket:
    if path is not None:
        return _connect_to(path)
    found: dict[str, socket.socket] = {}
    forbidden: list[str] = []
    for candidate in _candidates():
        try:
            found[candidate] = _open(candidate)
        except PermissionError:
            forbidden.append(candidate)
        except OSError:
            continue
    if len(found) == 1:
        return found.popitem()[1]
    for connection in found.values():
        connection.close()
    raise Unreachable(_which(list(found), forbidden))


def _candidates() -> list[str]:
    """Where a server makes its control socket if it is not told where."""
    own = os.environ.get("XDG_RUNTIME_DIR", "")
    folders = [own, _SYSTEM] if os.path.isabs(own) else [_SYSTEM]
    paths = (glob.glob(os.path.join(glob.escape(folder), _PATTERN)) for folder in folders)
    return sorted(path for found in paths for path in found)


def _connect_to(path: str) -> socket.socket:
    try:
        return _open(path)
    except FileNotFoundError:
        advice = "is a server running with this --control-socket?"
        raise Unreachable(f"there is no {path}: {advice}") from None
    except ConnectionRefusedError:
        raise Unreachable(f"nobody listens on {path}: its server has ended.") from None
    except PermissionError:
        raise Unreachable(f"no permission for {path}: {_AS_THE_USER}") from None
    except OSError as error:
        raise Unreachable(f"cannot connect to {path}: {error}") from None


def _open(path: str) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        # A socket with Python's own timeout does not wait for a place in the server's queue.
        patience = struct.pack("@ll", int(_PATIENCE), 0)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, patience)
        connection.connect(path)
        connection.settimeout(_PATIENCE)
    except BlockingIOError:
        connection.close()
        raise Lost(f"the server of {path} accepts no connection.") from None
    except BaseException:
        connection.close()
        raise
    return connection


_AS_THE_USER = "run oxicornctl as the user that runs the server, or as root."


def _which(found: list[str], forbidden: list[str]) -> str:
    if found:
        choices = "\n".join(f"  --socket {path}" for path in found)
        return f"more than one server is running; choose one:\n{choices}"
    if forbidden:
        return f"no permission for {', '.join(forbidden)}: {_AS_THE_USER}"
    places = [os.environ.get("XDG_RUNTIME_DIR") or "$XDG_RUNTIME_DIR (not set)", _SYSTEM]
    return (
        f"no running server found in {' and '.join(places)}.\n"
        "Start it with --control-socket PATH, and ask with --socket PATH."
    )


# Asking.


def _ask(connection: socket.socket, arguments: argparse.Namespace) -> dict[str, Any]:
    waits = arguments.command in ("restart", "upgrade") and arguments.wait
    try:
        if waits:
            connection.settimeout(arguments.timeout)
        # A server that does not want to hear has said why.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            connection.sendall(f"{_request(arguments)}\n".encode())
        line = _line(connection)
    except TimeoutError:
        if waits:
            raise UnderWay(
                f"the {arguments.command} is not over after {arguments.timeout:g} s, and goes on:"
                " see `oxicornctl status`."
            ) from None
        raise Lost(f"the server gave no answer within {_PATIENCE:g} s.") from None
    except OSError as error:
        raise Lost(f"the connection to the server was lost: {error}") from None
    try:
        answer = json.loads(line)
    except ValueError:
        raise Lost("the server went away before it answered.") from None
    if not isinstance(answer, dict):
        raise Lost("this is no answer of an Oxicorn server.")
    return answer


def _line(connection: socket.socket) -> bytes:
    line = bytearray()
    while not line.endswith(b"\n"):
        more = connection.recv(65536)
        if not more:
            break
        line += more
    return bytes(line)


# Showing the answer.


def _show(answer: dict[str, Any], arguments: argparse.Namespace) -> int:
    if not answer.get("ok"):
        print(f"oxicornctl: {_failure(answer, arguments.command)}", file=sys.stderr)
        return REFUSED
    match arguments.command:
        case "status" if arguments.json:
            del answer["ok"]
            print(json.dumps(answer))
        case "status":
            print("\n".join(_status(answer, _Paint(sys.stdout.isatty()))))
        case "restart" if arguments.wait:
            print(f"Generation {answer['generation']} is confirmed.")
        case "upgrade" if arguments.wait:
            print(f"Upgraded, and generation {answer['generation']} is confirmed.")
    sys.stdout.flush()
    return 0


def _failure(answer: dict[str, Any], command: str) -> str:
    error = answer.get("error", "refused")
    if command == "restart" and "generation" in answer:
        return f"not restarted, generation {answer['generation']} goes on serving: {error}"
    if command == "upgrade" and "generation" in answer:
        return f"the workers of generation {answer['generation']} go on serving: {error}"
    return f"refused: {error}"


_CODES = {"good": "32", "bad": "31", "under way": "33", "title": "1"}


class _Paint:
    """Colours, on a terminal that wants them."""

    def __init__(self, terminal: bool) -> None:
        wanted = not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
        self._on = terminal and wanted

    def __call__(self, text: str, kind: str) -> str:
        return f"\x1b[{_CODES[kind]}m{text}\x1b[0m" if self._on else text


_GOOD = ("serving", "confirmed", "done")
_BAD = ("rolled back", "refused", "undone", "killed", "aborting")


def _kind(state: str) -> str:
    return "good" if state in _GOOD else "bad" if state in _BAD else "under way"


def _status(status: dict[str, Any], paint: _Paint) -> list[str]:
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


def _workers(status: dict[str, Any], paint: _Paint) -> list[str]:
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


def _stems(stems: list[dict[str, Any]], paint: _Paint) -> list[str]:
    return [
        f"Stem of generation {stem['generation']}: pid {stem['pid'] or '-'},"
        f" {paint(stem['state'], _kind(stem['state']))}, up {_time(stem['age'])}"
        for stem in stems
    ]


def _orphans(orphans: list[dict[str, Any]], paint: _Paint) -> list[str]:
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


def _restart(restart: dict[str, Any], paint: _Paint) -> list[str]:
    mode = f" ({restart['mode']})" if restart["mode"] else ""
    state = paint(restart["state"], _kind(restart["state"]))
    lines = [
        f"Last restart{mode}: generation {restart['generation']}, {state},"
        f" begun {_time(restart['age'])} ago"
    ]
    if restart["served_after"] is not None:
        lines.append(f"  served after {_time(restart['served_after'])}")
    return lines + _end(restart)


def _upgrade(upgrade: dict[str, Any], paint: _Paint) -> list[str]:
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


if __name__ == "__main__":
    sys.exit(main())
