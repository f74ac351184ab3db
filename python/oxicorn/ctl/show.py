"""Showing what a server has answered: as text, or as JSON.

Invariant: with JSON, standard output has one JSON value and nothing else.
"""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from oxicorn.compat import gunicornc
from oxicorn.ctl.status import Paint, status

__all__ = ["answer", "reason", "say"]


def answer(answer: dict[str, Any], arguments: argparse.Namespace) -> None:
    """What was asked for, or that it is done; `answer` is without its `ok`."""
    if gunicornc.is_ours(arguments):
        seen = gunicornc.view(answer, arguments)
        say(json.dumps(seen, indent=2) if arguments.json else gunicornc.text(seen, arguments))
    elif arguments.json:
        say(json.dumps(answer))
    else:
        say(_text(answer, arguments))


def _text(answer: dict[str, Any], arguments: argparse.Namespace) -> str:
    match arguments.command:
        case "status":
            return "\n".join(status(answer, Paint(sys.stdout.isatty())))
        case "restart" if arguments.wait:
            return f"Generation {answer['generation']} is confirmed."
        case "upgrade" if arguments.wait:
            return f"Upgraded, and generation {answer['generation']} is confirmed."
    return ""


def reason(answer: dict[str, Any], arguments: argparse.Namespace) -> str:
    """Why the server did not do it."""
    error = answer.get("error", "refused")
    if arguments.command == "restart" and "generation" in answer:
        return f"not restarted, generation {answer['generation']} goes on serving: {error}"
    if arguments.command == "upgrade" and "generation" in answer:
        return f"the workers of generation {answer['generation']} go on serving: {error}"
    return f"refused: {error}"


def say(text: str) -> None:
    """Prints it, if it is anything."""
    if text:
        print(text, flush=True)
