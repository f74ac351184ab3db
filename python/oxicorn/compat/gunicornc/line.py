"""A command in one text, as `-c` and the prompt have it.

A mistake in it is no usage error of the program, but a command that is refused, as in gunicornc.
"""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Callable
from typing import NoReturn

from oxicorn.ctl.errors import Failure

__all__ = ["Line", "parse"]


class Line(argparse.ArgumentParser):
    """Reads a command that was not given to the program itself."""

    def error(self, message: str) -> NoReturn:
        """Refuses the command."""
        raise Failure(f"{message}: see `help`")


def parse(
    line: str, as_json: bool, complete: Callable[[argparse.ArgumentParser], object]
) -> tuple[Line, argparse.Namespace]:
    """Reads the text by a parser to which `complete` has added the commands."""
    parser = Line(prog="", usage=argparse.SUPPRESS)
    complete(parser)
    try:
        words = shlex.split(line.lower())
    except ValueError as error:
        raise Failure(f"{error}: {line}") from None
    return parser, parser.parse_args(words, argparse.Namespace(json=as_json))
