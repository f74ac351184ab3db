"""What an application can rely on in the first step of a request, each thing a path; answers JSON.

Served by uvicorn as well, whose answers are the right ones.
"""

from __future__ import annotations

import asyncio
import contextvars
import json
from collections.abc import Callable
from typing import Any

import anyio
import anyio.to_thread
import sniffio

PROBES: dict[str, Callable[[Any, Any], Any]] = {}
_variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")


def probe(function: Callable[..., Any]) -> Callable[..., Any]:
    """Declares a probe."""
    PROBES["/" + function.__name__] = function
    return function


async def application(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Runs the probe of the path before anything is awaited."""
    if scope["type"] != "http":
        raise NotImplementedError
    try:
        found = await PROBES[scope["path"]](receive, scope)
    except Exception as error:
        found = f"{type(error).__name__}: {error}"
    data = json.dumps(found).encode()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": data})


@probe
async def all_tasks(_receive: Any, _scope: Any) -> Any:
    """A request is one of all tasks from its first step on, as those are that it makes."""
    own = asyncio.current_task()
    made = asyncio.get_running_loop().create_task(asyncio.sleep(0))
    tasks = asyncio.all_tasks()
    first = [own in tasks, made in tasks, None in tasks]
    await made
    tasks = asyncio.all_tasks()
    return [*first, own in tasks, made in tasks]


@probe
async def current_task(_receive: Any, _scope: Any) -> Any:
    """There is one, and it stays the same."""
    before = asyncio.current_task()
    known = before in asyncio.all_tasks()
    await asyncio.sleep(0)
    return [before is not None, known, before is asyncio.current_task(), type(before).__module__]


@probe
async def library(_receive: Any, _scope: Any) -> Any:
    """What sniffio says."""
    return sniffio.current_async_library()


@probe
async def cancel_scope(_receive: Any, _scope: Any) -> Any:
    """A cancel scope of anyio."""
    with anyio.move_on_after(0.01) as scope:
        await anyio.sleep(10)
    return scope.cancelled_caught


@probe
async def task_group(_receive: Any, _scope: Any) -> Any:
    """A task group of anyio."""
    found = []

    async def add(number: int) -> None:
        await anyio.sleep(0)
        found.append(number)

    async with anyio.create_task_group() as group:
        group.start_soon(add, 1)
        group.start_soon(add, 2)
    return sorted(found)


@probe
async def received_in_a_group(receive: Any, _scope: Any) -> Any:
    """`receive` is what a task group takes."""
    async with anyio.create_task_group() as group:
        group.start_soon(receive)
    return True


@probe
async def thread(_receive: Any, _scope: Any) -> Any:
    """Work on another thread."""
    return await anyio.to_thread.run_sync(lambda: "from a thread")


@probe
async def wait_for(_receive: Any, _scope: Any) -> Any:
    """A timeout of asyncio's own."""
    try:
        await asyncio.wait_for(asyncio.sleep(10), 0.01)
    except asyncio.TimeoutError:
        return "timed out"


@probe
async def timeout(_receive: Any, _scope: Any) -> Any:
    """The other timeout of asyncio's own."""
    if not hasattr(asyncio, "timeout"):
        return "timed out"
    try:
        async with asyncio.timeout(0.01):
            await asyncio.sleep(10)
    except asyncio.TimeoutError:
        return "timed out"


@probe
async def own_group(_receive: Any, _scope: Any) -> Any:
    """A task group of asyncio's own."""
    if not hasattr(asyncio, "TaskGroup"):
        return 3
    async with asyncio.TaskGroup() as group:
        one = group.create_task(asyncio.sleep(0, 1))
        two = group.create_task(asyncio.sleep(0, 2))
    return one.result() + two.result()


@probe
async def context(_receive: Any, _scope: Any) -> Any:
    """What is set is kept, and does not leak into the next request."""
    before = _variable.get()
    _variable.set("set")
    await asyncio.sleep(0)
    return [before, _variable.get()]


@probe
async def self_cancel(_receive: Any, _scope: Any) -> Any:
    """A task that cancels itself."""
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    try:
        await asyncio.sleep(10)
    except asyncio.CancelledError:
        return "cancelled"


@probe
async def lock_and_queue(_receive: Any, _scope: Any) -> Any:
    """Synchronisation inside the loop."""
    lock, queue = asyncio.Lock(), asyncio.Queue[int](1)
    async with lock:
        await queue.put(1)
        return await queue.get()


@probe
async def call_soon(_receive: Any, _scope: Any) -> Any:
    """Callbacks run after the step, in their order, in the context of who asked."""
    order: list[str] = []
    loop = asyncio.get_running_loop()
    _variable.set("mine")
    loop.call_soon(lambda: order.append(_variable.get()))
    loop.call_soon(order.append, "second")
    order.append("first")
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    return order


@probe
async def scope(_receive: Any, scope: Any) -> Any:
    """What the two servers say alike."""
    names = ("type", "http_version", "scheme", "root_path", "method", "path")
    texts = {name: scope[name] for name in names}
    raw = {name: scope[name].decode() for name in ("raw_path", "query_string")}
    fields = [[name.decode(), value.decode()] for name, value in scope["headers"]]
    kinds = {name: type(value).__name__ for name, value in scope.items()}
    kinds.pop("extensions", None)
    return [texts, raw, fields, kinds, scope["asgi"]["version"], scope["client"][0]]
