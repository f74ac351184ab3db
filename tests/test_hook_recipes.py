"""Hooks as people have them in their configuration files: each file runs unchanged."""

from __future__ import annotations

import re
from pathlib import Path
from signal import SIGHUP, SIGQUIT

import pytest

from harness.client import message
from harness.hooked import Hooked
from harness.wait import until

EXAMPLE = """
# The hooks of gunicorn's documented example configuration.
import multiprocessing
workers = 2
worker_class = "sync"
timeout = 30
keepalive = 2
spew = False
def post_fork(server, worker):
    server.log.info("Worker spawned (pid: %s)", worker.pid)
def pre_fork(server, worker):
    pass
def pre_exec(server):
    server.log.info("Forked child, re-executing.")
def when_ready(server):
    server.log.info("Server is ready. Spawning workers")
def worker_int(worker):
    worker.log.info("worker received INT or QUIT signal")

    ## get traceback info
    import threading, sys, traceback
    id2name = {th.ident: th.name for th in threading.enumerate()}
    code = []
    for threadId, stack in sys._current_frames().items():
        code.append("\\n# Thread: %s(%d)" % (id2name.get(threadId,""), threadId))
        for filename, lineno, name, line in traceback.extract_stack(stack):
            code.append('File: "%s", line %d, in %s' % (filename, lineno, name))
            if line:
                code.append("  %s" % (line.strip()))
    worker.log.debug("\\n".join(code))
def worker_abort(worker):
    worker.log.info("worker received SIGABRT signal")
def ssl_context_is_another_story(): ...
"""

PROMETHEUS = """
import os
from pathlib import Path
_folder = Path(os.environ["PROMETHEUS_MULTIPROC_DIR"])
_folder.mkdir(exist_ok=True)
workers = 1
def child_exit(server, worker):
    from prometheus_client import multiprocess
    multiprocess.mark_process_dead(worker.pid)
    server.log.info("dead: %s", worker.pid)
"""

PROMETHEUS_APP = """
from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest, multiprocess
import os
requests = Counter("requests", "Requests")
live = Gauge("live", "Live", multiprocess_mode="livesum")
live.set(1)
def app(environ, start_response):
    requests.inc()
    registry = CollectorRegistry()
    multiprocess.MultiProcessCollector(registry)
    start_response("200 OK", [])
    return [generate_latest(registry)]
"""

TRACERS = """
# As the post_fork of tracing and error-reporting agents: state, threads and exit functions.
import atexit, logging, os, queue, threading
_spans = None
def post_fork(server, worker):
    global _spans
    _spans = queue.Queue()
    def export():
        while (span := _spans.get()) is not None:
            name = threading.current_thread().name
            server.log.info("span %s of %s by %s", span, os.getpid(), name)
    exporter = threading.Thread(target=export, name="exporter", daemon=True)
    exporter.start()
    def flush():
        _spans.put(None)
        exporter.join()
        server.log.info("flushed by %s", os.getpid())
    atexit.register(flush)
    worker.log.info("instrumented %s of %s", worker.pid, server.pid)
    logging.getLogger("gunicorn.error").debug("known")
def pre_request(worker, req):
    req.span = f"{req.method} {req.path}"
    worker.log.debug("%s %s", req.method, req.path)
def post_request(worker, req, environ, resp):
    _spans.put(f"{req.span} {resp.status}")
def worker_exit(server, worker):
    server.log.info("leaves: %s", worker.pid)
"""

DATABASE = """
# A pool made before the fork is closed in the parent, and opened anew in each worker.
import os, socket
preload_app = True
def pre_fork(server, worker):
    import hooked
    hooked.pool.close()
def post_fork(server, worker):
    import hooked
    assert hooked.pool.closed == worker.ppid or hooked.pool.closed != os.getpid()
    hooked.pool = hooked.Pool()
"""

DATABASE_APP = """
import os
class Pool:
    def __init__(self):
        self.owner, self.closed = os.getpid(), None
    def close(self):
        self.closed = os.getpid()
pool = Pool()
def app(environ, start_response):
    start_response("200 OK", [])
    return [str(pool.owner == os.getpid() and pool.closed is None).encode()]
"""

ABORT = """
timeout = 1
def worker_abort(worker):
    import sys, traceback
    worker.log.error("aborted: %s", worker.pid)
    for stack in sys._current_frames().values():
        worker.log.error("%s", "".join(traceback.format_stack(stack)))
"""


@pytest.fixture(params=["gunicorn", "oxicorn"])
def program(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_the_documented_example_runs_unchanged(program: str, tmp_path: Path) -> None:
    with Hooked(tmp_path, program, "--log-level", "debug", config=EXAMPLE) as hooked:
        log = hooked.server
        log.wait_for_log("Server is ready. Spawning workers")
        log.wait_for_log(r"Worker spawned \(pid: \d+\)", 2)
        hooked.start()
        if program == "oxicorn":
            log.wait_serving()
        log.signal(SIGQUIT)
        assert log.wait() == 0
        assert len(re.findall("worker received INT or QUIT signal", log.log)) == 2
        assert "# Thread: MainThread" in log.log


def test_prometheus_forgets_the_gauges_of_a_worker_that_is_gone(
    program: str, tmp_path: Path
) -> None:
    folder = tmp_path / "metrics"
    env = {"PROMETHEUS_MULTIPROC_DIR": str(folder), "OXICORN_OBSERVE_TIMEOUT": "0"}
    with Hooked(tmp_path, program, config=PROMETHEUS, **env) as hooked:
        (tmp_path / "hooked.py").write_text(PROMETHEUS_APP)
        hooked.start()
        first = hooked.server.worker
        assert "live 1.0" in hooked.server.request("/").text
        hooked.server.signal(SIGHUP)
        assert hooked.server.wait_for_log(r"dead: (\d+)").group(1) == str(first)
        assert not list(folder.glob(f"gauge_live*_{first}.db"))
        text = until(lambda: hooked.server.request("/"), "the next worker answers").text
        assert "live 1.0" in text
        # What the first one counted is still there.
        assert re.search(r"requests_total [3-9]", text)


def test_an_agent_of_post_fork_works_in_each_worker_until_its_end(
    program: str, tmp_path: Path
) -> None:
    with Hooked(tmp_path, program, config=TRACERS) as hooked:
        hooked.start()
        worker = hooked.server.worker
        hooked.server.wait_for_log(f"span GET / 200 OK of {worker} by exporter")
        assert f"instrumented {worker} of {hooked.server.pid}" in hooked.server.log
        assert hooked.stop() == 0
        for line in (f"leaves: {worker}", f"flushed by {worker}"):
            assert line in hooked.server.log


def test_a_database_pool_is_closed_before_the_fork_and_opened_after_it(
    program: str, tmp_path: Path
) -> None:
    with Hooked(tmp_path, program, config=DATABASE) as hooked:
        (tmp_path / "hooked.py").write_text(DATABASE_APP)
        hooked.start()
        assert hooked.server.request("/").text == "True"


def test_worker_abort_sees_where_the_application_hangs(program: str, tmp_path: Path) -> None:
    with Hooked(tmp_path, program, config=ABORT) as hooked:
        hooked.start()
        worker = hooked.server.worker
        with hooked.server.connect() as connection:
            connection.send(message("/hang"))
            hooked.server.wait_for_log(f"aborted: {worker}")
            hooked.server.wait_for_log(r"time.sleep\(600\)")
            hooked.server.wait_for_successor(worker)


def test_the_stacks_are_in_the_log_before_worker_abort_is_called(tmp_path: Path) -> None:
    with Hooked(tmp_path, "oxicorn", config=ABORT) as hooked:
        hooked.start()
        worker = hooked.server.worker
        with hooked.server.connect() as connection:
            connection.send(message("/hang"))
            hooked.server.wait_for_log(f"aborted: {worker}")
        log = hooked.server.log
        assert 0 < log.index("Fatal Python error: Aborted") < log.index(f"aborted: {worker}")


def test_a_worker_that_leaves_while_it_boots_calls_worker_exit(tmp_path: Path) -> None:
    config = "def worker_exit(server, worker): server.log.info('left %s', worker.pid)\n"
    with Hooked(tmp_path, "oxicorn", config=config) as hooked:
        app = "import time\nprint('boots', flush=True)\ntime.sleep(60)"
        (tmp_path / "hooked.py").write_text(app)
        hooked.server.wait_for_log("boots")
        assert hooked.stop() == 0
        assert re.search(r"left \d+", hooked.server.log)
