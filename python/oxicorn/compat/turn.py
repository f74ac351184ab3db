"""One request's turn in a worker with hooks around requests, or where Python logs them.

Turns are made by the native gateway.

Invariant: `end` is called once for each turn that was made, when the response was handed over.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from oxicorn.compat.request import Environ, Request
from oxicorn.compat.response import Response
from oxicorn.compat.worker import Worker
from oxicorn.hooks import Hook, complain

__all__ = ["Turn", "Turns"]


class Turns:
    """Makes turns; there is one for a worker."""

    def __init__(
        self, worker: Worker, pre: Hook | None, post: Hook | None, access: Hook | None = None
    ) -> None:
        """`pre`, `post`: the hooks that are set. `access`: a logger's, if that logs requests."""
        self.worker, self._pre, self._post, self._access = worker, pre, post, access

    def __call__(
        self,
        environ: Environ,
        method: str,
        uri: str,
        minor: int,
        scheme: str,
        headers: list[tuple[str, str]],
        peer: tuple[str, int] | None,
    ) -> Turn:
        """The turn of a request; `pre_request` was called."""
        body = environ["wsgi.input"]
        cfg, version = self.worker.cfg, (1, minor)
        request = Request(cfg, method, uri, version, scheme, headers, peer or "", body)
        return Turn(self, request, environ)

    def before(self, request: Request) -> None:
        """Calls `pre_request`."""
        if self._pre is not None:
            self._pre(self.worker, request)

    def log(
        self, request: Request, environ: Environ, response: Response | None, since: float
    ) -> None:
        """Logs a request that began at `since`; `None`: the server answered that it failed."""
        if self._access is None:
            return
        if response is None:
            response = Response(request)
            response.begin("500 Internal Server Error", [])
        try:
            took = timedelta(seconds=time.monotonic() - since)
            self._access(response, request, environ, took)
        except Exception as error:
            complain("access", error)

    def after(self, request: Request, environ: Environ, response: Response | None) -> None:
        """Calls `post_request`; what that raises is nobody's business but the log's."""
        if self._post is None:
            return
        try:
            self._post(self.worker, request, environ, response)
        except Exception as error:
            complain("post_request", error)


class Turn:
    """From `pre_request` to `post_request`."""

    __slots__ = ("_environ", "_failure", "_given", "_request", "_response", "_since", "_turns")

    def __init__(self, turns: Turns, request: Request, environ: Environ) -> None:
        """Calls `pre_request`; if that raises, the application is not called."""
        self._turns, self._request, self._environ = turns, request, environ
        self._given, self._since = environ, time.monotonic()
        self._response: Response | None = None
        self._failure: BaseException | None = None
        try:
            turns.before(request)
            request.bring_to(environ)
        except BaseException as error:
            self._failure = error

    def call(
        self, app: Callable[..., Any], environ: Environ, start_response: Callable[..., Any]
    ) -> Any:
        """Calls the application."""
        if self._failure is not None:
            self._environ = {}
            failure, self._failure = self._failure, None
            raise failure
        self._response = Response(self._request)
        return app(environ, self._response.through(start_response))

    def end(self, sent: int, begun: bool, keep_alive: bool) -> None:
        """The response was handed over, or there is none."""
        if self._response is not None:
            self._response.end(sent, begun, keep_alive)
        said = self._response if begun else None
        self._turns.log(self._request, self._given, said, self._since)
        self._turns.after(self._request, self._environ, self._response)
