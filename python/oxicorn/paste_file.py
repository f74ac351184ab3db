"""PasteDeploy files (`paste`): an application that an ini file describes, and what that file says.

The package `PasteDeploy` reads the file; here it is found, and named in messages. Not for starting
the server from such a file, which is `oxicorn.compat.app.pasterapp`.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import re

from oxicorn._native import Config
from oxicorn.config_file import Layer
from oxicorn.errors import ApplicationError, ApplicationRaised, OperatorError

__all__ = ["global_values", "has_logging", "layer", "load", "make"]


def layer(uri: str) -> Layer:
    """The settings that follow from serving `uri`, a file and perhaps `#NAME`."""
    file = os.path.abspath(uri.partition("#")[0])
    if not _is_installed():
        raise OperatorError("paste needs the package PasteDeploy, which is missing.")
    if not os.path.exists(file):
        raise OperatorError(f"paste: {file!r} does not exist.")
    settings: dict[str, object] = {"default_proc_name": file}
    if has_logging(file):
        settings["logconfig"] = file
    return file, settings, False


def load(config: Config, directory: str) -> object:
    """The application that the file, named as seen from `directory`, describes."""
    uri = os.path.join(directory, config.paste or "")
    try:
        return make(uri, global_values(config.raw_paste_global_conf))
    except ApplicationError:
        raise
    except (Exception, SystemExit) as error:
        raise ApplicationRaised(f"The application of {uri!r} could not be made:", error) from None


def make(uri: str, given: dict[str, str] | None = None, name: str | None = None) -> object:
    """Has PasteDeploy make an application, of `FILE[#NAME]`; `given` are global values."""
    loadapp = importlib.import_module("paste.deploy").loadapp
    full = uri if ":" in uri else f"config:{uri}"
    return loadapp(full, name=name, relative_to=os.getcwd(), global_conf=given)


def global_values(entries: list[str]) -> dict[str, str]:
    """`raw_paste_global_conf` as PasteDeploy wants it; a backslash is before a key's own `=`."""
    pairs = (re.split(r"(?<!\\)=", entry, maxsplit=1) for entry in entries)
    try:
        return {_plain(name): _plain(value) for name, value in pairs}
    except ValueError:
        text = f"raw_paste_global_conf = {entries!r}: expected entries of the form KEY=VALUE."
        raise OperatorError(text) from None


def has_logging(file: str) -> bool:
    """Whether the file configures Python's logging too."""
    # Only here: most servers have no such file.
    import configparser

    parser = configparser.RawConfigParser(strict=False)
    try:
        parser.read([file])
    except (configparser.Error, UnicodeDecodeError):
        # Whoever reads it for good says what is wrong.
        return False
    return parser.has_section("loggers")


def _plain(text: str) -> str:
    return text.replace("\\=", "=")


def _is_installed() -> bool:
    try:
        return importlib.util.find_spec("paste.deploy") is not None
    except ModuleNotFoundError:
        return False
