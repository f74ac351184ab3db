"""The words of `oxicornctl`, and those of the protocol that they become.

The same commands are understood behind the program's name, in `-c`, and at the prompt. A mistake in
the first is a usage error, as everywhere; in the others it is a command that is refused, as in
gunicornc.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from typing import NoReturn

from oxicorn.compat import gunicornc
from oxicorn.ctl.errors import Refused
from oxicorn.ctl.server import SYSTEM

__all__ = ["COMMANDS", "parse", "parse_line", "words"]

_DESCRIPTION = "Controls a running Oxicorn server. Without a command, asks for commands."
_EPILOG = f"""\
The server is found by --socket, or else in $XDG_RUNTIME_DIR and {SYSTEM},
if there is only one.

exit codes:
  0    done; with `--wait`: the new generation is confirmed
  1    the server refused, or the restart was rolled back, or the upgrade undone
  2    usage
  3    no server to ask: none found, more than one, or no permission
  4    the server went away, or gave no answer
  5    with `--wait --timeout`: not over yet, and it goes on
"""

_RESTART = "bring new code and configuration into service"
_UPGRADE = "become the version of Oxicorn that is installed now, in place"
_STATUS = "show workers, generations and the last restart"
_WORKERS = "change the number of workers"
_STOP = "stop the server gracefully"
_REOPEN = "open the log files anew, after a rotation"

COMMANDS = {
    "status": _STATUS,
    "restart [--mode hot|phased|regular] [--wait]": _RESTART,
    "upgrade [--wait]": _UPGRADE,
    "workers N": _WORKERS,
    "stop [--quick]": _STOP,
    "reopen-logs": _REOPEN,
    **gunicornc.COMMANDS,
    "help": "show this list",
}
"""What `help` shows."""


class _Line(argparse.ArgumentParser):
    """Reads a command that was not given to the program itself."""

    def error(self, message: str) -> NoReturn:
        raise Refused(f"{message}: see `help`")


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The options, and the command if there is one; ends the program for bad usage."""
    parser = argparse.ArgumentParser(
        prog="oxicornctl",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("-s", "--socket", metavar="PATH", help="the server's control socket")
    parser.add_argument(
        "-c", "--command", metavar="WORDS", dest="line", help="one command, in one argument"
    )
    parser.add_argument("-j", "--json", action="store_true", help="show what was found as JSON")
    parser.add_argument("-v", "--version", action="store_true", help="show the version and exit")
    _add_commands(parser, required=False)
    arguments = parser.parse_args(argv)
    if arguments.line is not None and arguments.command:
        parser.error("there is a command, and --command as well")
    nothing = arguments.line is None and not (arguments.command or arguments.version)
    if nothing and not sys.stdin.isatty():
        parser.error("without a terminal a command is required")
    _check(parser, arguments)
    return arguments


def parse_line(line: str, as_json: bool) -> argparse.Namespace:
    """A command in one text."""
    parser = _Line(prog="", usage=argparse.SUPPRESS)
    _add_commands(parser, required=True)
    try:
        found = shlex.split(line.lower())
    except ValueError as error:
        raise Refused(f"{error}: {line}") from None
    arguments = parser.parse_args(found, argparse.Namespace(json=as_json))
    _check(parser, arguments)
    return arguments


def words(arguments: argparse.Namespace) -> list[str]:
    """What the server is asked."""
    if gunicornc.is_ours(arguments):
        return gunicornc.words(arguments)
    asked = [arguments.command]
    match arguments.command:
        case "restart":
            asked += [arguments.mode] if arguments.mode else []
            asked += ["wait"] if arguments.wait else []
        case "upgrade":
            asked += ["wait"] if arguments.wait else []
        case "workers":
            asked.append(str(arguments.number))
        case "stop":
            asked += ["quick"] if arguments.quick else []
    return asked


def _add_commands(parser: argparse.ArgumentParser, required: bool) -> None:
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=required)
    output = argparse.ArgumentParser(add_help=False)
    output.add_argument(
        "-j", "--json", action="store_true", default=argparse.SUPPRESS, help="show it as JSON"
    )

    restart = commands.add_parser("restart", parents=[output], help=_RESTART)
    restart.add_argument(
        "--mode", choices=("hot", "phased", "regular"), help="how (default: as configured)"
    )
    upgrade = commands.add_parser("upgrade", parents=[output], help=_UPGRADE)
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
    commands.add_parser("status", parents=[output], help=_STATUS)
    workers = commands.add_parser("workers", parents=[output], help=_WORKERS)
    workers.add_argument("number", type=int, metavar="N", help="how many there should be")
    stop = commands.add_parser("stop", parents=[output], help=_STOP)
    stop.add_argument("--quick", action="store_true", help="without waiting for requests")
    commands.add_parser("reopen-logs", parents=[output], help=_REOPEN)
    gunicornc.add_commands(commands, output)
    commands.add_parser("help", parents=[output], help="list the commands")


def _seconds(text: str) -> float:
    """A time to wait for."""
    seconds = float(text)
    if not 0 < seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds above 0")
    return seconds


def _check(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> None:
    """What the parser cannot know."""
    if getattr(arguments, "timeout", None) is not None and not arguments.wait:
        parser.error("--timeout is of use with --wait only")
    if problem := gunicornc.problem(arguments):
        parser.error(problem)
