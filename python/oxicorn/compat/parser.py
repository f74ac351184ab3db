"""The command line for programs that embed the server and read it themselves: an `argparse` parser.

Not for the command `oxicorn`, whose command line is native.
"""

from __future__ import annotations

import argparse
from functools import partial
from typing import Any

from oxicorn._native import ConfigError, __version__, check_setting, setting_rows

__all__ = ["parser"]


def parser(usage: str | None, prog: str | None) -> argparse.ArgumentParser:
    """Every setting's flags; what was not typed is None, and what belongs to no flag is `args`."""
    made = argparse.ArgumentParser(usage=usage, prog=prog)
    version = f"%(prog)s (version {__version__})\n"
    made.add_argument("-v", "--version", action="version", version=version)
    made.add_argument("args", nargs="*", help=argparse.SUPPRESS)
    for row in setting_rows():
        if row["cli"]:
            made.add_argument(*row["cli"], **_how(row))
        if row["cli_off"]:
            no: dict[str, Any] = {"action": "store_const", "const": False, "dest": row["name"]}
            made.add_argument(*row["cli_off"], **no, help=argparse.SUPPRESS)
    return made


def _how(row: dict[str, Any]) -> dict[str, Any]:
    how = {"dest": row["name"], "help": row["short"].replace("%", "%%"), "default": None}
    match row["takes"]:
        case "nothing":
            return {**how, "action": "store_const", "const": True}
        case "each":
            return {**how, "action": "append", "metavar": row["meta"]}
        case "perhaps":
            bare = {"nargs": "?", "const": row["bare"]}
            return {**how, **bare, "metavar": row["meta"], "type": _reader(row)}
        case _:
            return {**how, "metavar": row["meta"], "type": _reader(row)}


def _reader(row: dict[str, Any]) -> partial[Any]:
    return partial(_read, row["name"])


def _read(name: str, text: str) -> Any:
    try:
        return check_setting(name, text)
    except ConfigError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
