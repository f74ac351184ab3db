"""What is served: an application that tells about its process and its request."""

import json
import os
import socket
import sys
import threading

IMPORTED_BY = os.getpid()
MEETING = threading.Barrier(2)


def app(environ, start_response):
    path = environ["PATH_INFO"]
    view = {"/meet": meet, "/hang": hang, "/print": say, "/file": file}.get(path, facts)
    body = view(environ)
    start_response("200 OK", [("Content-Type", "application/json")])
    return body if not isinstance(body, (dict, list, str)) else [json.dumps(body).encode()]


def facts(environ):
    return {
        "pid": os.getpid(),
        "imported by": IMPORTED_BY,
        "cwd": os.getcwd(),
        "path": sys.path,
        "variables": dict(os.environ),
        "ids": [os.getuid(), os.getgid(), sorted(os.getgroups())],
        "backlogs": backlogs(),
        "title": open("/proc/self/cmdline").read().strip("\0"),
        "environ": {key: value for key, value in environ.items() if isinstance(value, (str, bool))},
    }


def backlogs():
    """How many connections may wait at each TCP socket that listens here."""
    found = []
    for name in os.listdir("/proc/self/fd"):
        try:
            one = socket.socket(fileno=int(name))
        except OSError:
            continue
        if one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) and one.family == socket.AF_INET:
            told = one.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 32)
            found.append(int.from_bytes(told[28:32], sys.byteorder))
        one.detach()
    return found


def meet(environ):
    """Two requests that wait for each other."""
    MEETING.wait(30)
    return "met"


def hang(environ):
    open("hanging", "w").close()
    threading.Event().wait(600)


def say(environ):
    print("printed", environ["QUERY_STRING"], flush=True)
    return "said"


def file(environ):
    return environ["wsgi.file_wrapper"](open("served", "rb"))


async def hold(receive):
    """Until it is cancelled, whatever its client does."""
    import asyncio

    open("held", "w").close()
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        open("cancelled", "w").close()
        raise


async def asgi(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        scope["state"]["started"] = True
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
    elif scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        while (await receive())["type"] == "websocket.receive":
            await send({"type": "websocket.send", "text": "received"})
    elif scope["path"] == "/hold":
        await hold(receive)
    else:
        import asyncio

        told = {
            "root_path": scope["root_path"],
            "started": scope.get("state", {}).get("started", False),
            "loop": type(asyncio.get_running_loop()).__module__.split(".")[0],
        }
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": json.dumps(told).encode()})
