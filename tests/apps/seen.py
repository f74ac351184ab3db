"""Answers every request with what the application saw of it, whatever the target.

The facts travel in the header `X-Seen` too, as JSON, so that they survive HEAD. `spec/http1` is
checked with it.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

_NOT_FIELDS = ("HTTP_VERSION",)


def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    """The one view."""
    facts = json.dumps(_facts(environ))
    body = facts.encode()
    start_response(
        "200 OK",
        [
            ("Content-Type", "application/json"),
            ("X-Seen", facts),
            ("Content-Length", str(len(body))),
        ],
    )
    return [body]


def _facts(environ: dict[str, Any]) -> dict[str, Any]:
    body = environ["wsgi.input"].read()
    return {
        "method": environ["REQUEST_METHOD"],
        "target": environ["RAW_URI"],
        "path": environ["PATH_INFO"],
        "query": environ["QUERY_STRING"],
        "version": environ["SERVER_PROTOCOL"],
        "fields": _fields(environ),
        "size": len(body),
        "sha256": hashlib.sha256(body).hexdigest(),
    }


def _fields(environ: dict[str, Any]) -> dict[str, str]:
    fields = {
        key[5:].replace("_", "-").lower(): value
        for key, value in environ.items()
        if key.startswith("HTTP_") and key not in _NOT_FIELDS and len(value) < 1024
    }
    for key in ("CONTENT_TYPE", "CONTENT_LENGTH", "SCRIPT_NAME"):
        if environ.get(key):
            fields[key.replace("_", "-").lower()] = environ[key]
    return fields
