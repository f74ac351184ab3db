"""What hooks are given: the same attributes with the same values, as gunicorn has them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from harness.client import message
from harness.hooked import Hooked
from harness.wait import until

TELL = """
import json, os

def _tell(hook, **facts):
    with open(os.environ["NOTES"], "a") as notes:
        notes.write(json.dumps([hook, facts]) + "\\n")
"""

TELLS = (
    TELL
    + """
def _server(server):
    return {
        "is this process": server.pid == os.getpid(),
        "is the parent": server.pid == os.getppid(),
        "address": server.address,
        "num_workers": server.num_workers,
        "worker_age": server.worker_age,
        "master_name": server.master_name,
        "master_pid": server.master_pid,
        "proc_name": server.proc_name,
        "timeout": server.timeout,
        "workers": len(server.WORKERS),
        "listeners": [one.getsockname()[0] for one in server.LISTENERS],
        "descriptors": all(os.fstat(one.fileno()) for one in server.LISTENERS),
        "pidfile": os.path.basename(server.pidfile.fname),
        "cwd": server.START_CTX["cwd"] == os.getcwd(),
    }

def _worker(worker):
    return {
        "is this process": worker.pid == os.getpid(),
        "is of the parent": worker.ppid == os.getppid(),
        "age": worker.age,
        "alive": worker.alive,
        "booted": worker.booted,
        "aborted": worker.aborted,
        "timeout": worker.timeout,
        "sockets": len(worker.sockets),
        "uri": worker.app.app_uri,
        "loaded": callable(getattr(worker, "wsgi", None)),
        "same": str(worker) == f"<Worker {worker.pid}>",
    }

def _cfg(cfg):
    names = ("workers", "timeout", "keepalive", "graceful_timeout", "backlog", "max_requests",
             "preload_app", "accesslog", "errorlog", "loglevel", "raw_env", "chdir", "proc_name",
             "worker_class_str", "is_ssl", "address", "env", "uid", "gid", "user", "umask",
             "daemon", "limit_request_line", "default_proc_name", "reload")
    values = {name: getattr(cfg, name) for name in names}
    values["chdir"] = cfg.chdir == os.getcwd()
    assert all(cfg.settings[name].get() == getattr(cfg, name) for name in ("workers", "timeout"))
    try:
        cfg.nonsense
    except AttributeError as error:
        values["nonsense"] = str(error)
    values["a hook"] = cfg.when_ready.__name__
    values["no hook"] = cfg.on_reload(None)
    return values

def on_starting(server):
    server.mark = "kept"
    _tell("on_starting", **{**_server(server), "listeners": None})

def when_ready(server):
    _tell("when_ready", mark=server.mark, **_server(server))
    _tell("cfg", **_cfg(server.cfg))
    server.log.info("an %s message", "info")
    server.log.warning("a %(kind)s message", {"kind": "named"})
    server.log.log(40, "a message of 40")
    try:
        1 / 0
    except ZeroDivisionError:
        server.log.exception("it raised")

def pre_fork(server, worker):
    worker.mark = "from before the fork"
    _tell("pre_fork", pid=worker.pid, **_server(server))

def post_fork(server, worker):
    _tell("post_fork", mark=worker.mark, **_worker(worker))
    _tell("server in a worker", **_server(server))

def post_worker_init(worker):
    _tell("post_worker_init", **_worker(worker))

def _request(req):
    return {
        "method": req.method, "uri": req.uri, "path": req.path, "query": req.query,
        "fragment": req.fragment, "headers": req.headers, "version": req.version,
        "scheme": req.scheme, "peer": req.peer_addr[0], "remote": req.remote_addr[0],
        "trailers": req.trailers, "closes": req.should_close(),
        "line": req.limit_request_line, "fields": req.limit_request_fields,
    }

def pre_request(worker, req):
    _tell("pre_request", readable=hasattr(req.body, "read"), **_request(req))

def post_request(worker, req, environ, resp):
    _tell(
        "post_request", nr=worker.nr, status=resp.status, code=getattr(resp, "status_code", None),
        headers=resp.headers, headers_sent=resp.headers_sent, sent=resp.sent,
        length=resp.response_length, chunked=resp.chunked,
        closes=resp.should_close() if resp.status else None,
        query_string=environ["QUERY_STRING"], path_info=environ["PATH_INFO"],
        same=resp.req is req, request=_request(req),
    )

def child_exit(server, worker):
    _tell("child_exit", age=worker.age, **_server(server))
"""
)

APP = """
def app(environ, start_response):
    path, size = environ["PATH_INFO"], int(environ.get("CONTENT_LENGTH") or 0)
    body = environ["wsgi.input"].read(size)
    if path == "/raise":
        raise RuntimeError
    if path == "/late":
        start_response("200 OK", [])
        return late()
    if path == "/stream":
        start_response("201 Made so", [("X-A", "1"), ("X-A", "2"), ("Connection", "close")])
        return iter([b"abc", b"", b"def"])
    if path == "/none":
        start_response("204 No Content", [])
        return []
    body = body or b"hello"
    start_response("200 OK", [("Content-Length", str(len(body))), ("Content-Type", "text/plain")])
    return [body]

def late():
    yield b"begun"
    raise RuntimeError
"""

REQUESTS = [
    message("/"),
    message("/a%20b/c;d?x=1&y=%20"),
    message("/", "POST", headers=[("Content-Type", "text/plain")], body=b"posted"),
    message("/stream", headers=[("X-Two", "a"), ("X-Two", "b"), ("Connection", "close")]),
    message("/none"),
    message("/", "HEAD"),
    message("/raise"),
    message("/late"),
    message("//double/slash"),
    b"GET / HTTP/1.0\r\nHost: a\r\n\r\n",
]
LATE = 7
"""The one that fails when its head is sent."""


def told(folder: Path, program: str) -> tuple[list[Any], str]:
    """What the hooks tell in `program`, and its log."""
    options = ("-k", "gthread", "--pid", "the.pid", "--env", "A=b=c", "-n", "named")
    folder.mkdir()
    with Hooked(folder, program, *options, config=TELLS) as hooked:
        (folder / "hooked.py").write_text(APP)
        hooked.server.wait_accepting()
        for number, data in enumerate(REQUESTS):
            with hooked.server.connect() as connection:
                connection.send(data)
                hooked.wait_for("post_request", number + 1)
        assert hooked.stop() == 0
        return hooked.notes, hooked.server.log


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any]:
    folder = tmp_path_factory.mktemp("objects")
    return told(folder / "g", "gunicorn"), told(folder / "o", "oxicorn")


HOOKS = ["on_starting", "when_ready", "cfg", "pre_fork", "post_fork", "server in a worker"]


@pytest.mark.parametrize("hook", [*HOOKS, "post_worker_init", "child_exit"])
def test_server_worker_and_cfg_are_what_gunicorn_gives_its_hooks(both: Any, hook: str) -> None:
    (theirs, _), (ours, _) = both
    assert [facts for name, facts in ours if name == hook] == [
        facts for name, facts in theirs if name == hook
    ]


@pytest.mark.parametrize("number", range(len(REQUESTS)))
@pytest.mark.parametrize("hook", ["pre_request", "post_request"])
def test_requests_and_responses_are_what_gunicorn_gives_its_hooks(
    both: Any, hook: str, number: int
) -> None:
    (theirs, _), (ours, _) = both
    mine = [facts for name, facts in ours if name == hook][number]
    other = [facts for name, facts in theirs if name == hook][number]
    if number == LATE and hook == "post_request":
        # gunicorn closes the connection as well, but its response does not know it yet.
        assert mine.pop("closes")
        del other["closes"]
    assert mine == other


def test_the_log_of_the_objects_is_the_servers(both: Any) -> None:
    _, (_, log) = both
    assert re.search(r"\[INFO\] an info message", log)
    assert re.search(r"\[WARNING\] a named message", log)
    assert re.search(r"\[ERROR\] a message of 40", log)
    assert re.search(r"\[ERROR\] it raised\nTraceback", log)


@pytest.mark.parametrize(
    ("what", "advice"),
    [
        ("worker.tmp", "heartbeat"),
        ("worker.max_requests", "worker.cfg.max_requests"),
        ("server.app", "worker.app"),
        ("server.spawn_worker", "SIGTTIN"),
        ("server.LISTENERS[0].sock", "getsockname"),
        ("server.log.access_log", "accesslog"),
        ("worker.nonsense", "no attribute 'nonsense'"),
    ],
)
def test_what_cannot_be_here_names_its_replacement(tmp_path: Path, what: str, advice: str) -> None:
    config = f"""
def pre_fork(server, worker):
    try:
        {what}
    except AttributeError as error:
        server.log.info("absent: %s", error)
"""
    with Hooked(tmp_path, "oxicorn", config=config) as hooked:
        line = hooked.server.wait_for_log("absent: .*").group(0)
        assert advice in line


def test_a_worker_that_a_hook_declares_dead_leaves_and_is_replaced(tmp_path: Path) -> None:
    config = """
def post_request(worker, req):
    if req.path == "/enough":
        worker.alive = False
"""
    with Hooked(tmp_path, "oxicorn", config=config) as hooked:
        hooked.start()
        worker = hooked.server.worker
        assert hooked.server.request("/enough").status == 200
        hooked.server.wait_for_successor(worker)
        until(lambda: hooked.server.request("/").status == 200, "the next one answers")


def test_server_reload_is_a_restart(tmp_path: Path) -> None:
    config = """
observe_timeout = 0.1
def post_request(worker, req):
    if req.path == "/reload":
        _server.reload()
def post_fork(server, worker):
    global _server
    _server = server
"""
    with Hooked(tmp_path, "oxicorn", config=config) as hooked:
        hooked.start()
        assert hooked.server.request("/reload").status == 200
        hooked.server.wait_for_log("Generation 2 is confirmed")


ASGI_TELLS = (
    TELL
    + """
def _request(req):
    return {
        "method": req.method, "uri": req.uri, "path": req.path, "query": req.query,
        "headers": req.headers, "version": req.version, "scheme": req.scheme,
    }

def post_worker_init(worker):
    _tell("post_worker_init", alive=worker.alive, booted=worker.booted, asgi=callable(worker.asgi))

def pre_request(worker, req):
    _tell("pre_request", **_request(req))

def post_request(worker, req, environ, resp):
    # gunicorn's have a field of the server's own.
    headers = [field for field in resp.headers if field[0] != "transfer-encoding"]
    _tell("post_request", headers=headers, sent=resp.sent, status=str(resp.status)[:3],
          query=environ["QUERY_STRING"], method=environ["REQUEST_METHOD"], request=_request(req))
"""
)


@pytest.mark.parametrize("hook", ["post_worker_init", "pre_request", "post_request"])
def test_asynchronous_applications_have_the_same_facts(tmp_path: Path, hook: str) -> None:
    facts = []
    for program in ("gunicorn", "oxicorn"):
        folder = tmp_path / program
        options = ("-k", "asgi", "--access-logfile", "/dev/null", "hooked:asgi")
        with Hooked(folder, program, *options, config=ASGI_TELLS) as hooked:
            hooked.server.wait_accepting()
            hooked.server.request("/a%20b/c?x=1")
            hooked.wait_for("post_request")
            facts.append([told for name, told in hooked.notes if name == hook])
            assert hooked.stop() == 0
    assert facts[0] == facts[1]


def test_an_asynchronous_application_has_no_body_to_show(tmp_path: Path) -> None:
    config = """
def pre_request(worker, req):
    try:
        req.body
    except AttributeError as error:
        worker.log.info("absent: %s", error)
"""
    with Hooked(tmp_path, "oxicorn", "-k", "asgi", "hooked:asgi", config=config) as hooked:
        hooked.start()
        hooked.server.wait_for_log("absent: .*receives the body of its requests itself")
