"""A server, ours or a gunicorn, whose configuration notes each hook with the process it runs in."""

from __future__ import annotations

import json
from pathlib import Path
from signal import SIGTERM
from typing import Any

from .server import Server
from .wait import until

APP = """
import os, sys, time

def app(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/die":
        os.kill(os.getpid(), 9)
    if path == "/hang":
        print("It hangs.", file=sys.stderr, flush=True); time.sleep(600)
    if path == "/raise":
        raise RuntimeError("of the application")
    start_response("200 OK", [("Content-Length", "5"), ("X-Seen", environ.get("HTTP_X_SEEN", "-"))])
    return [b"hello"]

async def asgi(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
        return
    await send({"type": "http.response.start", "status": 200, "headers": [(b"x-a", b"b")]})
    await send({"type": "http.response.body", "body": b"hello"})
"""

NOTES = """
import json, os

def _note(hook, worker=None, *more):
    age = worker.age if worker is not None else None
    line = json.dumps([hook, os.getpid(), age, worker.pid if worker is not None else None, *more])
    with open(os.environ["NOTES"], "a") as notes:
        notes.write(line + "\\n")
    if os.environ.get("RAISES") == hook:
        raise ValueError("of the test")

def on_starting(server): _note("on_starting")
def on_reload(server): _note("on_reload")
def when_ready(server): _note("when_ready")
def pre_fork(server, worker): _note("pre_fork", worker)
def post_fork(server, worker): _note("post_fork", worker)
def post_worker_init(worker): _note("post_worker_init", worker)
def worker_int(worker): _note("worker_int", worker)
def worker_abort(worker): _note("worker_abort", worker)
def pre_exec(server): _note("pre_exec")
def pre_request(worker, req): _note("pre_request", worker, req.path)
def post_request(worker, req, environ, resp):
    _note("post_request", worker, req.path, getattr(resp, "status", None))
def child_exit(server, worker): _note("child_exit", worker)
def worker_exit(server, worker): _note("worker_exit", worker)
def nworkers_changed(server, new_value, old_value):
    _note("nworkers_changed", None, new_value, old_value)
def on_exit(server): _note("on_exit")
"""

Note = list[Any]


class Hooked:
    """One server with all hooks, and what they have noted."""

    def __init__(self, folder: Path, program: str, *options: str, config: str = NOTES, **env: str):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "hooked.py").write_text(APP)
        self.config = folder / "gunicorn.conf.py"
        self.config.write_text(config)
        self.notes_file = folder / "notes"
        self.notes_file.touch()
        env = {"NOTES": str(self.notes_file), **env}
        app = options[-1] if options and options[-1].startswith("hooked:") else "hooked:app"
        options = options[:-1] if options and options[-1] == app else options
        self.server = Server(folder, app, options, env=env, cwd=folder)
        self.server.command[1:3] = ["-m", program]
        self.program = program

    # life

    def __enter__(self) -> Hooked:
        self.server.launch()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.destroy()

    def start(self) -> Hooked:
        """Waits until it answers."""
        self.server.wait_accepting()
        assert self.server.request("/").status == 200
        return self

    def stop(self) -> int:
        """Ends it by TERM; its exit code."""
        self.server.signal(SIGTERM)
        return self.server.wait()

    # notes

    @property
    def notes(self) -> list[Note]:
        """Everything that was noted, in order."""
        # The last line may be half written.
        whole, _, _ = self.notes_file.read_text().rpartition("\n")
        return [json.loads(line) for line in whole.splitlines()]

    def wait_for(self, hook: str, count: int = 1) -> Note:
        """Waits until a hook was called so often."""

        def found() -> Note | None:
            over = self.server.process.poll() is not None
            calls = [note for note in self.notes if note[0] == hook]
            assert not over or len(calls) >= count, f"it ended:\n{self.server.log}"
            return calls[count - 1] if len(calls) >= count else None

        note = until(found, f"{count} × {hook} (so far: {[note[0] for note in self.notes]})")
        assert note is not None
        return note

    def by_process(self) -> dict[str, list[str]]:
        """The hooks of each process in their order; workers are called by their age."""
        found: dict[str, list[str]] = {}
        for hook, pid, age, worker, *more in self.notes:
            process = "arbiter" if pid == self.server.pid else "another"
            if pid == worker:
                process = f"worker {age}"
            about = [f"of {age}"] if age and process == "arbiter" else []
            words = [hook, *about, *map(str, more)]
            found.setdefault(process, []).append(" ".join(words))
        return found
