"""As images for FastAPI have it: everything from the environment, and printed once."""

import json
import multiprocessing
import os

host = os.getenv("HOST", "0.0.0.0")
port = os.getenv("LISTEN_PORT", "80")
use_bind = os.getenv("BIND") or f"{host}:{port}"
workers_per_core = float(os.getenv("WORKERS_PER_CORE", "1"))
web_concurrency = int(os.getenv("WEB_CONCURRENCY") or max(int(workers_per_core), 2))
accesslog_var = os.getenv("ACCESS_LOG", "-")
errorlog_var = os.getenv("ERROR_LOG", "-")

loglevel = os.getenv("LOG_LEVEL", "info")
workers = web_concurrency
bind = use_bind
accesslog = accesslog_var or None
errorlog = errorlog_var or None
worker_tmp_dir = "/dev/shm"
graceful_timeout = int(os.getenv("GRACEFUL_TIMEOUT", "120"))
timeout = int(os.getenv("TIMEOUT", "120"))
keepalive = int(os.getenv("KEEP_ALIVE", "5"))

log_data = {
    "loglevel": loglevel,
    "workers": workers,
    "bind": bind,
    "graceful_timeout": graceful_timeout,
    "cores": multiprocessing.cpu_count(),
}
print(json.dumps(log_data))
