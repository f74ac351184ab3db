"""The words of `oxicornctl`, and those of the protocol that they become.

The same commands are understood behind the program's name, in `-c`, and at the prompt. A mistake in
the first is a usage error, as everywhere; in the others it is a command that is refused, as in
gunicornc.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from oxicorn.compat import gunicornc
from oxicorn.compat.gunicornc import line
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

COMMANDS = {
    "status": "show workers, generations and the last restart",
    "restart [--mode hot|phased|regular] [--wait]": "bring new code and configuration into service",
    "upgrade [--wait]": "become the version of Oxicorn that is installed now, in place",
    "workers N": "change the number of workers",
    "stop [--quick]": "stop the server gracefully",
    "reopen-logs": "open the log files anew, after a rotation",
    **gunicornc.COMMANDS,
}
"""What `help` shows."""


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
    _add_commands(parser).required = False
    arguments = parser.parse_args(argv)
    if arguments.line is not None and arguments.command:
        parser.error("there is a command, and --command as well")
    nothing = arguments.line is None and not (arguments.command or arguments.version)
    if nothing and not sys.stdin.isatty():
        parser.error("without a terminal a command is required")
    _check(parser, arguments)
    return arguments


def parse_line(text: str, as_json: bool) -> argparse.Namespace:
    """A command in one text."""
    parser, arguments = line.parse(text, as_json, _add_commands)
    _check(parser, arguments)
    return arguments


def words(arguments: argparse.Namespace) -> list[str]:
    """What the server is asked."""
    if gunicornc.is_ours(arguments):
        return gunicornc.words(arguments)
    given = (getattr(arguments, name, None) for name in ("mode", "number"))
    flags = (name for name in ("wait", "quick") if getattr(arguments, name, False))
    return [arguments.command, *(str(value) for value in given if value is not None), *flags]


def _add_commands(parser: argparse.ArgumentParser) -> argparse.Action:
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    names = {name.split()[0]: does for name, does in reversed(COMMANDS.items())}
    output = argparse.ArgumentParser(add_help=False)
    output.add_argument(
        "-j", "--json", action="store_true", default=argparse.SUPPRESS, help="show it as JSON"
    )

    def add(name: str) -> argparse.ArgumentParser:
        return commands.add_parser(name, parents=[output], help=names[name])

    restart = add("restart")
    restart.add_argument(
        "--mode", choices=("hot", "phased", "regular"), help="how (default: as configured)"
    )
    upgrade = add("upgrade")
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
    add("status")
    workers = add("workers")
    workers.add_argument("number", type=int, metavar="N", help="how many there should be")
    stop = add("stop")
    stop.add_argument("--quick", action="store_true", help="without waiting for requests")
    add("reopen-logs")
    gunicornc.add_commands(commands, output)
    return commands


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
