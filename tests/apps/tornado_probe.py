"""An application of tornado: each handler does one thing."""

from __future__ import annotations

import asyncio
import hashlib
import os
import time
from typing import Any

from tornado.ioloop import IOLoop
from tornado.iostream import StreamClosedError
from tornado.web import Application, HTTPError, RequestHandler, stream_request_body
from tornado.websocket import WebSocketHandler

EVENTS: list[str] = []
# The loop that the server will run.
IOLoop.current().add_callback(EVENTS.append, "called back")


class Hello(RequestHandler):
    def get(self) -> None:
        self.write("Hello, world!\n")


class Facts(RequestHandler):
    """What tornado knows of a request."""

    def prepare(self) -> None:
        self.set_header("X-Prepared", "yes")
        self.set_cookie("seen", "1")

    def handle(self, *path: str) -> None:
        request = self.request
        self.write(
            {
                "method": request.method,
                "uri": request.uri,
                "path": path,
                "arguments": {name: self.get_arguments(name) for name in request.arguments},
                "files": {name: len(found[0]["body"]) for name, found in request.files.items()},
                "headers": sorted(request.headers.get_all()),
                "version": request.version,
                "remote_ip": request.remote_ip,
                "protocol": request.protocol,
                "host": request.host,
                "body": hashlib.sha256(request.body).hexdigest(),
            }
        )

    get = post = put = delete = patch = handle  # type: ignore[assignment]


class Slow(RequestHandler):
    async def get(self) -> None:
        await asyncio.sleep(float(self.get_argument("seconds", "0.1")))
        self.finish("slept\n")

    def on_connection_close(self) -> None:
        EVENTS.append("client left")


class Blocks(RequestHandler):
    """`count` blocks of `size` bytes, each after the client has room for it."""

    async def get(self) -> None:
        block = b"y" * int(self.get_argument("size", "1000"))
        try:
            for _ in range(int(self.get_argument("count"))):
                self.write(block)
                await self.flush()
                await asyncio.sleep(0)
        except StreamClosedError:
            EVENTS.append("stream closed")
            return
        EVENTS.append("all written")


@stream_request_body
class Upload(RequestHandler):
    """Takes the body while it comes."""

    def prepare(self) -> None:
        self.parts, self.size = 0, 0
        self.request.connection.set_max_body_size(int(self.get_argument("most", "10000000")))

    async def data_received(self, chunk: bytes) -> None:
        await asyncio.sleep(0)
        self.parts += 1
        self.size += len(chunk)

    def post(self) -> None:
        self.write({"parts": self.parts, "size": self.size})

    def on_connection_close(self) -> None:
        EVENTS.append("upload ended")


class Fails(RequestHandler):
    def get(self, how: str) -> None:
        if how == "inside":
            self.write("begun")
            self.flush()
        if how == "error":
            raise HTTPError(418, "no coffee")
        raise ValueError("a handler that fails")


class Events(RequestHandler):
    def get(self) -> None:
        self.write({"events": EVENTS})


class Block(RequestHandler):
    """Keeps the loop to itself."""

    def get(self) -> None:
        time.sleep(600)


class Who(RequestHandler):
    def get(self) -> None:
        self.write({"pid": os.getpid(), "current": IOLoop.current() is STARTED[0]})


STARTED: list[IOLoop] = [IOLoop.current()]


class Echo(WebSocketHandler):
    """Says what it hears; some words are orders."""

    def prepare(self) -> None:
        self.set_cookie("seen", "1")

    def check_origin(self, origin: str) -> bool:
        return "evil" not in origin

    def select_subprotocol(self, subprotocols: list[str]) -> str | None:
        return "chat" if "chat" in subprotocols else None

    def open(self, *args: Any) -> None:
        EVENTS.append(f"open {self.selected_subprotocol}")

    async def on_message(self, message: str | bytes) -> None:
        if message == "close":
            return self.close(4001, "as you say")
        if message == "fail":
            raise ValueError("a message that fails")
        await asyncio.sleep(0)
        await self.write_message(message, binary=isinstance(message, bytes))

    def on_close(self) -> None:
        EVENTS.append(f"close {self.close_code} {self.close_reason}")


def make() -> Application:
    return Application(
        [
            ("/", Hello),
            (r"/facts(?:/(\w+))?", Facts),
            ("/slow", Slow),
            ("/blocks", Blocks),
            ("/upload", Upload),
            (r"/fails/(\w+)", Fails),
            ("/events", Events),
            ("/block", Block),
            ("/who", Who),
            ("/echo", Echo),
        ]
    )


app = make()
