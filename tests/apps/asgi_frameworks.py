"""Starlette and FastAPI applications, each with what its users use most."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import (
    BackgroundTasks,
    Depends,
    FastAPI,
    HTTPException,
    UploadFile,
    WebSocketException,
)
from pydantic import BaseModel
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import (
    FileResponse,
    JSONResponse,
    PlainTextResponse,
    Response,
    StreamingResponse,
)
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

EVENTS: list[str] = []


@asynccontextmanager
async def lifespan(_app: Any) -> AsyncIterator[dict[str, Any]]:
    """A state for the requests, and words about the end."""
    yield {"greeting": "hello"}
    print("framework shut down", flush=True)


async def home(request: Request) -> Response:
    """The state of the lifespan."""
    return PlainTextResponse(request.state.greeting)


async def echo(request: Request) -> Response:
    """The body and its kind."""
    return Response(await request.body(), media_type=request.headers.get("content-type"))


async def upload(request: Request) -> Response:
    """How long a streamed body is."""
    total = 0
    try:
        async for chunk in request.stream():
            total += len(chunk)
    except ClientDisconnect:
        EVENTS.append("client disconnect")
        raise
    return JSONResponse(total)


async def stream(_request: Request) -> Response:
    """A generator; it tells when it is closed."""

    async def numbers() -> AsyncIterator[str]:
        try:
            number = 0
            while True:
                yield f"data: {number}\n\n"
                number += 1
                await asyncio.sleep(0.001)
        finally:
            EVENTS.append("stream closed")

    return StreamingResponse(numbers(), media_type="text/event-stream")


async def file(_request: Request) -> Response:
    """The text of these views."""
    return FileResponse(__file__)


async def background(_request: Request) -> Response:
    """Work after the response."""
    return PlainTextResponse("ok", background=BackgroundTask(EVENTS.append, "background"))


async def fail(_request: Request) -> Response:
    """An error."""
    raise LookupError("out of stock")


async def events(_request: Request) -> Response:
    """What happened."""
    return JSONResponse(EVENTS)


def sync(_request: Request) -> Response:
    """A function that runs on a thread."""
    return PlainTextResponse("from a thread")


class Stamp(BaseHTTPMiddleware):
    """A middleware of the kind that runs the application in a task group."""

    async def dispatch(self, request: Request, call_next: Any) -> Response:
        """Adds a header."""
        response: Response = await call_next(request)
        response.headers["x-stamp"] = "yes"
        return response


ROOMS: dict[str, set[WebSocket]] = {}


async def chat(websocket: WebSocket) -> None:
    """A room: what one says, all hear."""
    name = websocket.path_params["room"]
    offered = websocket.scope["subprotocols"]
    await websocket.accept(subprotocol="chat" if "chat" in offered else None)
    room = ROOMS.setdefault(name, set())
    room.add(websocket)
    try:
        await websocket.send_json({"greeting": websocket.state.greeting, "people": len(room)})
        async for text in websocket.iter_text():
            for other in list(room):
                await other.send_text(text)
    finally:
        room.discard(websocket)
        EVENTS.append(f"left {name}")


async def pull(websocket: WebSocket) -> None:
    """Does not handle the end."""
    await websocket.accept()
    await websocket.receive_text()


async def guard(websocket: WebSocket) -> None:
    """Denies."""
    await websocket.send_denial_response(PlainTextResponse("members only", status_code=401))


ROUTES = [
    WebSocketRoute("/chat/{room}", chat),
    WebSocketRoute("/pull", pull),
    WebSocketRoute("/guard", guard),
    Route("/", home),
    Route("/echo", echo, methods=["POST"]),
    Route("/upload", upload, methods=["POST"]),
    Route("/stream", stream),
    Route("/file", file),
    Route("/background", background),
    Route("/fail", fail),
    Route("/events", events),
    Route("/sync", sync),
]
starlette = Starlette(routes=ROUTES, lifespan=lifespan)
stamped = Starlette(routes=ROUTES, lifespan=lifespan, middleware=[Middleware(Stamp)])

fastapi = FastAPI()


class Item(BaseModel):
    """A thing for sale."""

    name: str
    price: float


@fastapi.post("/items/{number}")
async def create(number: int, item: Item, tasks: BackgroundTasks) -> dict[str, Any]:
    """Checks a body, and works on after the response."""
    tasks.add_task(EVENTS.append, f"created {item.name}")
    return {"number": number, "item": item}


@fastapi.post("/files")
async def files(file: UploadFile) -> dict[str, Any]:
    """A form with a file."""
    return {"name": file.filename, "size": len(await file.read())}


async def needed() -> AsyncIterator[str]:
    """A dependency that is set up and torn down."""
    yield "needed"
    EVENTS.append("torn down")


@fastapi.get("/depends")
def depends(value: str = Depends(needed)) -> str:
    """A dependency, and a thread."""
    return value


@fastapi.get("/refuse")
async def refuse() -> None:
    """An error that is meant."""
    raise HTTPException(status_code=418, detail="short and stout")


@fastapi.get("/events")
async def list_events() -> list[str]:
    """What happened."""
    return EVENTS


@fastapi.websocket("/live/{number}")
async def live(websocket: WebSocket, number: int, value: str = Depends(needed)) -> None:
    """A WebSocket with a dependency."""
    if number > 9:
        raise WebSocketException(code=1008, reason="too many")
    await websocket.accept()
    try:
        while True:
            item = await websocket.receive_json()
            await websocket.send_json({"number": number, "value": value, **item})
    except WebSocketDisconnect as left:
        EVENTS.append(f"left with {left.code}")
