"""The ASGI application that the tests talk to: each path does one thing.

What a view noticed after its response, or instead of one, can be read back from `/events`.
"""

from __future__ import annotations

import asyncio
import contextvars
import gc
import json
import os
import sys
import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qsl

import anyio

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
EVENTS: deque[str] = deque(maxlen=500)
VIEWS: dict[str, Callable[..., Any]] = {}
GATES: dict[str, asyncio.Event] = {}
Message = dict[str, Any]


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
    found = VIEWS.get(scope["path"], not_found)
    query = dict(parse_qsl(scope["query_string"].decode()))
    await found(scope, receive, send, **query)


async def lifespan(scope: Scope, receive: Receive, send: Send) -> None:
    """Counts in the state, and says in the log what happened."""
    assert (await receive())["type"] == "lifespan.startup"
    scope["state"].update(started=True, shared=[])
    await send({"type": "lifespan.startup.complete"})
    assert (await receive())["type"] == "lifespan.shutdown"
    print(f"lifespan shutdown, {len(EVENTS)} events, last {list(EVENTS)[-1:]}", flush=True)
    await send({"type": "lifespan.shutdown.complete"})


def start(status: int = 200, headers: Any = (), **more: Any) -> Message:
    """The message that begins a response."""
    return {"type": "http.response.start", "status": status, "headers": headers, **more}


def body(data: bytes = b"", more: bool = False) -> Message:
    """A message of a body."""
    return {"type": "http.response.body", "body": data, "more_body": more}


async def answer(send: Send, data: bytes, status: int = 200) -> None:
    """A whole response."""
    await send(start(status))
    await send(body(data))


async def not_found(_scope: Scope, _receive: Receive, send: Send, **_: str) -> None:
    """The answer to all other paths."""
    await answer(send, b"no such view\n", 404)


async def read(receive: Receive) -> tuple[bytes, list[int]]:
    """The whole request body, and the sizes of its pieces."""
    data, sizes = b"", []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise EOFError("the client left inside its body")
        assert message["type"] == "http.request"
        data += message["body"]
        sizes.append(len(message["body"]))
        if not message["more_body"]:
            return data, sizes


@view("/")
async def hello(_scope: Scope, _receive: Receive, send: Send) -> None:
    """Two messages."""
    await send(start(headers=[(b"content-type", b"text/plain")]))
    await send(body(b"Hello, world!"))


@view("/scope")
async def show_scope(scope: Scope, _receive: Receive, send: Send, **_: str) -> None:
    """The scope, as Python writes it."""
    await answer(send, repr(scope).encode())


@view("/échelle")
async def echelle(scope: Scope, _receive: Receive, send: Send) -> None:
    """A path that is not ASCII."""
    await answer(send, repr((scope["path"], scope["raw_path"])).encode())


@view("/events")
async def events(_scope: Scope, _receive: Receive, send: Send) -> None:
    """What was noticed."""
    await answer(send, json.dumps(list(EVENTS)).encode())


@view("/process")
async def process(_scope: Scope, _receive: Receive, send: Send) -> None:
    """What this process holds."""
    gc.collect()
    facts = {
        "pid": os.getpid(),
        "objects": len(gc.get_objects()),
        "blocks": sys.getallocatedblocks(),
        "descriptors": len(os.listdir("/proc/self/fd")),
        "tasks": len(asyncio.all_tasks()),
    }
    await answer(send, json.dumps(facts).encode())


@view("/echo")
async def echo(_scope: Scope, receive: Receive, send: Send) -> None:
    """The body that was sent."""
    data, _ = await read(receive)
    await answer(send, data)


@view("/sizes")
async def show_sizes(_scope: Scope, receive: Receive, send: Send, pause: str = "0") -> None:
    """How long the body is, and its largest piece."""
    total, largest, pieces = 0, 0, 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            EVENTS.append(f"disconnect after {total}")
            return
        total += len(message["body"])
        largest = max(largest, len(message["body"]))
        pieces += 1
        if not message["more_body"]:
            break
        if float(pause):
            await asyncio.sleep(float(pause))
    await answer(send, json.dumps([total, largest, pieces]).encode())


@view("/duplex")
async def duplex(_scope: Scope, receive: Receive, send: Send) -> None:
    """Each piece is sent back when it comes."""
    await send(start())
    while True:
        message = await receive()
        await send(body(message["body"], more=message["more_body"]))
        if not message["more_body"]:
            return


@view("/unread")
async def unread(_scope: Scope, _receive: Receive, send: Send) -> None:
    """Answers without a look at the body."""
    await answer(send, b"unread")


@view("/sleep")
async def sleep(_scope: Scope, _receive: Receive, send: Send, seconds: str = "0.01") -> None:
    """Waits, and is cancelled if that takes too long."""
    try:
        await asyncio.sleep(float(seconds))
    except asyncio.CancelledError:
        EVENTS.append("cancelled")
        raise
    await answer(send, b"slept")


@view("/block")
async def block(_scope: Scope, _receive: Receive, send: Send, seconds: str) -> None:
    """Keeps the loop to itself."""
    time.sleep(float(seconds))
    await answer(send, b"blocked")


@view("/stream")
async def stream(
    _scope: Scope, _receive: Receive, send: Send, count: str = "3", size: str = "10"
) -> None:
    """So many blocks; tells how far it came."""
    sent = 0
    try:
        await send(start())
        for _ in range(int(count)):
            await send(body(b"s" * int(size), more=True))
            sent += 1
            await asyncio.sleep(0)
        await send(body())
    except OSError as error:
        EVENTS.append(f"{type(error).__name__} after {sent}")
        raise
    EVENTS.append(f"sent {sent}")


@view("/headers-first")
async def headers_first(_scope: Scope, _receive: Receive, send: Send) -> None:
    """The head has to leave although no body follows for now."""
    gate = GATES["headers-first"] = asyncio.Event()
    await send(start(headers=[(b"content-type", b"text/event-stream")]))
    await gate.wait()
    await send(body(b"data: 1\n\n"))


@view("/open")
async def open_gate(_scope: Scope, _receive: Receive, send: Send, gate: str) -> None:
    """Lets another request go on."""
    GATES[gate].set()
    await answer(send, b"open")


@view("/wait-for-disconnect")
async def wait_for_disconnect(
    _scope: Scope, receive: Receive, send: Send, limit: str = "20"
) -> None:
    """Tells when its client has left."""
    await receive()
    EVENTS.append("waiting")
    message = await asyncio.wait_for(receive(), float(limit))
    EVENTS.append(message["type"])
    await answer(send, b"you had gone")


@view("/cancelled-receive")
async def cancelled_receive(_scope: Scope, receive: Receive, send: Send) -> None:
    """A `receive` that is given up loses nothing."""
    data = b""
    while True:
        try:
            message = await asyncio.wait_for(receive(), 0.001)
        except asyncio.TimeoutError:
            continue
        data += message["body"]
        if not message["more_body"]:
            return await answer(send, data)


@view("/poll-disconnect")
async def poll_disconnect(_scope: Scope, receive: Receive, send: Send) -> None:
    """Asks a thousand times whether the client is there, as Starlette does it."""
    await receive()
    for _ in range(1000):
        with anyio.CancelScope() as scope:
            scope.cancel()
            await receive()
            EVENTS.append("never there")
    futures = [found for found in gc.get_objects() if type(found) is asyncio.Future]
    await answer(send, str(len(futures)).encode())


@view("/after-complete")
async def after_complete(_scope: Scope, receive: Receive, send: Send) -> None:
    """What `receive` and `send` say to an application that is through."""
    await receive()
    await answer(send, b"done")
    EVENTS.append((await receive())["type"])
    try:
        await send(body(b"more"))
    except RuntimeError as error:
        EVENTS.append(str(error))


@view("/background")
async def background(_scope: Scope, _receive: Receive, send: Send, seconds: str = "0.2") -> None:
    """Works on after the response."""
    await answer(send, b"answered")
    EVENTS.append("background begun")
    await asyncio.sleep(float(seconds))
    EVENTS.append("background done")
    print("background done", flush=True)


@view("/raise")
async def raise_(_scope: Scope, _receive: Receive, send: Send, when: str = "first") -> None:
    """Fails at some point."""
    if when == "later":
        await asyncio.sleep(0)
    if when in ("started", "streamed", "complete"):
        await send(start())
    if when in ("streamed", "complete"):
        await send(body(b"begun", more=True))
        await asyncio.sleep(0.01)
    if when == "complete":
        await send(body())
    if when == "exit":
        sys.exit(7)
    if when == "later-exit":
        await asyncio.sleep(0)
        sys.exit(7)
    raise LookupError(f"the shop is closed ({when})")


@view("/return")
async def return_(_scope: Scope, _receive: Receive, send: Send, when: str = "first") -> None:
    """Returns without a complete response."""
    if when in ("started", "streamed"):
        await send(start())
    if when == "streamed":
        await send(body(b"begun", more=True))


WRONG: dict[str, list[Any]] = {
    "body-first": [body(b"x")],
    "start-twice": [start(), start()],
    "after-complete": [start(), body(b"x"), body(b"y")],
    "unknown": [{"type": "http.response.unknown"}],
    "no-type": [{}],
    "no-dict": [["http.response.start"]],
    "no-status": [{"type": "http.response.start"}],
    "text-body": [start(), {"type": "http.response.body", "body": "text"}],
    "text-header": [start(headers=[("name", "value")])],
    "bad-name": [start(headers=[(b"na me", b"value")])],
    "bad-value": [start(headers=[(b"name", b"va\r\nlue")])],
    "bad-status": [start(status=99)],
    "websocket": [{"type": "websocket.accept"}],
}


@view("/wrong")
async def wrong(_scope: Scope, _receive: Receive, send: Send, how: str) -> None:
    """Sends what it must not; the error is the answer, if one can be given."""
    try:
        for message in WRONG[how]:
            await send(message)
    except Exception as error:
        text = f"{type(error).__name__}: {error}"
        EVENTS.append(text)
        if how != "after-complete":
            await send(start(400)) if how not in ("start-twice", "text-body") else None
            await send(body(text.encode()))


@view("/respond")
async def respond(
    _scope: Scope,
    _receive: Receive,
    send: Send,
    status: str = "200",
    length: str = "",
    data: str = "",
    more: str = "",
    close: str = "",
) -> None:
    """A response as the query describes it."""
    headers = [(b"content-length", length.encode())] if length else []
    if close:
        headers.append((b"connection", b"close"))
    await send(start(int(status), headers))
    if more:
        await send(body(data.encode(), more=True))
        await send(body(more.encode()))
    else:
        await send(body(data.encode()))


@view("/trailers")
async def trailers(_scope: Scope, _receive: Receive, send: Send) -> None:
    """A response with trailers."""
    await send(start(trailers=True))
    await send(body(b"data"))
    end = {"type": "http.response.trailers"}
    await send({**end, "headers": [(b"x-sum", b"4")], "more_trailers": True})
    await send({**end, "headers": [(b"x-more", b"5")]})


@view("/hint-only")
async def hint_only(_scope: Scope, _receive: Receive, send: Send) -> None:
    """An interim response, and nothing after it."""
    await send({"type": "http.response.early_hint", "links": [b"</a.css>; rel=preload"]})
    await asyncio.sleep(600)


@view("/both-ways")
async def both_ways(_scope: Scope, receive: Receive, send: Send, size: str) -> None:
    """Sends so many bytes while the body comes."""

    async def take() -> None:
        while (await receive()).get("more_body"):
            pass

    async def give() -> None:
        await send(start())
        for _ in range(int(size) // 100_000):
            await send(body(b"s" * 100_000, more=True))

    await asyncio.gather(give(), take())
    await send(body())


@view("/fork")
async def fork(_scope: Scope, _receive: Receive, send: Send, end: str) -> None:
    """Forks; the child leaves the view as asked, the parent answers with the child's exit code."""
    child = os.fork()
    if child:
        _, status = os.waitpid(child, 0)
        return await answer(send, b"%d" % os.waitstatus_to_exitcode(status))
    if end == "answer":
        await answer(send, b"from the child")
    elif end == "wait":
        await asyncio.sleep(0.01)
    elif end != "return":
        raise SystemExit(int(end))


@view("/early-hints")
async def early_hints(_scope: Scope, _receive: Receive, send: Send) -> None:
    """An interim response."""
    hint = {"type": "http.response.early_hint", "links": [b"</a.css>; rel=preload"]}
    await send(hint)
    await answer(send, b"late")


@view("/path")
async def path(_scope: Scope, _receive: Receive, send: Send, path: str) -> None:
    """A file that the server sends."""
    await send(start())
    await send({"type": "http.response.pathsend", "path": path})


@view("/path-late")
async def path_late(
    _scope: Scope, _receive: Receive, send: Send, path: str, length: str = ""
) -> None:
    """A file that the server sends when the head is gone."""
    await send(start(headers=[(b"content-length", length.encode())] if length else []))
    await asyncio.sleep(0.02)
    await send({"type": "http.response.pathsend", "path": path})


@view("/buffers")
async def buffers(_scope: Scope, _receive: Receive, send: Send) -> None:
    """Bodies need not be `bytes`."""
    await send(start(headers=[[bytearray(b"x-kind"), memoryview(b"list")]]))
    await send({"type": "http.response.body", "body": bytearray(b"array "), "more_body": True})
    await send({"type": "http.response.body", "body": memoryview(b"view")})


@view("/as-tasks")
async def as_tasks(_scope: Scope, receive: Receive, send: Send) -> None:
    """`receive` and `send` as tasks, and looked at."""
    from collections.abc import Coroutine

    made = receive()
    assert isinstance(made, Coroutine)
    assert asyncio.iscoroutine(made)
    message = await asyncio.create_task(made)
    await asyncio.gather(send(start()))
    await asyncio.ensure_future(send(body(message["body"], more=True)))
    disconnect = asyncio.create_task(receive())  # type: ignore[arg-type]
    await asyncio.sleep(0.01)
    assert not disconnect.done()
    disconnect.cancel()
    await send(body(b" and back"))


_number: contextvars.ContextVar[int] = contextvars.ContextVar("number", default=0)


@view("/context")
async def context(_scope: Scope, receive: Receive, send: Send) -> None:
    """A context variable is the request's own, before and after it is suspended."""
    before = _number.get()
    _number.set(before + 1)
    await asyncio.sleep(0)
    await receive()
    await answer(send, json.dumps([before, _number.get()]).encode())


@view("/outside")
async def outside(scope: Scope, _receive: Receive, send: Send) -> None:
    """What was found before there was an awaitable."""
    await answer(send, json.dumps(scope["outside"]).encode())


@view("/gate")
async def gate(_scope: Scope, _receive: Receive, send: Send) -> None:
    """Waits for `/open?gate=all`."""
    await GATES.setdefault("all", asyncio.Event()).wait()
    await answer(send, b"through")


@view("/state")
async def state(scope: Scope, _receive: Receive, send: Send) -> None:
    """What the start-up left; requests share what is in it and not the dict."""
    own, shared = scope["state"], scope["state"]["shared"]
    shared.append(1)
    own["mine"] = own.get("mine", 0) + 1
    await answer(send, json.dumps([own["started"], own["mine"], len(shared)]).encode())


KEPT: list[Scope] = []


@view("/own")
async def own(scope: Scope, receive: Receive, send: Send, change: str = "", keep: str = "") -> None:
    """What the scope offers, which is changed then; `keep`: the scope is kept for ever."""
    offered = scope["extensions"]
    known = sorted(key for key, value in offered.items() if value == {})
    if keep:
        KEPT.append(scope)
    match change:
        case "add":
            offered["mine"] = {}
        case "remove":
            del offered["http.response.trailers"]
        case "replace":
            offered["http.response.trailers"] = None
        case "later":
            await receive()
            asyncio.get_running_loop().call_soon(offered.update, {"mine": {}})
    kept = [sorted(one["extensions"]) for one in KEPT]
    await answer(send, json.dumps([known, kept]).encode())


NAMED: list[str] = []


@view("/name")
async def name(_scope: Scope, _receive: Receive, send: Send, together: str) -> None:
    """The name of its task, when so many have come that they are all inside."""
    task = asyncio.current_task()
    assert task is not None
    NAMED.append(task.get_name())
    while len(NAMED) < int(together):
        await asyncio.sleep(0)
    await answer(send, task.get_name().encode())


@view("/fork-late")
async def fork_late(_scope: Scope, receive: Receive, send: Send, how: str, late: str = "") -> None:
    """Forks; the child goes on as asked, the parent answers with the child's exit code."""
    loop = asyncio.get_running_loop()
    await receive()
    if late:
        await asyncio.sleep(0.01)
    child = os.fork()
    if child:
        _, status = await asyncio.to_thread(os.waitpid, child, 0)
        return await answer(send, b"%d" % os.waitstatus_to_exitcode(status))
    if how == "exits":
        raise SystemExit(7)
    if how == "raises":
        raise RuntimeError("in the child")
    if how == "answers":
        await answer(send, b"from the child")
    if how == "listens":
        raise SystemExit(5 if (await receive())["type"] == "http.disconnect" else 6)
    if how == "goes-on":
        # asyncio knows of no loop that runs in a child, which runs its parent's all the same.
        over = loop.create_future()
        loop.call_later(0.3, over.set_result, None)
        await over


@view("/loop")
async def loop(_scope: Scope, _receive: Receive, send: Send) -> None:
    """The loop that runs this."""
    await answer(send, type(asyncio.get_running_loop()).__module__.encode())


class Old:
    """An application object whose call is no coroutine function."""

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Any:
        calls.set(calls.get() + 1)
        scope["outside"] = [calls.get(), asyncio.current_task() is not None]
        return Deferred(application(scope, receive, send))


calls: contextvars.ContextVar[int] = contextvars.ContextVar("calls", default=0)


class Deferred:
    """An awaitable that is no coroutine."""

    def __init__(self, made: Any):
        self.made = made

    def __await__(self) -> Any:
        return self.made.__await__()


deferred = Old()


async def fails_to_start(scope: Scope, receive: Receive, send: Send) -> None:
    """Its start-up fails."""
    await receive()
    await send({"type": "lifespan.startup.failed", "message": "no database"})


async def raises_at_start(scope: Scope, receive: Receive, send: Send) -> None:
    """It knows no lifespan."""
    if scope["type"] != "http":
        raise NotImplementedError(scope["type"])
    await answer(send, repr(scope["state"]).encode())


def make() -> Any:
    """A factory."""
    return application
