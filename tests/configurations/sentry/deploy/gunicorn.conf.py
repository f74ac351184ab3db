"""As projects with error reporting, tracing and a pool of connections have it: many hooks."""

import atexit
import faulthandler
import os
import threading
import time

bind = ["127.0.0.1:9000"]
workers = int(os.environ.get("WORKERS", 2))
max_requests = 1000
max_requests_jitter = 50
timeout = 60
graceful_timeout = 10
accesslog = "-"
access_log_format = '%(h)s "%(r)s" %(s)s %(b)s %(D)s "%({x-request-id}i)s" pid=%(p)s'
raw_env = [f"RELEASE={os.environ.get('GIT_SHA', 'unknown')}"]
_started = time.monotonic()


def on_starting(server):
    server.log.info("hook on_starting")
    server.started = _started


def when_ready(server):
    server.log.info(
        "hook when_ready after %.1f s on %s", time.monotonic() - _started, server.address
    )
    open("app-initialized", "w").close()


def pre_fork(server, worker):
    server.log.debug("hook pre_fork %s", worker.age)


def post_fork(server, worker):
    faulthandler.enable()
    flusher = threading.Thread(target=time.sleep, args=(3600,), name="flusher", daemon=True)
    flusher.start()
    worker.flusher = flusher
    # In one write: several workers end at once, and print to the same place.
    atexit.register(lambda: print(f"hook atexit {os.getpid()}\n", end="", flush=True))
    server.log.info("hook post_fork %s of %s", worker.pid, server.pid)


def post_worker_init(worker):
    worker.log.info("hook post_worker_init %s %s", worker.cfg.workers, type(worker.wsgi).__name__)


def pre_request(worker, req):
    req.started = time.monotonic()
    worker.log.debug("%s %s", req.method, req.path)


def post_request(worker, req, environ, resp):
    took = time.monotonic() - req.started
    worker.log.info("hook post_request %s %s %s %d", req.method, req.uri, resp.status, took)
    environ.pop("shop.span", None)


def worker_int(worker):
    worker.log.info("hook worker_int")


def worker_abort(worker):
    worker.log.info("hook worker_abort")


def worker_exit(server, worker):
    server.log.info("hook worker_exit %s", worker.nr)


def child_exit(server, worker):
    server.log.info("hook child_exit %s", worker.pid in server.WORKERS)


def nworkers_changed(server, new_value, old_value):
    server.log.info("hook nworkers_changed %s %s", new_value, old_value)


def on_exit(server):
    server.log.info("hook on_exit")
