"""What the hooks do: all are called in one life. When, and in which process, is in `test_hooks`."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from signal import SIGHUP, SIGINT, SIGTERM, SIGUSR2

from harness.client import message
from harness.hooked import NOTES, Hooked
from harness.server import PROGRAM, Server
from harness.wait import until

from .stage import Stage, act, shows

HOOKS = (
    *("on_starting", "when_ready", "pre_fork", "post_fork", "post_worker_init", "nworkers_changed"),
    *("pre_request", "post_request", "on_reload", "pre_exec", "worker_abort", "worker_int"),
    *("worker_exit", "child_exit", "on_exit"),
)


@act("hooked")
def hooked(stage: Stage, folder: Path) -> Server:
    """A life in which every hook has its moment; it is over when this returns."""
    config = "timeout = 2\nobserve_timeout = 0.2\n" + NOTES
    with Hooked(folder, PROGRAM, config=config) as server:
        server.start()
        server.server.signal(SIGUSR2)
        successor = server.wait_for("on_starting", 2)[1]
        os.kill(successor, SIGTERM)
        until(lambda: not Path(f"/proc/{successor}").exists(), "the successor is gone")
        before = server.server.worker
        server.server.signal(SIGHUP)
        until(lambda: not Path(f"/proc/{before}").exists(), "the first worker is gone")
        with server.server.connect() as connection, contextlib.suppress(OSError):
            connection.send(message("/hang"))
            server.wait_for("worker_abort")
        until(lambda: server.server.request("/").status == 200, "the next worker answers")
        server.server.signal(SIGINT)
        assert server.server.wait() == 0
        (folder / "called").write_text(" ".join(note[0] for note in server.notes))
        return server.server


@shows(*HOOKS)
def is_called(stage: Stage) -> None:
    stage.server("hooked")
    called = (stage.folder("hooked") / "called").read_text().split()
    assert [hook for hook in HOOKS if hook not in called] == []
