"""What the smallest applications cost without any server, which adds at least its sockets.

Run it with the environment of the comparison (`setup.sh`), on a quiet machine. Each figure is the
least of several trials, in microseconds of processor time for each request:

- `plain:hello` called with a `start_response` that does nothing, in C;
- a new environ for each request, as PEP 3333 has it: a copy of a dict of 35 entries;
- `plain_asgi:hello` with a `send` that is done at once, in C, on uvloop: awaited, and as a task of
  its own, which a server has to give it; as many at once as there are connections.
"""

from __future__ import annotations

import asyncio
import functools
import operator
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "apps"))

import plain
import plain_asgi
import uvloop

CALLS = 200_000
TRIALS = 15
ENTRIES = 35
AT_ONCE = 64


def call_wsgi(environ: dict[str, Any]) -> None:
    """Call the WSGI application so many times."""
    hello, start_response = plain.hello, operator.is_
    for _ in range(CALLS):
        hello(environ, start_response)


def copy_environ(environ: dict[str, Any]) -> None:
    """Copy the environ so many times."""
    for _ in range(CALLS):
        environ.copy()


async def await_asgi(send: Callable[[Any], Awaitable[None]]) -> None:
    """Await the ASGI application so many times."""
    hello, receive, scope = plain_asgi.hello, send, {"type": "http"}
    for _ in range(CALLS):
        await hello(scope, receive, send)


async def run_asgi(send: Callable[[Any], Awaitable[None]]) -> None:
    """Run the ASGI application so many times, each time as a task of its own."""
    hello, receive, scope = plain_asgi.hello, send, {"type": "http"}
    create_task = asyncio.get_running_loop().create_task
    for _ in range(CALLS // AT_ONCE):
        tasks = [create_task(hello(scope, receive, send)) for _ in range(AT_ONCE)]
        await asyncio.sleep(0)
        assert all(task.done() for task in tasks)


def least(work: Callable[[], object]) -> float:
    """The least time of several trials, in microseconds for each call."""
    times = []
    for _ in range(TRIALS):
        before = time.process_time()
        work()
        times.append(time.process_time() - before)
    return min(times) / CALLS * 1e6


def main() -> None:
    """Print the figures."""
    environ = {f"HTTP_NAME_{number}": "value" for number in range(ENTRIES)}
    print(f"plain:hello                   {least(lambda: call_wsgi(environ)):.2f} µs")
    print(f"a new environ                 {least(lambda: copy_environ(environ)):.2f} µs")
    loop = uvloop.new_event_loop()
    done = loop.create_future()
    done.set_result(None)
    # getattr(holder, "done", message): whatever the message, the future that is done.
    send = functools.partial(getattr, SimpleNamespace(done=done), "done")
    for name, run in (("awaited", await_asgi), ("a task ", run_asgi)):
        figure = least(lambda run=run: loop.run_until_complete(run(send)))
        print(f"plain_asgi:hello, {name}     {figure:.2f} µs")
    loop.close()


if __name__ == "__main__":
    main()
