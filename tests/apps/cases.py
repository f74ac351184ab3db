"""Serves the applications of the `python` blocks in `spec/wsgi`: the field `X-Case` names the case.

`X-Recorded` instead asks what `record` noted for a case, as JSON.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

from harness import spec

Application = Callable[[dict[str, Any], Any], Iterable[bytes]]
_recorded: dict[str, list[str]] = defaultdict(list)


def application(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    """Hands the request to the application of its case."""
    asked = environ.get("HTTP_X_RECORDED")
    if asked is not None:
        start_response("200 OK", [("Content-Type", "application/json")])
        return [json.dumps(_recorded[asked]).encode()]
    return _APPLICATIONS[environ.pop("HTTP_X_CASE")](environ, start_response)


def show(*keys: str) -> Application:
    """An application that answers with these entries of the environ."""

    def shown(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        lines = (f"{k} = {environ[k]!r}" if k in environ else f"{k} absent" for k in keys)
        start_response("200 OK", [("Content-Type", "text/plain; charset=utf-8")])
        return ["".join(line + "\n" for line in lines).encode()]

    return shown


def reads(*calls: str) -> Application:
    """An application that answers with the results of these calls on `wsgi.input`."""

    def read(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        names = {"stream": environ["wsgi.input"]}
        lines = [f"{call} = {eval('stream.' + call, names)!r}\n" for call in calls]
        start_response("200 OK", [("Content-Type", "text/plain; charset=utf-8")])
        return ["".join(lines).encode()]

    return read


def _load(case: spec.Case) -> Application:
    names: dict[str, Any] = {
        "show": show,
        "reads": reads,
        "record": _recorded[case.name].append,
        "__name__": "case",
    }
    code = "\n" * case.line + case.blocks["python"]
    exec(compile(code, str(case.file), "exec"), names)
    loaded: Application = names["application"]
    return loaded


_APPLICATIONS = {case.name: _load(case) for case in spec.read("wsgi")}
