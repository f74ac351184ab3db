"""gunicornc's commands, for `oxicornctl`: their words, and what they show under gunicorn's names.

Nothing is asked or decided here: each command is a question of our own protocol, seen through
gunicorn's eyes. Beside gunicorn's names there are ours, where gunicorn knows less.

Invariant: what there is of a gunicorn's has its name and its meaning, and what there cannot be is
null, or refused with what to do instead.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from oxicorn.ctl.errors import Failure

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]

__all__ = [
    "COMMANDS",
    "add_commands",
    "help_of",
    "is_ours",
    "problem",
    "refusal",
    "text",
    "view",
    "words",
]

COMMANDS = {
    "show all": "show arbiter and workers",
    "show workers": "list the workers",
    "show stats": "show uptime and numbers of workers",
    "show listeners": "list the listening sockets",
    "show config": "show the settings in effect",
    "worker add [N]": "so many workers more (1)",
    "worker remove [N]": "so many workers fewer (1), but at least one stays",
    "worker kill <PID>": "replace a worker: its successor boots, then it finishes and leaves",
    "reload": "the same as restart",
    "reopen": "the same as reopen-logs",
    "shutdown [graceful|quick]": "the same as stop",
    "help": "show this list",
}
"""What `help` says of them."""

_DIRTY = (
    "there are no dirty arbiters here: "
    "run long jobs in a task queue, such as Celery, Dramatiq or RQ"
)
_SHOWN = ("all", "workers", "stats", "listeners", "config", "dirty")
_NAMES = ("show", "worker", "dirty", "reload", "reopen", "shutdown")


def add_commands(commands: Commands, output: argparse.ArgumentParser) -> None:
    """Adds them to a parser; `output` has the options that all have."""
    show = commands.add_parser(
        "show", help="show all, workers, stats, listeners, config", parents=[output]
    )
    show.add_argument("what", choices=_SHOWN)
    worker = commands.add_parser("worker", help="add [N], remove [N], kill PID", parents=[output])
    worker.add_argument("action", choices=("add", "remove", "kill"))
    worker.add_argument("number", type=int, nargs="?", metavar="N|PID")
    dirty = commands.add_parser("dirty", parents=[output])
    dirty.add_argument("rest", nargs="*")
    commands.add_parser("reload", help=COMMANDS["reload"], parents=[output])
    commands.add_parser("reopen", help=COMMANDS["reopen"], parents=[output])
    shutdown = commands.add_parser("shutdown", help="the same as stop [--quick]", parents=[output])
    shutdown.add_argument("mode", nargs="?", default="graceful", choices=("graceful", "quick"))
    commands.add_parser("help", help="list the commands", parents=[output])


def is_ours(arguments: argparse.Namespace) -> bool:
    """Whether it is one of gunicornc's commands."""
    return arguments.command in _NAMES


def help_of(table: Mapping[str, str], as_json: bool) -> str:
    """What `help` says: each command, and what it does."""
    if as_json:
        return json.dumps({"commands": dict(table)}, indent=2)
    width = max(map(len, table))
    return "\n".join(f"{name:{width}}  {does}" for name, does in table.items())


def problem(arguments: argparse.Namespace) -> str | None:
    """What the parser cannot know."""
    if arguments.command == "worker" and arguments.action == "kill" and arguments.number is None:
        return "worker kill needs the PID of a worker"
    return None


def words(arguments: argparse.Namespace) -> list[str]:
    """What the server is asked."""
    match arguments.command:
        case "show" if arguments.what == "config":
            return ["config"]
        case "show" if arguments.what != "dirty":
            return ["status"]
        case "worker":
            number = 1 if arguments.number is None else arguments.number
            return ["worker", arguments.action, str(number)]
        case "reload":
            return ["restart"]
        case "reopen":
            return ["reopen-logs"]
        case "shutdown":
            return ["stop", "quick"] if arguments.mode == "quick" else ["stop"]
    raise Failure(_DIRTY)


# What is shown, under gunicorn's names.


def view(answer: dict[str, Any], arguments: argparse.Namespace) -> dict[str, Any]:
    """What gunicornc would show of it."""
    try:
        match arguments.command:
            case "show":
                return _VIEWS[arguments.what](answer)
            case "worker":
                return _changed(answer, arguments)
            case "shutdown":
                return {"status": "shutting_down", "mode": arguments.mode}
    except KeyError as missing:
        raise Failure(
            f"the server that runs is of another version, which does not tell {missing}:"
            " see `oxicornctl upgrade`"
        ) from None
    return {"status": "reloading" if arguments.command == "reload" else "reopening"}


def refusal(reason: str, arguments: argparse.Namespace) -> str:
    """What a script is told of a refusal, besides the exit code."""
    told = arguments.command == "worker" and arguments.json
    return json.dumps({"success": False, "error": reason}, indent=2) if told else ""


def _changed(answer: dict[str, Any], arguments: argparse.Namespace) -> dict[str, Any]:
    if arguments.action == "kill":
        return {"success": True, "killed": arguments.number}
    previous, total = answer["previous"], answer["target"]
    verb = "added" if arguments.action == "add" else "removed"
    return {verb: abs(total - previous), "previous": previous, "total": total}


def _workers(status: dict[str, Any]) -> dict[str, Any]:
    workers = [_worker(worker) for worker in status["workers"] if worker["pid"]]
    return {"workers": workers, "count": len(workers)}


def _worker(worker: dict[str, Any]) -> dict[str, Any]:
    """`age` counts workers, as gunicorn's does."""
    return {
        "pid": worker["pid"],
        "age": worker["id"],
        "booted": worker["booted"],
        "aborted": worker["state"] in ("aborting", "killed"),
        "last_heartbeat": None,
        "slot": worker["slot"],
        "generation": worker["generation"],
        "state": worker["state"],
        "uptime": worker["age"],
        "connections": worker["connections"],
        "threads": worker["threads"],
        "total": worker["total"],
    }


def _all(status: dict[str, Any]) -> dict[str, Any]:
    workers = [{**worker, "type": "web"} for worker in _workers(status)["workers"]]
    return {
        "arbiter": {"pid": status["pid"], "type": "arbiter", "role": "master"},
        "web_workers": workers,
        "web_worker_count": len(workers),
        "dirty_arbiter": None,
        "dirty_workers": [],
        "dirty_worker_count": 0,
    }


def _stats(status: dict[str, Any]) -> dict[str, Any]:
    total = status["total"]
    return {
        "uptime": status["uptime"],
        "pid": status["pid"],
        "workers_current": _workers(status)["count"],
        "workers_target": status["target"],
        "workers_spawned": total["spawned"],
        "workers_killed": total["killed"],
        "reloads": total["restarts"],
        "dirty_arbiter_pid": None,
        "version": status["version"],
        "generation": status["generation"],
    }


def _listeners(status: dict[str, Any]) -> dict[str, Any]:
    return {"listeners": status["listeners"], "count": len(status["listeners"])}


def _config(answer: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = answer["config"]
    return found


_VIEWS = {
    "all": _all,
    "workers": _workers,
    "stats": _stats,
    "listeners": _listeners,
    "config": _config,
}


# The same as text.


def text(seen: dict[str, Any], arguments: argparse.Namespace) -> str:
    """What a person is shown."""
    if arguments.command != "show":
        return "\n".join(f"{name}: {_plain(value)}" for name, value in seen.items())
    match arguments.what:
        case "all":
            lines = [f"Arbiter: pid {seen['arbiter']['pid']}", "", *_table_of(seen["web_workers"])]
        case "workers":
            lines = _table_of(seen["workers"])
        case "listeners":
            rows = [(one["address"], one["type"], one["fd"]) for one in seen["listeners"]]
            lines = _table(("ADDRESS", "TYPE", "FD"), rows)
        case _:
            lines = [f"{name}: {_plain(value)}" for name, value in seen.items()]
    return "\n".join(lines)


def _table_of(workers: Sequence[dict[str, Any]]) -> list[str]:
    keys = ("pid", "age", "booted", "state", "generation")
    rows = [[_plain(worker[key]) for key in keys] for worker in workers]
    return [*_table([key.upper() for key in keys], rows), "", f"Workers: {len(workers)}"]


def _table(heads: Sequence[str], rows: Sequence[Sequence[object]]) -> list[str]:
    lines = [[str(cell) for cell in row] for row in (heads, *rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return [
        "  ".join(f"{cell:{width}}" for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    ]


def _plain(value: object) -> str:
    match value:
        case bool():
            return "yes" if value else "no"
        case None:
            return "none"
        case list():
            return ", ".join(_plain(one) for one in value)
    return str(value)
