"""Framework-free ASGI applications, one per scenario, as small as ASGI 3 allows.

As with `plain`, each does one thing, so that what is measured is the server. None knows the
lifespan: each says so by an exception, as the specification has it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from plain import HELLO

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


async def _answer(send: Send, body: bytes) -> None:
    headers = [(b"content-type", b"text/plain"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def hello(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer 13 bytes of text."""
    if scope["type"] != "http":
        raise NotImplementedError(scope["type"])
    await _answer(send, HELLO)


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Read the whole request body and send it back."""
    if scope["type"] != "http":
        raise NotImplementedError(scope["type"])
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    await _answer(send, body)


async def await_10ms(scope: Scope, receive: Receive, send: Send) -> None:
    """Wait 10 ms, as for a database, then answer 13 bytes."""
    if scope["type"] != "http":
        raise NotImplementedError(scope["type"])
    await asyncio.sleep(0.010)
    await _answer(send, HELLO)


async def websocket_echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Send each message back."""
    if scope["type"] != "websocket":
        raise NotImplementedError(scope["type"])
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": message["text"]})
