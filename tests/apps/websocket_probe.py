"""The ASGI application of the WebSocket tests: each path does one thing.

What a view noticed can be read back from `/events`. Served by uvicorn as well.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import sys
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qsl

Scope = dict[str, Any]
Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

EVENTS: deque[Any] = deque(maxlen=200)
"""Texts and tuples: the tests of leaks count what the collector knows."""
VIEWS: dict[str, Callable[..., Any]] = {}
GATES: dict[str, asyncio.Event] = {}
ACCEPT = {"type": "websocket.accept"}


def view(path: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Declares the view of a path."""

    def declare(function: Callable[..., Any]) -> Callable[..., Any]:
        VIEWS[path] = function
        return function

    return declare


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    """Finds the view of the path and calls it."""
    if scope["type"] == "lifespan":
        return await lifespan(scope, receive, send)
    query = dict(parse_qsl(scope["query_string"].decode()))
    if scope["type"] == "http":
        return await plain(scope, send, **query)
    await VIEWS[scope["path"]](scope, receive, send, **query)


async def lifespan(scope: Scope, receive: Receive, send: Send) -> None:
    """Leaves something in the state."""
    await receive()
    scope["state"]["started"] = True
    await send({"type": "lifespan.startup.complete"})
    await receive()
    print(f"lifespan shutdown, last {list(EVENTS)[-1:]}", flush=True)
    await send({"type": "lifespan.shutdown.complete"})


async def plain(scope: Scope, send: Send, gate: str = "") -> None:
    """What the tests ask beside."""
    match scope["path"]:
        case "/open":
            GATES.setdefault(gate, asyncio.Event()).set()
            answer: Any = None
        case "/events":
            answer = list(EVENTS)
        case "/process":
            gc.collect()
            answer = {
                "pid": os.getpid(),
                "objects": len(gc.get_objects()),
                "blocks": sys.getallocatedblocks(),
                "descriptors": len(os.listdir("/proc/self/fd")),
                "tasks": len(asyncio.all_tasks()),
            }
        case _:
            answer = scope["type"]
    data = json.dumps(answer).encode()
    fields = [(b"content-length", b"%d" % len(data))]
    await send({"type": "http.response.start", "status": 200, "headers": fields})
    await send({"type": "http.response.body", "body": data})


def text(what: Any) -> Message:
    """A message of text; JSON, if it is not text already."""
    return {"type": "websocket.send", "text": what if isinstance(what, str) else json.dumps(what)}


def close(code: int = 1000, reason: str | None = None) -> Message:
    """A close message."""
    return {"type": "websocket.close", "code": code, "reason": reason}


async def connect(receive: Receive, send: Send, **how: Any) -> None:
    """Accepts."""
    assert await receive() == {"type": "websocket.connect"}
    await send({**ACCEPT, **how})


async def note_end(receive: Receive) -> None:
    """Waits for the end, and notes it."""
    while (message := await receive())["type"] != "websocket.disconnect":
        EVENTS.append(message.get("text") or len(message["bytes"]))
    EVENTS.append((message["code"], message.get("reason")))


async def tried(send: Send, message: Message) -> str:
    """What became of a message."""
    try:
        await send(message)
    except Exception as error:
        kind = "OSError" if isinstance(error, OSError) else type(error).__name__
        return f"{kind}: {error}" if kind == "RuntimeError" else kind
    return "sent"


@view("/echo")
async def echo(_scope: Scope, receive: Receive, send: Send) -> None:
    await connect(receive, send)
    while True:
        message = await receive()
        if message["type"] == "websocket.disconnect":
            EVENTS.append((message["code"], message["reason"]))
            return
        message["type"] = "websocket.send"
        await send(message)


@view("/scope")
async def show_scope(scope: Scope, receive: Receive, send: Send, **_: str) -> None:
    await connect(receive, send)
    await send(text(repr(scope)))
    await note_end(receive)


@view("/accept")
async def accept(_scope: Scope, receive: Receive, send: Send, protocol: str = "") -> None:
    fields = [(b"X-One", b"1"), (b"x-two", b"2"), (b"connection", b"close")]
    await connect(receive, send, subprotocol=protocol or None, headers=fields)
    await note_end(receive)


@view("/accept-at-once")
async def accept_at_once(_scope: Scope, receive: Receive, send: Send) -> None:
    await send(ACCEPT)
    await send(text((await receive())["type"]))
    await send(text((await receive())["text"]))
    await send(close())


@view("/reject")
async def reject(_scope: Scope, receive: Receive, send: Send) -> None:
    await receive()
    await send(close(4000))
    EVENTS.append(await tried(send, ACCEPT))
    EVENTS.append((await receive())["code"])


@view("/deny")
async def deny(_scope: Scope, receive: Receive, send: Send, pieces: str = "1") -> None:
    await receive()
    fields = [(b"x-why", b"because"), (b"content-type", b"text/plain")]
    start = {"type": "websocket.http.response.start", "status": 401, "headers": fields}
    await send(start)
    for left in reversed(range(int(pieces))):
        body = {"type": "websocket.http.response.body", "body": b"no", "more_body": left > 0}
        await send(body)
    EVENTS.append(await tried(send, ACCEPT))
    EVENTS.append((await receive())["code"])


@view("/wrong")
async def wrong(_scope: Scope, receive: Receive, send: Send, how: str) -> None:
    await receive()
    match how:
        case "send-first":
            EVENTS.append(await tried(send, text("early")))
            await send(ACCEPT)
        case "accept-twice":
            await send(ACCEPT)
            EVENTS.append(await tried(send, ACCEPT))
        case "protocol":
            EVENTS.append(await tried(send, {**ACCEPT, "subprotocol": "unknown"}))
            await send(ACCEPT)
        case "field":
            fields = [(b"x", b"a\r\nb")]
            EVENTS.append(await tried(send, {**ACCEPT, "headers": fields}))
            await send(ACCEPT)
        case "code":
            await send(ACCEPT)
            EVENTS.append(await tried(send, close(1005)))
        case "nothing":
            await send(ACCEPT)
            EVENTS.append(await tried(send, {"type": "websocket.send"}))
        case "bytes":
            await send(ACCEPT)
            EVENTS.append(await tried(send, {"type": "websocket.send", "text": b"bytes"}))
        case "body":
            start = {"type": "websocket.http.response.start", "status": 400}
            await send(start)
            EVENTS.append(await tried(send, text("early")))
            await send({"type": "websocket.http.response.body", "body": b"body"})
            return
    await send(text("alive"))
    await note_end(receive)


@view("/raise")
async def fail(_scope: Scope, receive: Receive, send: Send, when: str) -> None:
    await receive()
    if when == "before":
        raise LookupError("out of stock")
    await send(ACCEPT)
    if when == "later":
        await receive()
    raise LookupError("out of stock")


@view("/return")
async def leave(_scope: Scope, receive: Receive, send: Send, when: str) -> None:
    await receive()
    if when == "after":
        await send(ACCEPT)
        await send(text("bye"))


@view("/close")
async def end(
    _scope: Scope, receive: Receive, send: Send, code: str = "1000", reason: str = ""
) -> None:
    await connect(receive, send)
    await send(close(int(code), reason or None))
    EVENTS.append(await tried(send, text("late")))
    EVENTS.append(await tried(send, close()))
    await note_end(receive)


@view("/late")
async def late(_scope: Scope, receive: Receive, send: Send, gate: str) -> None:
    """Sends to a client that has left, before and after it knows."""
    await connect(receive, send)
    await send(text("ready"))
    await GATES.setdefault(gate, asyncio.Event()).wait()
    EVENTS.append(await tried(send, text("late")))
    await note_end(receive)
    EVENTS.append(await tried(send, text("later")))
    await send(text("unhandled"))


@view("/deaf")
async def deaf(_scope: Scope, receive: Receive, send: Send, gate: str) -> None:
    """Asks for nothing until it is told to."""
    await connect(receive, send)
    await send(text("ready"))
    await GATES.setdefault(gate, asyncio.Event()).wait()
    await note_end(receive)


@view("/listen")
async def listen(_scope: Scope, receive: Receive, send: Send) -> None:
    await connect(receive, send)
    await note_end(receive)


@view("/cancel")
async def cancel(_scope: Scope, receive: Receive, send: Send) -> None:
    """Gives up and asks again, all the time."""
    await connect(receive, send)
    while True:
        try:
            message = await asyncio.wait_for(receive(), 0.001)
        except asyncio.TimeoutError:
            continue
        if message["type"] == "websocket.disconnect":
            return
        await send(text(message["text"]))


@view("/ahead")
async def ahead(_scope: Scope, receive: Receive, send: Send, count: str = "5") -> None:
    """Asks for several messages ahead; some tasks give up, and the others get one each."""
    await connect(receive, send)
    asked = asyncio.Semaphore(0)

    async def ask() -> Message:
        asked.release()
        return await receive()

    tasks = [asyncio.create_task(ask()) for _ in range(2 * int(count))]
    for _ in tasks:
        await asked.acquire()
    for task in tasks[::2]:
        task.cancel()
    await send(text("ready"))
    messages = await asyncio.gather(*tasks, return_exceptions=True)
    given_up = [isinstance(message, asyncio.CancelledError) for message in messages]
    assert given_up == [True, False] * int(count), messages
    await send(text(" ".join(sorted(message["text"] for message in messages[1::2]))))


@view("/flood")
async def flood(_scope: Scope, receive: Receive, send: Send, size: str = "65536") -> None:
    """Sends until the client is gone, and says how much that was."""
    await connect(receive, send)
    sent = 0
    try:
        while True:
            await send({"type": "websocket.send", "bytes": bytes(int(size))})
            sent += 1
    except OSError:
        EVENTS.append(("flood", sent))


@view("/both")
async def both(_scope: Scope, receive: Receive, send: Send, count: str) -> None:
    """One task sends while another one receives."""
    await connect(receive, send)

    async def tell() -> None:
        for number in range(int(count)):
            await send(text(str(number)))
            await asyncio.sleep(0)

    sender = asyncio.ensure_future(tell())
    for _ in range(int(count)):
        await receive()
    await sender
    await send(close())


@view("/linger")
async def linger(_scope: Scope, receive: Receive, send: Send, gate: str) -> None:
    """Goes on working after the end."""
    await connect(receive, send)
    await note_end(receive)
    await GATES.setdefault(gate, asyncio.Event()).wait()
    EVENTS.append("lingered")


@view("/stay")
async def stay(_scope: Scope, receive: Receive, send: Send) -> None:
    """Does not end by itself."""
    await connect(receive, send)
    await send(text("ready"))
    await asyncio.Event().wait()


@view("/slow")
async def slow(_scope: Scope, receive: Receive, send: Send) -> None:
    """Never accepts."""
    await receive()
    message = await receive()
    EVENTS.append(("before", message["type"], message.get("code")))
