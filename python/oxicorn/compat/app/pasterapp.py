"""gunicorn's `app.pasterapp`: the server of a PasteDeploy file that another program reads.

`use = egg:oxicorn#main` in `[server:main]` comes here; the entries of that section are settings.
"""

from __future__ import annotations

from typing import Any, NoReturn

from oxicorn.compat.app.wsgiapp import WSGIApplication
from oxicorn.compat.config import get_default_config_file
from oxicorn.paste_file import has_logging as has_logging_config
from oxicorn.paste_file import make

__all__ = ["get_wsgi_app", "has_logging_config", "serve"]


def get_wsgi_app(
    config_uri: str, name: str | None = None, defaults: dict[str, str] | None = None
) -> Any:
    """The application that `FILE[#NAME]` describes."""
    return make(config_uri, defaults, name)


def serve(app: Any, global_conf: dict[str, str], **local_conf: Any) -> NoReturn:
    """Serves `app`; `local_conf` is stronger than the configuration file, which `config` names."""
    file = local_conf.pop("config", None)
    host, port = local_conf.pop("host", ""), local_conf.pop("port", "")
    if host and port:
        local_conf["bind"] = f"{host}:{port}"
    elif host:
        local_conf["bind"] = host.split(",")
    served = _class(app, global_conf["__file__"], file, local_conf)
    served().run()


def _class(app: Any, ini: str, named: str | None, section: dict[str, Any]) -> type[WSGIApplication]:
    """Serves what was made already, with the settings of the section."""

    class PasterServerApplication(WSGIApplication):
        def load_config(self) -> None:
            with self.cfg.said_by(ini):
                self.cfg.set("default_proc_name", ini)
                if has_logging_config(ini):
                    self.cfg.set("logconfig", ini)
            if source := named or get_default_config_file():
                self.load_config_from_file(source)
            with self.cfg.said_by(f"[server:main] in {ini}"):
                for name, value in section.items():
                    if value is not None:
                        self.cfg.set(name.lower(), value)

        def load(self) -> Any:
            return app

    return PasterServerApplication
