"""An asynchronous application with hooks, or a logger of Python's, around its HTTP requests."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any

from oxicorn.compat.request import Environ, Request
from oxicorn.compat.response import Response
from oxicorn.compat.turn import Turns

__all__ = ["Observed"]

Message = dict[str, Any]
Send = Callable[[Message], Awaitable[None]]


class Observed:
    """Calls the hooks in the request's own task; anything but HTTP is left alone."""

    def __init__(self, application: Callable[..., Any], turns: Turns) -> None:
        """`turns` calls the hooks around requests of `application`."""
        self._application, self._turns = application, turns

    def __call__(self, scope: Message, receive: Callable[[], Any], send: Send) -> Any:
        """One connection, in ASGI's words."""
        if scope["type"] != "http":
            return self._application(scope, receive, send)
        return self._serve(scope, receive, send)

    async def _serve(self, scope: Message, receive: Callable[[], Any], send: Send) -> None:
        request = _request_of(self._turns, scope)
        response: Response | None = None
        since = time.monotonic()
        try:
            self._turns.before(request)
            response = Response(request)
            await self._application(scope, receive, _heard_by(response, send))
        finally:
            environ = _environ_of(request)
            begun = response is not None and response.status is not None
            self._turns.log(request, environ, response if begun else None, since)
            self._turns.after(request, environ, response)


def _heard_by(response: Response, send: Send) -> Send:
    """`send` that takes note of what goes through it, once that was accepted."""

    def heard(message: Message) -> Awaitable[None]:
        sent = send(message)
        if message["type"] == "http.response.start":
            response.begin(_status(message["status"]), _texts(message.get("headers", ())))
        elif message["type"] == "http.response.body":
            response.end(response.sent + len(message.get("body", b"")), True, True)
        return sent

    return heard


def _status(code: int) -> str:
    try:
        return f"{code} {HTTPStatus(code).phrase}"
    except ValueError:
        return f"{code} "


def _texts(headers: Any) -> list[tuple[str, str]]:
    return [(_text(name), _text(value)) for name, value in headers]


def _text(value: bytes) -> str:
    return bytes(value).decode("latin-1")


def _request_of(turns: Turns, scope: Message) -> Request:
    path = scope["raw_path"].removeprefix(scope["root_path"].encode()).decode("latin-1")
    query = scope["query_string"].decode("latin-1")
    major, _, minor = scope["http_version"].partition(".")
    request = Request(
        turns.worker.cfg,
        scope["method"],
        f"{path}?{query}" if query else path,
        (int(major), int(minor or 0)),
        scope["scheme"],
        [(name.upper(), value) for name, value in _texts(scope["headers"])],
        tuple(scope["client"]) if scope["client"] else "",
    )
    # Decoded here, as gunicorn has it.
    request.path = scope["path"].removeprefix(scope["root_path"])
    return request


def _environ_of(request: Request) -> Environ:
    """What gunicorn makes for its access log."""
    environ: Environ = {
        "REQUEST_METHOD": request.method,
        "RAW_URI": request.uri,
        "PATH_INFO": request.path,
        "QUERY_STRING": request.query,
        "SERVER_PROTOCOL": "HTTP/{}.{}".format(*request.version),
        "REMOTE_ADDR": request.peer_addr[0] if request.peer_addr else "",
    }
    for name, value in request.headers:
        environ["HTTP_" + name.replace("-", "_")] = value
    return environ
