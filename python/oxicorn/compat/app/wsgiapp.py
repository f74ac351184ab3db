"""gunicorn's `app.wsgiapp`: the command as a class, and as a function."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from oxicorn import cli, paste_file
from oxicorn.compat import util
from oxicorn.compat.app.base import Application
from oxicorn.compat.errors import ConfigError

__all__ = ["WSGIApplication", "run"]


class WSGIApplication(Application):
    """Serves what the command line names, or `wsgi_app`, or `paste`."""

    app_uri: str | None = None

    def init(
        self, parser: argparse.ArgumentParser, opts: argparse.Namespace, args: Sequence[str]
    ) -> Any:
        """Finds out what to serve."""
        self.app_uri = None
        if opts.paste:
            self.app_uri = os.path.abspath(opts.paste)
            return paste_file.layer(opts.paste)[1]
        if args:
            self.cfg.set("default_proc_name", args[0])
            self.app_uri = args[0]
        return None

    def load_config(self) -> None:
        """As the command does."""
        super().load_config()
        if self.app_uri is None:
            self.app_uri = self.cfg.wsgi_app
        if self.app_uri is None:
            raise ConfigError("No application module specified.")

    def load_wsgiapp(self) -> Any:
        """Imports it."""
        return util.import_app(self.app_uri or "")

    def load_pasteapp(self) -> Any:
        """Has PasteDeploy make it."""
        return paste_file.make(self.app_uri or "", self.cfg.paste_global_conf)

    def load(self) -> Any:
        """The application."""
        return self.load_pasteapp() if self.cfg.paste else self.load_wsgiapp()


def run(prog: str | None = None) -> NoReturn:
    """The command, with the words that the process was started with."""
    sys.exit(cli.main())


if __name__ == "__main__":
    run()
