"""Applications of tornado, as ASGI applications.

tornado separates its server from its applications by two interfaces (`tornado.httputil`): a
*delegate* is told of a request, and answers through a *connection*. The delegate is the
application's own; the connection is ours, and speaks ASGI. `-k tornado` only.

Invariant: after the end of a request its connection is closed to whoever still has it.
"""

from __future__ import annotations

import asyncio
import json
import socket
import sys
from collections.abc import Awaitable, Callable
from typing import Any

from tornado import gen, httputil, ioloop, iostream, websocket, wsgi

from oxicorn._native import log

__all__ = ["Application", "event_loop", "unwrapped"]

Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


def unwrapped(found: object) -> object:
    """What is to be served of what was named: a WSGI application needs no container here."""
    if isinstance(found, httputil.HTTPServerConnectionDelegate):
        return Application(found)
    return found.wsgi_application if isinstance(found, wsgi.WSGIContainer) else found


def event_loop(inherited: bool) -> asyncio.AbstractEventLoop:
    """The loop that the application has used while it was imported, if it has.

    `inherited`: that was in another process.
    """
    if inherited:
        ioloop.IOLoop.clear_current()
    loop: asyncio.AbstractEventLoop = ioloop.IOLoop.current().asyncio_loop  # type: ignore[attr-defined]
    return loop


class Application:
    """An ASGI application that is one of tornado."""

    def __init__(self, delegate: httputil.HTTPServerConnectionDelegate) -> None:
        self._delegate = delegate
        websocket.WebSocketHandler.get_websocket_protocol = _protocol  # type: ignore[method-assign, assignment]

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        """Serves one request, or the lifespan, of which tornado knows nothing."""
        if scope["type"] == "lifespan":
            return await _live(receive, send)
        connection = Connection(scope, receive, send)
        if scope["type"] == "websocket":
            await receive()
        try:
            await self._serve(scope, connection)
        finally:
            connection.lose()

    async def _serve(self, scope: dict[str, Any], connection: Connection) -> None:
        delegate = self._delegate.start_request(self, connection)
        await _finished(delegate.headers_received(*_head(scope)))
        if scope["type"] == "http" and not await connection.feed(delegate):
            return delegate.on_connection_close()
        if not connection.over.done():
            delegate.finish()
        # What a WebSocket receives is for its handler.
        await (connection.leave() if scope["type"] == "http" else connection.over)


async def _live(receive: Receive, send: Send) -> None:
    for phase in ("startup", "shutdown"):
        await receive()
        await send({"type": f"lifespan.{phase}.complete"})


def _head(scope: dict[str, Any]) -> tuple[httputil.RequestStartLine, httputil.HTTPHeaders]:
    target = scope["raw_path"].decode("latin-1")
    if query := scope["query_string"].decode("latin-1"):
        target = f"{target}?{query}"
    version = f"HTTP/{scope['http_version']}"
    headers = httputil.HTTPHeaders()
    for name, value in scope["headers"]:
        headers.add(name.decode("latin-1"), value.decode("latin-1"))
    return httputil.RequestStartLine(scope.get("method", "GET"), target, version), headers


async def _finished(step: Awaitable[None] | None) -> None:
    if step is not None:
        await step


class _Context:
    """What tornado asks of the client."""

    def __init__(self, scope: dict[str, Any]) -> None:
        client = scope["client"]
        self.remote_ip = client[0] if client else "0.0.0.0"
        self.address = tuple(client) if client else "0.0.0.0"
        family = socket.AF_INET6 if ":" in self.remote_ip else socket.AF_INET
        self.address_family = family if client else socket.AF_UNIX
        self.protocol = {"ws": "http", "wss": "https"}.get(scope["scheme"], scope["scheme"])

    def __str__(self) -> str:
        return str(self.remote_ip)


class Connection(httputil.HTTPConnection):
    """One request's way back to its client."""

    def __init__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        self.context = _Context(scope)
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """The response is complete, or lost."""
        self.receive = receive
        self._send = send
        self._prefix = "websocket." if scope["type"] == "websocket" else ""
        self._accepted = False
        self._lost = False
        self._callback: Callable[[], None] | None = None
        self._most: int | None = None

    # What tornado calls.

    def set_close_callback(self, callback: Callable[[], None] | None) -> None:
        """`callback` is called when the client leaves."""
        self._callback = callback

    def set_max_body_size(self, size: int) -> None:
        """A body beyond this is refused with 413."""
        self._most = size

    def set_body_timeout(self, seconds: float) -> None:
        """Without effect: `body_timeout` and `body_min_rate` see to it, for every application."""

    def write_headers(
        self,
        start_line: httputil.RequestStartLine | httputil.ResponseStartLine,
        headers: httputil.HTTPHeaders,
        chunk: bytes | None = None,
    ) -> asyncio.Future[None]:
        """Begins the response; the reason is the server's."""
        assert isinstance(start_line, httputil.ResponseStartLine)
        fields = [
            (name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.get_all()
        ]
        if start_line.code == 101 and self._prefix:
            self._accepted = True
            protocol = headers.get("Sec-WebSocket-Protocol")
            fields = [(name, value) for name, value in fields if name.lower() not in _HANDSHAKE]
            return self.send(
                {"type": "websocket.accept", "subprotocol": protocol, "headers": fields}
            )
        kind = f"{self._prefix}http.response.start"
        begun = self.send({"type": kind, "status": start_line.code, "headers": fields})
        return self.write(chunk) if chunk else begun

    def write(self, chunk: bytes) -> asyncio.Future[None]:
        """Sends a part of the body."""
        kind = f"{self._prefix}http.response.body"
        return self.send({"type": kind, "body": bytes(chunk), "more_body": True})

    def finish(self) -> None:
        """Ends the response; a connection that became a WebSocket goes on."""
        if not self._accepted and not self._lost:
            self.send({"type": f"{self._prefix}http.response.body"})
            self.end()

    def detach(self) -> iostream.IOStream:
        """Refused: what is spoken on the connection is the server's business."""
        raise RuntimeError("oxicorn: a connection cannot be detached from the server")

    # What the application's side of ASGI calls.

    def send(self, message: Message) -> asyncio.Future[None]:
        """Sends now; what is returned is done when there is room for more."""
        if self._lost:
            return _refused(iostream.StreamClosedError())
        try:
            waiting = self._send(message)
        except OSError as error:
            return _refused(iostream.StreamClosedError(real_error=error))
        task = asyncio.ensure_future(_sent(waiting))
        # Whoever is interested has awaited it.
        task.add_done_callback(lambda done: done.cancelled() or done.exception())
        return task

    def end(self) -> None:
        """Nothing more will be sent."""
        if not self.over.done():
            self.over.set_result(None)

    def lose(self) -> None:
        """The client, or the request, is gone."""
        self._lost = True
        callback, self._callback = self._callback, None
        if not self.over.done():
            self.end()
            if callback is not None:
                callback()

    async def feed(self, delegate: httputil.HTTPMessageDelegate) -> bool:
        """Gives the body to `delegate`; `False` if there is no more of it, or no use for it."""
        size = 0
        while (message := await self.receive())["type"] == "http.request":
            if body := message.get("body"):
                size += len(body)
                if self._most is not None and size > self._most:
                    self._refuse_body()
                    return False
                await _finished(delegate.data_received(body))
            if not message.get("more_body", False):
                return True
        return False

    async def leave(self) -> None:
        """Waits until the response is complete or the client gone; ASGI tells both alike."""
        while (await self.receive())["type"] != "http.disconnect":
            pass

    def _refuse_body(self) -> None:
        line = httputil.ResponseStartLine("HTTP/1.1", 413, "Content Too Large")
        self.write_headers(line, httputil.HTTPHeaders({"Connection": "close"}))
        self.finish()


_HANDSHAKE = (b"upgrade", b"connection", b"sec-websocket-accept", b"sec-websocket-protocol")
"""Fields of the answer that are the server's."""


async def _sent(waiting: Awaitable[None]) -> None:
    try:
        await waiting
    except OSError as error:
        raise iostream.StreamClosedError(real_error=error) from None


def _refused(error: Exception) -> asyncio.Future[None]:
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    future.set_exception(error)
    future.exception()
    return future


# WebSockets.


def _protocol(handler: websocket.WebSocketHandler) -> websocket.WebSocketProtocol | None:
    """In the place of `WebSocketHandler.get_websocket_protocol`."""
    connection = handler.request.connection
    assert isinstance(connection, Connection)
    return _Socket(handler, connection)


class _Socket(websocket.WebSocketProtocol):
    """A WebSocket, whose frames, pings and compression are the server's."""

    def __init__(self, handler: websocket.WebSocketHandler, connection: Connection) -> None:
        super().__init__(handler)
        self._handler = handler
        self._connection = connection
        self._selected: str | None = None
        self._closed = False

    @property
    def selected_subprotocol(self) -> str | None:
        return self._selected

    async def accept_connection(self, handler: websocket.WebSocketHandler) -> None:
        """The handshake, and then one message after the other until the end."""
        offered = handler.request.headers.get("Sec-WebSocket-Protocol", "")
        protocols = [name.strip() for name in offered.split(",") if name.strip()]
        self._selected = handler.select_subprotocol(protocols)
        if self._selected:
            handler.set_header("Sec-WebSocket-Protocol", self._selected)
        handler.clear_header("Content-Type")
        handler.set_status(101)
        handler.finish()
        await self._call(handler.open, *handler.open_args, **handler.open_kwargs)
        await self._receive_frame_loop()

    async def _call(self, callback: Callable[..., Any], *arguments: Any, **named: Any) -> None:
        """Calls the handler; what it raises closes the WebSocket."""
        try:
            result = callback(*arguments, **named)
            if result is not None:
                await gen.convert_yielded(result)
        except Exception:
            self._handler.log_exception(*sys.exc_info())
            self._abort()

    async def _receive_frame_loop(self) -> None:
        try:
            while (message := await self._connection.receive())["type"] == "websocket.receive":
                text = message.get("text")
                data = message.get("bytes") if text is None else text
                await self._call(self._handler.on_message, data)
            self.client_terminated = self._closed = True
            self._handler.on_ws_connection_close(message.get("code"), message.get("reason"))
        finally:
            self._connection.end()

    def write_message(
        self, message: str | bytes | dict[str, Any], binary: bool = False
    ) -> asyncio.Future[None]:
        """As `WebSocketHandler.write_message`."""
        if isinstance(message, dict):
            message = json.dumps(message)
        if binary:
            data = message.encode() if isinstance(message, str) else bytes(message)
            return self._connection.send({"type": "websocket.send", "bytes": data})
        text = message if isinstance(message, str) else bytes(message).decode()
        return self._connection.send({"type": "websocket.send", "text": text})

    def close(self, code: int | None = None, reason: str | None = None) -> None:
        """Begins the closing handshake, once. An abort has declared both sides terminated."""
        if self._closed:
            return
        self._closed = True
        aborted, self.server_terminated = self.client_terminated, True
        why = {"code": code or (1011 if aborted else 1000), "reason": reason or ""}
        self._connection.send({"type": "websocket.close", **why})

    def is_closing(self) -> bool:
        """Whether either side has begun to close."""
        return self.client_terminated or self.server_terminated

    def write_ping(self, data: bytes) -> None:
        """Refused quietly: the server pings by itself (`ws_ping_interval`)."""
        log("debug", "tornado: ping() is without effect; see ws_ping_interval")

    def set_nodelay(self, x: bool) -> None:
        """Without effect: nothing is delayed."""

    def start_pinging(self) -> None:
        """Without effect: the server pings."""

    def _process_server_headers(self, key: str | bytes, headers: httputil.HTTPHeaders) -> None:
        raise NotImplementedError("this is a server")
