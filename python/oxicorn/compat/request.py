"""A request as gunicorn's hooks see it: `req`.

What `pre_request` changes is brought to the application's environ, since gunicorn makes the environ
of what it finds there.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any, NoReturn
from urllib.parse import unquote_to_bytes, urlsplit

from oxicorn.compat.absent import missing
from oxicorn.compat.config import Cfg

__all__ = ["Request"]

Environ = MutableMapping[str, Any]
Peer = tuple[str, int] | str

_INSTEAD = {
    "body": "an asynchronous application receives the body of its requests itself",
    "unreader": "the connection is the server's",
    "proxy_protocol_info": "see environ['REMOTE_ADDR']",
}
_OTHERS = {"CONTENT-TYPE": "CONTENT_TYPE", "CONTENT-LENGTH": "CONTENT_LENGTH"}


class Request:
    """The request line, the fields, and whom they are from."""

    def __init__(
        self,
        cfg: Cfg,
        method: str,
        uri: str,
        version: tuple[int, int],
        scheme: str,
        headers: list[tuple[str, str]],
        peer: Peer,
        body: Any = None,
    ) -> None:
        """`uri`: as it was sent; `headers`: names in capitals; `peer`: empty for a Unix socket."""
        self.cfg = cfg
        self.method = method
        self.uri = uri
        parts = urlsplit(f".{uri}") if uri.startswith("//") else urlsplit(uri)
        self.path = parts.path[1:] if uri.startswith("//") else parts.path
        self.query = parts.query
        self.fragment = parts.fragment
        self.version = version
        self.scheme = scheme
        self.headers = headers
        self.trailers: list[tuple[str, str]] = []
        if body is not None:
            self.body = body
        self.peer_addr = peer
        self.remote_addr = peer
        self.must_close = False
        self.limit_request_line = cfg.limit_request_line
        self.limit_request_fields = cfg.limit_request_fields
        self.limit_request_field_size = cfg.limit_request_field_size
        self._before = self._state()

    def force_close(self) -> None:
        """The connection ends with the response."""
        self.must_close = True

    def should_close(self) -> bool:
        """Whether the client or a hook wants the connection to end."""
        if self.must_close:
            return True
        values = [value for name, value in self.headers if name == "CONNECTION"]
        tokens = {token.strip().lower() for value in values for token in value.split(",")}
        if "close" in tokens:
            return True
        return "keep-alive" not in tokens and self.version <= (1, 0)

    def bring_to(self, environ: Environ) -> None:
        """Changes the environ where this was changed."""
        after = self._state()
        if after == self._before:
            return
        environ["REQUEST_METHOD"] = self.method
        environ["RAW_URI"] = self.uri
        environ["QUERY_STRING"] = self.query
        environ["wsgi.url_scheme"] = self.scheme
        if after[1] != self._before[1]:
            prefix = str(environ.get("SCRIPT_NAME", ""))
            path = unquote_to_bytes(self.path).decode("latin-1")
            environ["PATH_INFO"] = path.removeprefix(prefix)
        if after[-1] != self._before[-1]:
            self._bring_fields(environ)

    def _bring_fields(self, environ: Environ) -> None:
        for key in [key for key in environ if key.startswith("HTTP_")]:
            del environ[key]
        for key in _OTHERS.values():
            environ.pop(key, None)
        for name, value in self.headers:
            key = _OTHERS.get(name, "HTTP_" + name.replace("-", "_"))
            repeated = key in environ and name not in _OTHERS
            environ[key] = f"{environ[key]},{value}" if repeated else value

    def _state(self) -> tuple[object, ...]:
        line = (self.method, self.path, self.query, self.uri, self.scheme)
        return (*line, list(self.headers))

    def __getattr__(self, name: str) -> NoReturn:
        missing(self, name, _INSTEAD)
