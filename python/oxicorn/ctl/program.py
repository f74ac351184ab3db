"""What `oxicornctl` does from its words to its exit code.

Invariant: each failure is one message on standard error, and an exit code of its own.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from oxicorn.compat import gunicornc
from oxicorn.compat.gunicornc import prompt
from oxicorn.ctl import command_line, server, show
from oxicorn.ctl.errors import INTERRUPTED, REFUSED, Failure
from oxicorn.output import let_go

__all__ = ["run"]


def run(argv: Sequence[str] | None) -> int:
    """Runs the command with `argv` (without the program's name) and returns the exit code."""
    arguments = command_line.parse(argv)
    try:
        return _obey(arguments)
    except Failure as failure:
        print(failure, file=sys.stderr)
        return failure.code
    except BrokenPipeError:
        let_go()
        return REFUSED
    except KeyboardInterrupt:
        print(file=sys.stderr)
        return INTERRUPTED


def _obey(arguments: argparse.Namespace) -> int:
    path, as_json = arguments.socket, arguments.json
    if arguments.version:
        from oxicorn import __version__

        print(f"oxicornctl (oxicorn {__version__})")
    elif arguments.command:
        _perform(arguments, path)
    elif arguments.line is not None:
        _perform(command_line.parse_line(arguments.line, as_json), path)
    else:
        found = server.find(path)
        prompt.converse(
            f"Connected to {found}",
            lambda line: _perform(command_line.parse_line(line, as_json), found),
        )
    return 0


def _perform(arguments: argparse.Namespace, path: str | None) -> None:
    """One command, to its end."""
    if arguments.command == "help":
        return show.say(gunicornc.help_of(command_line.COMMANDS, arguments.json))
    words = command_line.words(arguments)
    waits = "wait" in words
    answer = server.ask(path, words, waits, arguments.timeout if waits else None)
    if not answer.pop("ok", False):
        show.say(gunicornc.refusal(answer.get("error", ""), arguments))
        raise Failure(show.reason(answer, arguments))
    show.answer(answer, arguments)
