"""What stands in the logs: lines that people parse have gunicorn's words, in gunicorn's order, and
an access log has gunicorn's atoms.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from signal import SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTTIN, SIGTTOU, SIGUSR1

import pytest

from harness.client import Ended, message
from harness.pair import Side, agree, differs, pair
from harness.server import Server
from harness.wait import until

APP = """
import os, sys, time
def app(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/raise":
        raise RuntimeError("of the application")
    if path == "/die":
        os._exit(9)
    if path == "/kill":
        os.kill(os.getpid(), 9)
    if path == "/hang":
        time.sleep(600)
    if path == "/print":
        print("printed", flush=True)
        print("complained", file=sys.stderr, flush=True)
        environ["wsgi.errors"].write("through wsgi.errors\\n")
    body = b"hello"
    pid = ("X-Pid", str(os.getpid()))
    start_response("200 OK", [("Content-Length", "5"), ("X-Out", "of the application"), pid])
    return [body]
"""

PARSED = (
    *("Starting ", "Listening at: ", "Using worker: ", "Booting worker with pid: "),
    *("Worker exiting ", "Handling signal: ", "Shutting down: ", "Reason: ", "WORKER TIMEOUT "),
    *("Worker ", "Autorestarting worker after ", "Invalid request from ", "Hang up: "),
    *("Error handling request ", "Exception in worker process", "Connection in use: "),
)
"""What lines begin with that tools look for."""


REASON = "arbiter [INFO] Worker (pid:{worker}) exited with code 0. It finished its work."
"""Only ours says so of every worker: no process ends without a reason in the log."""


RACE = "arbiter [INFO] Worker (pid:{worker}) was sent SIGTERM!"
"""Said by gunicorn now and then: a second signal finds its worker without handlers."""


def lines(text: str, server: Server) -> list[str]:
    """The lines that are parsed, without what is another one each time; each process's in order."""
    found = re.findall(r"(?m)^\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d [+-]\d{4}\] \[(\d+)\] (.*)$", text)
    found = [one for one in found if one[1].partition("] ")[2].startswith(PARSED)]
    workers = list(dict.fromkeys(int(pid) for pid, _ in found if int(pid) != server.pid))
    told = [(_who(int(pid), line, workers), _plain(line, server)) for pid, line in found]
    return [f"{who} {line}" for who, line in sorted(told, key=lambda one: one[0])]


def _who(pid: int, line: str, workers: list[int]) -> str:
    """Whose line it is. The kind of worker follows from the application, which a worker knows."""
    if "Using worker" in line:
        return "somebody"
    return f"worker {workers.index(pid) + 1}" if pid in workers else "arbiter"


def _plain(line: str, server: Server) -> str:
    line = re.sub(rf"\b{server.pid}\b", "{arbiter}", line)
    line = re.sub(r"(pid: ?)\d+", r"\1{worker}", line)
    line = re.sub(r"running for \d\.\d s", "running for {seconds} s", line)
    line = re.sub(r"127\.0\.0\.1:\d+", "127.0.0.1:{port}", line)
    return re.sub(r"(gunicorn|oxicorn) \d+\.\d+\.\d+", "{program}", line)


def ends(number: int) -> Callable[[Server], None]:
    """A life that one signal ends."""

    def life(server: Server) -> None:
        server.signal(number)  # type: ignore[arg-type]
        assert server.wait() == 0

    return life


def raises(server: Server) -> None:
    server.request("/raise?a=b")
    server.wait_for_log("RuntimeError: of the application")
    ends(SIGTERM)(server)


def refuses(server: Server) -> None:
    server.send(b"nonsense\r\n\r\n")
    server.wait_for_log("Invalid request")
    ends(SIGTERM)(server)


def dies(path: str) -> Callable[[Server], None]:
    """A life in which a worker dies."""

    def life(server: Server) -> None:
        with pytest.raises((OSError, Ended)):
            server.request(path)
        server.wait_for_log("Booting worker", 2)
        until(lambda: server.request().status == 200, "the next one answers")
        ends(SIGTERM)(server)

    return life


def hangs(server: Server) -> None:
    with server.connect() as connection:
        connection.send(message("/hang"))
        server.wait_for_log("Booting worker", 2)
    until(lambda: server.request().status == 200, "the next one answers")
    ends(SIGTERM)(server)


def restarts(server: Server) -> None:
    before = server.worker
    server.signal(SIGHUP)
    server.wait_for_log("Booting worker", 2)
    until(lambda: before not in server.workers(), "the first one is gone")
    ends(SIGTERM)(server)


def grows(server: Server) -> None:
    server.signal(SIGTTIN)
    seen: set[str | None] = set()

    def both_answer() -> bool:
        seen.add(server.request().header("X-Pid"))
        return len(seen) == 2

    until(both_answer, "both workers answer")
    server.signal(SIGTTOU)
    server.wait_for_log("Worker exiting")
    server.wait_for_workers(1)
    ends(SIGTERM)(server)


def reopens(server: Server) -> None:
    server.signal(SIGUSR1)
    server.wait_for_log("Handling signal: usr1")
    ends(SIGTERM)(server)


def recycles(server: Server) -> None:
    server.wait_for_log("Autorestarting")
    server.wait_for_log("Booting worker", 2)
    until(lambda: len(server.workers()) == 1, "the first one is gone")
    server.wait_for_log("Worker exiting")
    ends(SIGTERM)(server)


Life = tuple[Callable[[Server], None], tuple[str, ...]]

LIVES: dict[str, Life] = {
    "TERM": (ends(SIGTERM), ()),
    "INT": (ends(SIGINT), ()),
    "QUIT": (ends(SIGQUIT), ()),
    "threads": (ends(SIGTERM), ("--threads", "2")),
    "an application that raises": (raises, ()),
    "a request that is refused": (refuses, ()),
    "a worker that leaves": (dies("/die"), ()),
    "a worker that is killed": (dies("/kill"), ()),
    "a worker that hangs": (hangs, ("--timeout", "1", "--graceful-timeout", "1")),
    "HUP": (restarts, ()),
    "TTIN and TTOU": (grows, ()),
    "USR1": (reopens, ()),
    "max_requests": (recycles, ("--max-requests", "1")),
}

DIFFERENCES = {
    "max_requests": differs(
        "its successor comes first, so that there is always one that serves",
        "+ arbiter [INFO] Worker (pid:{worker}) asks to be replaced.",
    ),
    "a request that is refused": differs(
        "what is wrong is said in the server's own words, and with the status",
        "- worker 1 [WARNING] Invalid request from ip=127.0.0.1: "
        "Invalid HTTP request line: 'nonsense'",
        "+ worker 1 [WARNING] Invalid request from ip=127.0.0.1: a malformed request line (400)",
    ),
    "a worker that leaves": differs(
        "the line says why",
        "- arbiter [ERROR] Worker (pid:{worker}) exited with code 9.",
        "+ arbiter [ERROR] Worker (pid:{worker}) exited with code 9. It ended with an error.",
    ),
    "a worker that is killed": differs(
        "whether it was for want of memory is known",
        "- arbiter [ERROR] Worker (pid:{worker}) was sent SIGKILL! Perhaps out of memory?",
        "+ arbiter [ERROR] Worker (pid:{worker}) was sent SIGKILL! Not out of memory: "
        "the kernel's oom_kill counter did not rise.",
    ),
    "a worker that hangs": differs(
        "the line names the request, and the worker ends at its first signal",
        "- arbiter [CRITICAL] WORKER TIMEOUT (pid:{worker})",
        "- arbiter [ERROR] Worker (pid:{worker}) was sent SIGKILL! Perhaps out of memory?",
        "- worker 1 [ERROR] Error handling request GET /hang",
        "+ arbiter [CRITICAL] WORKER TIMEOUT (pid:{worker}): "
        '"GET /hang HTTP/1.1" from 127.0.0.1 has been running for {seconds} s.',
        "+ arbiter [WARNING] Worker (pid:{worker}) was sent SIGABRT! "
        "It was aborted after a timeout.",
    ),
}


def lived(side: Side, life: Life) -> list[str]:
    scenario, options = life
    server = side.serve(*options, env={"OXICORN_OBSERVE_TIMEOUT": "0.2"})
    scenario(server)
    found = lines(server.log, server)
    assert (REASON in found) is side.is_ours
    usual = REASON if side.is_ours else RACE
    return [line for line in found if line != usual]


@pytest.mark.parametrize("situation", LIVES)
def test_the_log_of_a_life_is_gunicorns(tmp_path: Path, situation: str) -> None:
    with pair(tmp_path, site_app=APP) as made:
        seen = made.both(lambda side: lived(side, LIVES[situation]))
    agree(situation, seen, DIFFERENCES)


def test_the_list_of_differences_names_only_what_is_tested() -> None:
    assert DIFFERENCES.keys() <= LIVES.keys()


# The access log.

ATOMS = {
    "h": r"127\.0\.0\.1",
    "p": r"<\d+>",
    "t": r"\[\d\d/\w{3}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}\]",
    "T": r"\d+",
    "M": r"\d+",
    "D": r"\d+",
    "L": r"\d+\.\d{6}",
}
"""What is another one each time, and how it looks."""

FORMAT = "|".join(
    f"{atom}=%({atom})s"
    for atom in (
        *("h", "l", "u", "t", "r", "m", "U", "q", "H", "s", "B", "b", "f", "a", "T", "M", "D", "L"),
        *("p", "{X-In}i", "{x-in}i", "{X-None}i", "{X-Out}o", "{x-out}o", "{X-None}o"),
        *("{REMOTE_ADDR}e", "{wsgi.url_scheme}e", "{NONE}e", "{HTTP_X_IN}e", "x"),
    )
)

LOGGED = {
    "GET": message("/path?a=b", headers=[("X-In", "1")]),
    "HEAD": message("/", "HEAD"),
    "POST": message("/", "POST", body=b"12345"),
    "a user": message(headers=[("Authorization", "Basic c29tZWJvZHk6c2VjcmV0")]),
    "no user": message(headers=[("Authorization", "Basic !!!")]),
    "a quotation": message(headers=[("User-Agent", 'a "quoted" agent'), ("Referer", 'r"')]),
    "an escape": message("/a%20b%0A%22?c%20d"),
    "HTTP/1.0": message(version="HTTP/1.0"),
    "an error": message("/raise"),
    "an absolute target": message("http://other.example/x"),
}


def access(side: Side) -> dict[str, str]:
    """The line of each request."""
    log = side.folder / "access.log"
    options = ("--access-logfile", str(log), "--access-logformat", FORMAT)
    server = side.serve(*options)
    found = {}
    for count, (situation, request) in enumerate(LOGGED.items(), 2):
        until(lambda count=count: log.read_text().count("|x=-\n") >= count - 1, "that before")  # type: ignore[misc]
        before = len(log.read_text())
        server.send(request, request.split(b" ")[0].decode())
        until(lambda count=count: log.read_text().count("|x=-\n") >= count, "it is logged")  # type: ignore[misc]
        found[situation] = log.read_text()[before:].removesuffix("\n")
    return found


def _atoms(line: str) -> list[str]:
    """Each atom with its value."""
    pairs = (one.partition("=")[::2] for one in line.split("|"))
    return [f"{atom} = {_value(atom, value)}" for atom, value in pairs]


def _value(atom: str, value: str) -> str:
    usual = ATOMS.get(atom)
    is_usual = usual is not None and re.fullmatch(usual, value)
    return f"like {usual}" if is_usual else value.replace("\n", "{newline}")


ACCESS_DIFFERENCES = {
    "an error": differs(
        "the line is that of a request like any other",
        *("- U = None", "- B = 0", "- b = 0", "- {wsgi.url_scheme}e = -"),
        *("+ U = /raise", "+ B = 73", "+ b = 73", "+ {wsgi.url_scheme}e = http"),
    ),
    "an escape": differs(
        "a client cannot write lines of its own", '- U = /a b{newline}\\"', '+ U = /a b\\x0a\\"'
    ),
}


def test_each_access_line_is_gunicorns(tmp_path: Path) -> None:
    with pair(tmp_path, site_app=APP) as made:
        theirs, ours = made.both(access)
    for situation in LOGGED:
        seen = (_atoms(theirs[situation]), _atoms(ours[situation]))
        agree(situation, seen, ACCESS_DIFFERENCES)


def test_the_usual_access_line_is_gunicorns(tmp_path: Path) -> None:
    def line(side: Side) -> str:
        server = side.launch("--access-logfile", "-").wait_accepting()
        headers = [("User-Agent", "agent/1"), ("Referer", "http://r/")]
        server.request("/one?two", headers=headers)
        found = server.wait_for_log(r"(?m)^127.*$").group()
        return re.sub(r"\[.*?\]", "[time]", found)

    with pair(tmp_path, site_app=APP) as made:
        theirs, ours = made.both(line)
    assert ours == theirs


def test_what_the_application_prints_is_captured(tmp_path: Path) -> None:
    def captured(side: Side) -> list[str]:
        log = side.folder / "error.log"
        options = ("--error-logfile", str(log), "--capture-output", "--log-level", "warning")
        server = side.launch(*options, bind=f"unix:{side.short}/s").wait_accepting()
        server.request("/print")
        until(lambda: "through" in log.read_text(), "it is captured")
        return sorted(log.read_text().splitlines())

    with pair(tmp_path, site_app=APP) as made:
        theirs, ours = made.both(captured)
    assert ours == theirs == ["complained", "printed", "through wsgi.errors"]


def test_a_log_that_was_moved_is_opened_again_by_usr1(tmp_path: Path) -> None:
    def moved(side: Side) -> list[bool]:
        logs = [side.folder / "error.log", side.folder / "access.log"]
        options = ("--error-logfile", str(logs[0]), "--access-logfile", str(logs[1]))
        server = side.launch(*options, bind=f"unix:{side.short}/s").wait_accepting()
        server.request("/before")
        until(lambda: "/before" in logs[1].read_text(), "it is logged")
        for log in logs:
            log.rename(log.with_suffix(".old"))
        server.signal(SIGUSR1)
        until(lambda: all(log.exists() for log in logs), "they are opened again")
        until(lambda: _is_logged(server, logs[1]), "it is logged")
        ends(SIGTERM)(server)
        return ["/after" in logs[1].read_text(), "Shutting down" in logs[0].read_text()]

    with pair(tmp_path, site_app=APP) as made:
        assert made.both(moved) == ([True, True], [True, True])


def _is_logged(server: Server, log: Path) -> bool:
    """Workers open theirs again a moment later."""
    server.request("/after")
    return "/after" in log.read_text()
